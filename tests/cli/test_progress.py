"""Progress as lines where nobody watches, as bars where somebody does."""

import pytest

from ollama_jupyter.cli.progress import Progress, render_bar


@pytest.mark.parametrize(
    ("completed", "total", "expected"),
    [
        (0, 0, ""),
        (0, 100, f"  0% ▕{' ' * 20}▏ 0 B/100 B"),
        (42_000_000, 100_000_000, f" 42% ▕{'█' * 8}{' ' * 12}▏ 42 MB/100 MB"),
        (100, 100, f"100% ▕{'█' * 20}▏ 100 B"),
    ],
)
def test_render_bar_shows_share_and_sizes(completed: int, total: int, expected: str) -> None:
    assert render_bar(completed, total) == expected


def test_progress_prints_each_status_once_where_nobody_watches(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with Progress() as progress:
        progress.status("reading")
        progress.show({"status": "copying", "digest": "d", "total": 10})
        progress.show({"status": "copying", "digest": "d", "total": 10, "completed": 5})
        progress.show({"status": "\x1b[31mdone"})
        progress.show({})
        progress.status("done")
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == "reading\ncopying\ndone\n"


def test_progress_draws_bars_in_a_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    monkeypatch.setenv("TERM", "xterm")
    with Progress() as progress:
        progress.bar("copying", 5, 10)
        progress.bar("copying", 10, 10)
        progress.status("done")
    err = capsys.readouterr().err
    assert "copying" in err
    assert f"100% ▕{'█' * 20}▏ 10 B" in err
