from datetime import UTC, datetime

import pytest

from ollama_jupyter.notebook.tables import loaded_table, models_table, shown_model

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)

MODELS = {
    "models": [
        {
            "name": "smollm2:135m",
            "digest": "0123456789abcdef",
            "size": 98_000_000,
            "modified_at": "2026-03-01T10:00:00.123456789Z",
        },
        {"name": "Other:latest", "digest": "", "size": 4_700_000_000, "modified_at": "nonsense"},
    ]
}


def test_models_table_is_aligned_and_in_words() -> None:
    assert models_table(MODELS, "", NOW).splitlines() == [
        "NAME            ID              SIZE      MODIFIED",
        "smollm2:135m    0123456789ab    98 MB     2 hours ago",
        "Other:latest                    4.7 GB    Never",
    ]


def test_models_table_keeps_names_that_start_with_the_prefix_case_aside() -> None:
    assert "smollm2" not in models_table(MODELS, "OTH", NOW)
    assert "Other" in models_table(MODELS, "OTH", NOW)


@pytest.mark.parametrize("reply", [{}, {"models": None}, {"models": []}, {"models": ["x"]}])
def test_tables_say_so_when_there_is_nothing(reply: dict[str, object]) -> None:
    assert models_table(reply, "", NOW) == "No models are installed."
    assert models_table(reply, "x", NOW) == "No model starts with 'x'."
    assert loaded_table(reply, "", NOW) == "No model is loaded."


def test_tables_cannot_drive_a_terminal() -> None:
    assert "\x1b" not in models_table({"models": [{"name": "a\x1b[2J"}]}, "", NOW)


@pytest.mark.parametrize(
    ("size", "size_vram", "expires_at", "shown"),
    [
        (10, 0, "2026-03-01T12:04:30Z", "100% CPU     4096       4 minutes from now"),
        (10, 10, "0001-01-01T00:00:00Z", "100% GPU     4096       Never"),
        (10, 20, "2318-01-01T00:00:00+01:00", "Unknown      4096       Forever"),
        (100, 75, "2026-03-01T11:59:00Z", "25%/75% CPU/GPU    4096       Stopping..."),
    ],
)
def test_loaded_table_says_where_and_until_when(
    size: int, size_vram: int, expires_at: str, shown: str
) -> None:
    model = {
        "name": "m",
        "size": size,
        "size_vram": size_vram,
        "context_length": 4096,
        "expires_at": expires_at,
    }
    table = loaded_table({"models": [model]}, "", NOW)
    assert table.splitlines()[1].endswith(shown)


def test_shown_model_lists_what_is_known() -> None:
    reply = {
        "details": {"family": "llama", "parameter_size": "134.52M", "quantization_level": "Q4_1"},
        "model_info": {"general.architecture": "llama", "llama.context_length": 8192},
        "capabilities": ["completion"],
        "parameters": 'stop    "<|im_end|>"',
        "license": "one\n\ntwo\nthree",
    }
    assert shown_model(reply).splitlines() == [
        "Model",
        "    architecture        llama",
        "    parameters          134.52M",
        "    context length      8192",
        "    quantization        Q4_1",
        "",
        "Capabilities",
        "    completion",
        "",
        "Parameters",
        '    stop    "<|im_end|>"',
        "",
        "License",
        "    one",
        "    two",
        "    ...",
    ]


def test_shown_model_of_a_bare_reply_is_empty() -> None:
    assert shown_model({"details": None, "capabilities": None}) == ""
