"""Tables of models: columns, sizes, moments."""

from datetime import UTC, datetime, timedelta

import pytest

from ollama_jupyter.cli.tables import (
    loaded_table,
    models_table,
    processor,
    render_table,
    seconds_ahead,
    until,
)

NOW = datetime(2026, 1, 10, 12, 0, 0, tzinfo=UTC)


def test_render_table_pads_to_the_widest_and_puts_a_gap_after_every_column() -> None:
    assert render_table([["A", "B"], ["long", "x"]]) == "A       B    \nlong    x    \n"


def test_render_table_lets_no_escape_or_newline_through() -> None:
    assert render_table([["a\x1b[31mb\nc"]]) == "ab c    \n"


def test_models_table_shows_name_id_size_and_age() -> None:
    models = [
        {
            "name": "llama3:latest",
            "digest": "0123456789abcdef",
            "size": 4_700_000_000,
            "modified_at": "2026-01-07T12:00:00.123456789+00:00",
        },
        {"name": "far:cloud", "digest": "f" * 64, "size": 1, "remote_model": "far"},
    ]
    assert models_table(models, prefix="", now=NOW).splitlines() == [
        "NAME             ID              SIZE      MODIFIED      ",
        "llama3:latest    0123456789ab    4.7 GB    3 days ago    ",
        "far:cloud        ffffffffffff    -         Never         ",
    ]


def test_models_table_takes_a_prefix_in_either_case() -> None:
    models = [{"name": "Llama3:latest"}, {"name": "qwen:latest"}]
    assert models_table(models, prefix="lLa", now=NOW).count("\n") == 2


def test_loaded_table_shows_where_a_model_is_and_how_long() -> None:
    models = [
        {
            "name": "m:latest",
            "digest": "a" * 64,
            "size": 250_000_000,
            "size_vram": 0,
            "context_length": 4096,
            "expires_at": "2026-01-10T14:04:30+02:00",
        }
    ]
    assert loaded_table(models, prefix="m", now=NOW).splitlines() == [
        "NAME        ID              SIZE      PROCESSOR    CONTEXT    UNTIL                 ",
        "m:latest    aaaaaaaaaaaa    250 MB    100% CPU     4096       4 minutes from now    ",
    ]
    assert loaded_table(models, prefix="M", now=NOW).count("\n") == 1


@pytest.mark.parametrize(
    ("size", "vram", "expected"),
    [
        (100, 0, "100% CPU"),
        (0, 0, "100% CPU"),
        (100, 100, "100% GPU"),
        (100, 200, "Unknown"),
        (0, 1, "Unknown"),
        (100, 75, "25%/75% CPU/GPU"),
        (1000, 995, "1%/99% CPU/GPU"),
    ],
)
def test_processor_names_the_shares(size: int, vram: int, expected: str) -> None:
    assert processor(size, vram) == expected


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (-1.0, "Stopping..."),
        (None, "Never"),
        (290.0, "4 minutes from now"),
        (timedelta(days=100 * 365).total_seconds(), "Forever"),
    ],
)
def test_until_says_when(seconds: float | None, expected: str) -> None:
    assert until(seconds) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-01-10T12:00:01Z", 1.0),
        ("2026-01-10T12:00:00.5Z", 0.5),
        ("2026-01-10T12:00:00.123456789+00:00", 0.123456),
        ("2026-01-10T14:00:01+02:00", 1.0),
        ("0001-01-01T00:00:00Z", None),
        ("2026-01-10T12:00:00", None),
        ("soon", None),
        (None, None),
        (7, None),
    ],
)
def test_seconds_ahead_reads_what_servers_write(text: object, expected: float | None) -> None:
    assert seconds_ahead(text, NOW) == expected
