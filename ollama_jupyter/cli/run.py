"""`run`: one answer for a script, or a session for a person."""

import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

import click
import msgspec

from ollama_jupyter.api.types import JSON, EmbedRequest, GenerateRequest
from ollama_jupyter.cli.connect import connect_or_start, read_config
from ollama_jupyter.cli.output import AnswerPrinter, print_timings
from ollama_jupyter.cli.progress import Waiting
from ollama_jupyter.client import calls
from ollama_jupyter.client.conversation import read_piece
from ollama_jupyter.client.sync import Client
from ollama_jupyter.errors import BadRequest, NotFound, ServerError, ServerUnreachable
from ollama_jupyter.quantities import parse_duration

_LEVELS: Final = ("high", "medium", "low", "max")


@dataclass(frozen=True, slots=True, kw_only=True)
class Flags:
    """What the flags of `run` say.

    Attributes:
        keep_alive: a duration; None leaves it to the server.
        format: "json", a schema, or None.
        think: as asked for; None when the flag was not given.
        truncate: of an embedding; None leaves it to the server.
        dimensions: of an embedding; 0 means all.
    """

    keep_alive: str | None = None
    is_verbose: bool = False
    is_wrapped: bool = True
    format: JSON = None
    think: bool | str | None = None
    hides_thinking: bool = False
    truncate: bool | None = None
    dimensions: int = 0

    @classmethod
    def read(cls, given: Mapping[str, Any]) -> Self:
        """Check what click read.

        Raises:
            BadRequest: a value makes no sense.
        """
        keep_alive = given["keepalive"]
        if keep_alive:
            parse_duration(keep_alive)
        return cls(
            keep_alive=keep_alive or None,
            is_verbose=given["verbose"],
            is_wrapped=not given["nowordwrap"],
            format=read_format(given["format_text"]),
            think=read_think(given["think"]),
            hides_thinking=given["hidethinking"],
            truncate=given["truncate"],
            dimensions=given["dimensions"],
        )

    def printer(self) -> AnswerPrinter:
        """What prints an answer as the flags ask."""
        is_terminal = sys.stdout.isatty()
        width = shutil.get_terminal_size().columns if is_terminal and self.is_wrapped else 0
        return AnswerPrinter(
            width=width, is_terminal=is_terminal, hides_thinking=self.hides_thinking
        )


def read_think(text: str) -> bool | str | None:
    """The value of --think; None when it was not given.

    Raises:
        BadRequest: it is none of those there are.
    """
    if not text:
        return None
    if text in _LEVELS:
        return text
    if text not in ("true", "false"):
        raise BadRequest(
            f'invalid value for --think: "{text}" (must be true, false, high, medium, low, or max)'
        )
    return text == "true"


def read_format(text: str) -> JSON:
    """The value of --format: "json" itself, or a JSON schema; None when it was not given.

    Raises:
        BadRequest: it is no JSON.
    """
    if not text or text == "json":
        return text or None
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError as error:
        raise BadRequest(f"--format is neither json nor a JSON schema: {error}") from error


def run_model(model: str, words: Sequence[str], flags: Flags) -> None:
    """Answer a prompt from the arguments or standard input, else hold a session.

    Raises:
        NotFound: the model is not installed.
        OllamaError: the server refused, or there is none.
    """
    prompt_parts = list(words)
    is_interactive = not words and sys.stdin.isatty() and sys.stdout.isatty()
    if not sys.stdin.isatty():
        piped = sys.stdin.buffer.read().decode("utf-8", "replace")
        prompt_parts = [piped, *words] if piped else prompt_parts
    config = read_config()
    client = connect_or_start(config).client
    shown = show_installed(client, model)
    think = default_think(flags.think, shown)
    prompt = " ".join(prompt_parts)
    if is_embedder(shown):
        _embed(client, model, prompt, flags)
    elif is_interactive:
        from ollama_jupyter.cli.repl import hold_session

        hold_session(client, model, shown, flags, config)
    else:
        _answer(client, model, prompt, flags, think)


def show_installed(client: Client, model: str) -> dict[str, Any]:
    """What the server says of a model.

    Raises:
        NotFound: it is not installed.
        OllamaError: the server refused.
    """
    try:
        shown = client.request(calls.show(model))
    except ServerError as error:
        if error.http_status == 404:
            raise NotFound(
                f"model '{model}' not found; `ollama_jupyter list` shows those installed"
            ) from error
        raise
    return shown if isinstance(shown, dict) else {}


def default_think(asked: bool | str | None, shown: Mapping[str, Any]) -> bool | str | None:
    """What is asked for, else thinking when the model can; None leaves it to the server."""
    if asked is not None:
        return asked
    return True if "thinking" in (shown.get("capabilities") or ()) else None


def is_embedder(shown: Mapping[str, Any]) -> bool:
    """Whether a model turns text into vectors and cannot answer."""
    capabilities = shown.get("capabilities") or ()
    return "embedding" in capabilities and "completion" not in capabilities


def _answer(
    client: Client, model: str, prompt: str, flags: Flags, think: bool | str | None
) -> None:
    if not prompt:
        client.request(calls.load(model, keep_alive=flags.keep_alive, think=think))
        return
    request = GenerateRequest(
        model=model,
        prompt=prompt,
        format=flags.format,
        keep_alive=flags.keep_alive,
        think=think,
    )
    printer = flags.printer()
    final: Mapping[str, Any] = {}
    try:
        with (
            Waiting("waiting for the model") as waiting,
            client.stream(calls.generate(request)) as records,
        ):
            for record in records:
                waiting.stop()
                piece = read_piece(record)
                printer.feed(piece)
                final = piece.final or final
        if not final:
            raise ServerUnreachable("the server ended its answer without a last record")
    finally:
        printer.finish()
        click.echo("\n")
    if flags.is_verbose:
        print_timings(final)


def _embed(client: Client, model: str, prompt: str, flags: Flags) -> None:
    if not prompt:
        raise BadRequest(
            "embedding models require input text. Usage: ollama_jupyter run"
            f' {model} "your text here"'
        )
    reply = client.request(
        calls.embed(
            EmbedRequest(
                model=model,
                input=prompt,
                truncate=flags.truncate,
                dimensions=flags.dimensions,
                keep_alive=flags.keep_alive,
            )
        )
    )
    click.echo(msgspec.json.encode((reply.get("embeddings") or [[]])[0]).decode())
