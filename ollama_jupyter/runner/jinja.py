"""Renders chat templates in a process of its own, which is killed when it takes too long.

The process is started with the first template and kept; it answers one line of JSON with one line
of JSON. It may use 1 GiB of memory, and dies with its parent.
"""

import asyncio
import os
import resource
import sys
from typing import Any

import msgspec

from ollama_jupyter.errors import InvalidTemplate, OllamaError
from ollama_jupyter.runner.death import die_with_parent
from ollama_jupyter.runner.wire import TemplateRequest

DEADLINE_SECONDS = 2.0
_START_SECONDS = 10.0
_MEMORY_BYTES = 1 << 30
_LINE_BYTES = 64 << 20
_ENCODER = msgspec.json.Encoder()


class _Order(msgspec.Struct, frozen=True, kw_only=True):
    template: str
    values: dict[str, Any]


class _Answer(msgspec.Struct, frozen=True, kw_only=True):
    text: str = ""
    error: str = ""


class TemplateRenderer:
    """The loop's side; `close` ends the process. One template is rendered at a time."""

    def __init__(self) -> None:
        self._process: asyncio.subprocess.Process | None = None
        self._turn = asyncio.Lock()

    async def render(self, template: str, request: TemplateRequest, *, bos: str, eos: str) -> str:
        """The prompt that the template makes of the request.

        Args:
            template: Jinja text.
            request: its values.
            bos: text of the token that begins a sequence.
            eos: text of the token that ends one.

        Raises:
            InvalidTemplate: it fails, or takes more than two seconds.
        """
        values: dict[str, Any] = {
            "messages": request.messages,
            "tools": request.tools,
            "add_generation_prompt": request.add_generation_prompt,
            "bos_token": bos,
            "eos_token": eos,
        }
        if request.enable_thinking is not None:
            values["enable_thinking"] = request.enable_thinking
        line = _ENCODER.encode(_Order(template=template, values=values)) + b"\n"
        async with self._turn:
            answer = await self._ask(line)
        if answer.error:
            raise InvalidTemplate(answer.error)
        return answer.text

    async def _ask(self, line: bytes) -> _Answer:
        process = await self._started()
        if process.stdin is None or process.stdout is None:
            raise InvalidTemplate("the chat template's process has no pipes")
        try:
            async with asyncio.timeout(DEADLINE_SECONDS):
                process.stdin.write(line)
                await process.stdin.drain()
                reply = await process.stdout.readline()
        except TimeoutError as error:
            await self.close()
            raise InvalidTemplate(
                f"the chat template took more than {DEADLINE_SECONDS:g} seconds"
            ) from error
        except (OSError, ValueError) as error:
            await self.close()
            raise InvalidTemplate(f"the chat template could not be rendered: {error}") from error
        except asyncio.CancelledError:
            await self.close()
            raise
        if not reply:
            await self.close()
            raise InvalidTemplate("the chat template needed too much memory")
        return msgspec.json.decode(reply, type=_Answer)

    async def _started(self) -> asyncio.subprocess.Process:
        if self._process is None or self._process.returncode is not None:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-P",
                "-m",
                "ollama_jupyter.runner.jinja",
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                limit=_LINE_BYTES,
            )
            async with asyncio.timeout(_START_SECONDS):
                if self._process.stdout is not None:
                    await self._process.stdout.readline()
        return self._process

    async def close(self) -> None:
        """Kill the process, if one runs, and wait for its end."""
        process, self._process = self._process, None
        if process is not None and process.returncode is None:
            process.kill()
            await process.wait()


def main() -> None:
    """The process's side: says it is ready, then answers until its input ends."""
    die_with_parent(os.getppid())
    from ollama_jupyter.prompt.jinja import render_jinja  # ready means that this is loaded

    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))
    sys.stdout.buffer.write(b"{}\n")
    sys.stdout.buffer.flush()
    for line in sys.stdin.buffer:
        order = msgspec.json.decode(line, type=_Order)
        try:
            answer = _Answer(text=render_jinja(order.template, order.values))
        except OllamaError as error:
            answer = _Answer(error=str(error))
        sys.stdout.buffer.write(_ENCODER.encode(answer) + b"\n")
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
