"""The `%ollama` and `%%chat` magics: a parsed line in, client calls out, one line when it fails.

Nothing talks to a server before a magic runs, so loading the extension takes no network. `status`,
`ps`, `stop` and `reset` never start a server; `serve`, `list`, `show` and `%%chat` start one when
none is found.
"""

import sys
import time
from collections.abc import Callable
from typing import Final

from IPython.core.interactiveshell import InteractiveShell
from IPython.core.magic import Magics, cell_magic, line_magic, magics_class, no_var_expand
from traitlets import Bool, Unicode

from ollama_jupyter.errors import OllamaError
from ollama_jupyter.notebook.answer import stream_answer
from ollama_jupyter.notebook.arguments import (
    HelpShown,
    OllamaLine,
    chat_help,
    ollama_help,
    parse_chat_line,
    parse_ollama_line,
)
from ollama_jupyter.notebook.commands import COMMANDS
from ollama_jupyter.notebook.display import AnswerView, CellView, TerminalView
from ollama_jupyter.notebook.failures import CellFailed, CellInterrupted, explain
from ollama_jupyter.notebook.inert import plain
from ollama_jupyter.notebook.link import Link

_INTERRUPTED: Final = "Interrupted."


@magics_class
class OllamaMagics(Magics):
    """Local language models in cells; `%ollama` manages them, `%%chat` asks one."""

    host = Unicode(
        help="Address of the server, like http://127.0.0.1:11434 or unix:/path. Empty: what"
        " OLLAMA_HOST says, else the running server of this user, else one is started."
    ).tag(config=True)
    model = Unicode(help="The model that a %%chat line without a name asks.").tag(config=True)
    stream = Bool(
        True, help="Show an answer while it comes; off, it appears when it is complete."
    ).tag(config=True)

    def __init__(self, shell: InteractiveShell) -> None:
        """Hold no conversation and no connection yet."""
        super().__init__(shell)
        self._link = Link()

    @no_var_expand
    @line_magic
    def ollama(self, line: str) -> None:
        """Manage models and the server; `%ollama -h` lists the commands."""
        _run(lambda: self._command(line))

    @no_var_expand
    @cell_magic
    def chat(self, line: str, cell: str) -> None:
        """Ask a model: the line names it, the cell is the message; `%%chat -h` lists options."""
        _run(lambda: self._chat(line, cell))

    def _command(self, line: str) -> None:
        parsed: OllamaLine = parse_ollama_line(line)
        try:
            text = COMMANDS[parsed.command](self._link, self.host, parsed.name)
        except OllamaError as error:
            raise explain(error, model=parsed.name) from error
        sys.stdout.write(f"{text}\n")

    def _chat(self, line: str, cell: str) -> None:
        asked = parse_chat_line(line)
        model = asked.model or self.model
        if not model:
            raise CellFailed("name a model after %%chat; %ollama list shows those installed")
        text = cell.strip()
        if not text:
            raise CellFailed("the cell is empty; write the message below the %%chat line")
        view = self._view()
        view.wait(f"{model} …")
        try:
            connection = self._link.find_or_start(self.host)
            for warning in self._link.new_warnings(connection):
                sys.stderr.write(f"{plain(warning)}\n")
            conversation = self._link.conversation(connection, model)
            stream_answer(conversation, text, asked.options, view, clock=time.monotonic)
        except OllamaError as error:
            raise explain(error, model=model) from error
        finally:
            view.close()

    def _view(self) -> AnswerView:
        """A display where a kernel's front end can show one, else the terminal."""
        publisher = getattr(self.shell, "display_pub", None)
        if publisher is None or getattr(self.shell, "kernel", None) is None:
            return TerminalView(sys.stdout)
        return CellView(publisher, is_streaming=self.stream)


def _run(work: Callable[[], None]) -> None:
    """Carry out a magic; an interrupt fails the cell in one line, as an error does.

    Raises:
        CellFailed: the cell could not do its work.
    """
    try:
        work()
    except HelpShown:
        return
    except KeyboardInterrupt as error:
        raise CellInterrupted(_INTERRUPTED) from error


def load(shell: InteractiveShell) -> None:
    """Register the magics with a shell."""
    shell.register_magics(OllamaMagics)


def unload(shell: InteractiveShell) -> None:
    """Take the magics away, so that loading them again starts afresh."""
    manager = shell.magics_manager
    manager.magics["line"].pop("ollama", None)
    manager.magics["cell"].pop("chat", None)
    loaded = manager.registry.pop(OllamaMagics.__name__, None)
    # %config would otherwise go on setting the options of the instance that is gone.
    shell.configurables[:] = [other for other in shell.configurables if other is not loaded]


OllamaMagics.ollama.__doc__ = ollama_help()
OllamaMagics.chat.__doc__ = chat_help()
