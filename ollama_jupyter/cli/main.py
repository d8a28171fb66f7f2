"""The table of commands, and the one place where an error becomes a line and an exit code.

Each command imports what it needs when it runs: a plain `list` loads neither tornado nor the
prompt library.
"""

import io
import os
import re
import sys
from collections.abc import Sequence
from typing import Final

import click

from ollama_jupyter.errors import OllamaError

_CONTEXT_SETTINGS: Final = {"help_option_names": ["-h", "--help"]}


class Commands(click.Group):
    """Commands in the order written, with the short names users know."""

    ALIASES: Final = {"ls": "list", "start": "serve"}

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click's signature
        """The variables there are, as the module that reads them lists them."""
        from ollama_jupyter import config

        rows = re.findall(r"^ +(OLLAMA_\w+) +(.+)$", config.__doc__ or "", re.MULTILINE)
        formatter.write("\nEnvironment Variables:\n")
        columns = max([27, *(len(name) for name, _ in rows)])
        for name, meaning in rows:
            formatter.write(f"  {name:<{columns}} {meaning}\n")

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Names in the order they were added."""
        return list(self.commands)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name or short name."""
        return super().get_command(ctx, self.ALIASES.get(cmd_name, cmd_name))


class _Count:
    """Checks how many arguments came, in the words users of the reference know."""

    def __init__(self, minimum: int, maximum: int | None = None) -> None:
        self._minimum = minimum
        self._maximum = maximum

    def __call__(
        self, ctx: click.Context, _param: click.Parameter, value: tuple[str, ...]
    ) -> tuple[str, ...]:
        count = len(value)
        if self._maximum is not None and not self._minimum <= count <= self._maximum:
            raise click.UsageError(f"accepts {self._maximum} arg(s), received {count}", ctx)
        if count < self._minimum:
            raise click.UsageError(
                f"requires at least {self._minimum} arg(s), only received {count}", ctx
            )
        return value


_ONE: Final = _Count(1, 1)
_TWO: Final = _Count(2, 2)
_SOME: Final = _Count(1)


@click.group(cls=Commands, context_settings=_CONTEXT_SETTINGS, invoke_without_command=True)
@click.option("-v", "--version", "is_version", is_flag=True, help="Show version information.")
@click.pass_context
def commands(ctx: click.Context, is_version: bool) -> None:
    """Local language models: one managed server, shared by notebooks and this command line."""
    if is_version:
        from ollama_jupyter.cli.models import print_versions

        print_versions()
        ctx.exit()
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


@commands.command()
@click.option("--auto-started", is_flag=True, hidden=True)
def serve(auto_started: bool) -> None:
    """Run the server in the foreground."""
    from ollama_jupyter.cli.serve import run_server

    run_server(auto_started=auto_started)


@commands.command()
@click.argument("model", nargs=-1, callback=_ONE)
@click.option("-f", "--file", "path", default=None, help="Modelfile to read (./Modelfile).")
@click.option("-q", "--quantize", default="", help="Quantize to this level (e.g. q4_K_M).")
def create(model: tuple[str], path: str | None, quantize: str) -> None:
    """Create a model from a Modelfile."""
    from ollama_jupyter.cli.create import create_model

    create_model(model[0], path=path, quantize=quantize)


@commands.command()
@click.argument("model", nargs=-1, callback=_ONE)
@click.option("--license", is_flag=True, help="Only its license.")
@click.option("--modelfile", is_flag=True, help="Only its Modelfile.")
@click.option("--parameters", is_flag=True, help="Only its parameters.")
@click.option("--template", is_flag=True, help="Only its template.")
@click.option("--system", is_flag=True, help="Only its system message.")
@click.option("-v", "--verbose", is_flag=True, help="Metadata and tensors too.")
def show(model: tuple[str], verbose: bool, **sections: bool) -> None:
    """Show what a model is made of."""
    from ollama_jupyter.cli.show import show_model

    wanted = [section for section, is_wanted in sections.items() if is_wanted]
    show_model(model[0], sections=wanted, is_verbose=verbose)


@commands.command()
@click.argument("words", metavar="MODEL [PROMPT]...", nargs=-1, callback=_SOME)
@click.option("--keepalive", default="", help="How long the model stays loaded (e.g. 5m).")
@click.option("--verbose", is_flag=True, help="Show timings.")
@click.option("--nowordwrap", is_flag=True, help="Don't wrap words to the next line.")
@click.option("--format", "format_text", default="", help="json, or a JSON schema.")
@click.option("--think", default="", help="=true, false, high, medium, low or max.")
@click.option("--hidethinking", is_flag=True, help="Hide what the model thinks.")
@click.option("--truncate", type=bool, default=None, help="Embeddings: cut overlong input.")
@click.option("--dimensions", type=int, default=0, help="Embeddings: length of the vector.")
def run(words: tuple[str, ...], **flags: object) -> None:
    """Ask a model, or talk to it."""
    from ollama_jupyter.cli.run import Flags, run_model

    run_model(words[0], words[1:], Flags.read(flags))


@commands.command()
@click.argument("model", nargs=-1, callback=_ONE)
def stop(model: tuple[str]) -> None:
    """Unload a model."""
    from ollama_jupyter.cli.models import stop_model

    stop_model(model[0])


@commands.command("list")
@click.argument("prefix", nargs=-1)
def list_(prefix: tuple[str, ...]) -> None:
    """List the installed models."""
    from ollama_jupyter.cli.models import list_models

    list_models("".join(prefix[:1]))


@commands.command()
@click.argument("prefix", nargs=-1)
def ps(prefix: tuple[str, ...]) -> None:
    """List the loaded models."""
    from ollama_jupyter.cli.models import list_loaded

    list_loaded("".join(prefix[:1]))


@commands.command()
@click.argument("names", metavar="SOURCE DESTINATION", nargs=-1, callback=_TWO)
def cp(names: tuple[str, str]) -> None:
    """Give a model a second name."""
    from ollama_jupyter.cli.models import copy_model

    copy_model(*names)


@commands.command()
@click.argument("models", metavar="MODEL...", nargs=-1, callback=_SOME)
def rm(models: tuple[str, ...]) -> None:
    """Remove models."""
    from ollama_jupyter.cli.models import remove_models

    remove_models(models)


@commands.command()
def shutdown() -> None:
    """End the server."""
    from ollama_jupyter.cli.serve import end_server

    end_server()


@commands.command()
def doctor() -> None:
    """Say what is installed, what runs, and what is wrong."""
    from ollama_jupyter.cli.doctor import print_report

    print_report()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line and give back the exit code; every error is one line on stderr."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a poor locale must not end an answer
    try:
        result = commands.main(_spelled_out(given), "ollama_jupyter", standalone_mode=False)
    except click.ClickException as error:
        click.echo(f"Error: {error.format_message()}", err=True)
        return 1
    except OllamaError as error:
        click.echo(f"Error: {error}", err=True)
        return 1
    except (click.Abort, KeyboardInterrupt):
        return 130
    except BrokenPipeError:
        # Whoever read our output left, as `| head` does; nothing more can be said to it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    return result if isinstance(result, int) else 0


def _spelled_out(arguments: list[str]) -> list[str]:
    """A bare `--think` gets its value here: as an option of its own it would eat the prompt."""
    end = arguments.index("--") if "--" in arguments else len(arguments)
    before = ["--think=true" if word == "--think" else word for word in arguments[:end]]
    return before + arguments[end:]
