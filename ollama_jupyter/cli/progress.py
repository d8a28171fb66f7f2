"""Progress of create (and of loading) on standard error, with bars where a terminal shows them."""

import sys
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Final, Self

import click

from ollama_jupyter.cli.terminal import inert
from ollama_jupyter.quantities import human_bytes

_BAR_COLUMNS: Final = 20


def render_bar(completed: int, total: int) -> str:
    """Share, bar and sizes in bytes: ` 42% ▕████   ▏ 42 MB/100 MB`; only the size at the end."""
    if total <= 0:
        return ""
    if completed >= total:
        return f"100% ▕{'█' * _BAR_COLUMNS}▏ {human_bytes(total)}"
    full = "█" * (completed * _BAR_COLUMNS // total)
    sizes = f"{human_bytes(completed)}/{human_bytes(total)}"
    return f"{completed * 100 // total:3d}% ▕{full:<{_BAR_COLUMNS}}▏ {sizes}"


class Waiting:
    """A spinner on standard error while nothing has come yet; nothing where nobody watches.

    Args:
        text: what is waited for.
    """

    def __init__(self, text: str) -> None:
        self._text = text
        self._status: Any = None

    def __enter__(self) -> Self:
        if sys.stderr.isatty():
            from rich.console import Console

            self._status = Console(stderr=True).status(self._text)
            self._status.start()
        return self

    def stop(self) -> None:
        """Take the spinner away; it has been waited for long enough."""
        if self._status is not None:
            self._status.stop()
            self._status = None

    def __exit__(self, *_: object) -> None:
        self.stop()


class Progress:
    """A spinner for each status and a bar for each digest; plain lines where nobody watches."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import Progress as Bars
        from rich.progress import SpinnerColumn, TextColumn

        self._bars = Bars(
            SpinnerColumn(finished_text=" "),
            TextColumn("{task.description}", markup=False),
            TextColumn("{task.fields[amount]}", markup=False),
            console=Console(stderr=True),
        )
        self._is_shown = self._bars.console.is_terminal
        self._tasks: dict[str, Any] = {}
        self._last = ""

    def __enter__(self) -> Self:
        if self._is_shown:
            self._bars.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._finish_last()
        if self._is_shown:
            self._bars.stop()

    def show(self, record: Mapping[str, Any]) -> None:
        """One status record of a stream."""
        status = inert(str(record.get("status") or ""))
        if not status:
            return
        if record.get("digest"):
            self.bar(status, int(record.get("completed") or 0), int(record.get("total") or 0))
        else:
            self.status(status)

    def status(self, text: str) -> None:
        """A step whose length is unknown; ends the one before it."""
        if text == self._last:
            return
        self._finish_last()
        self._last = text
        self._task(text, total=None)

    def bar(self, text: str, completed: int, total: int) -> None:
        """How far a step is, in bytes."""
        if text != self._last:
            self._finish_last()
            self._last = text
        task = self._task(text, total=total)
        amount = render_bar(completed, total)
        self._bars.update(task, completed=completed, total=total, amount=amount)

    def _task(self, text: str, *, total: int | None) -> Any:  # noqa: ANN401 - rich's TaskID
        if text not in self._tasks:
            if not self._is_shown:
                click.echo(text, err=True)
            self._tasks[text] = self._bars.add_task(text, total=total, amount="")
        return self._tasks[text]

    def _finish_last(self) -> None:
        task = self._tasks.get(self._last)
        if task is not None:
            total = self._bars.tasks[self._bars.task_ids.index(task)].total
            self._bars.update(task, completed=total or 1, total=total or 1)
