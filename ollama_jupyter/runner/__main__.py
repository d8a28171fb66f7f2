"""`python -m ollama_jupyter.runner`: loads one RunnerSpec and serves it until its parent goes.

The first line of standard input is the spec; the pipe stays open as long as the parent lives. The
child also asks the kernel to be killed with its parent, and ends at once if the parent died before
it could ask.
"""

import asyncio
import logging
import os
import signal
import sys
import threading
from pathlib import Path

import msgspec

from ollama_jupyter.runner.death import die_with_parent
from ollama_jupyter.runner.wire import RunnerSpec

# Long prompts make llama.cpp's pre-tokenizers recurse; a page costs nothing until it is touched.
_STACK_BYTES = 64 << 20
# The engine must get the interpreter back quickly after a decode; the default is 5 ms.
_SWITCH_SECONDS = 0.0002


def _watch_pipe(socket_path: Path) -> None:
    """Wait for the end of standard input, which is the end of the parent, and end with it."""
    while os.read(0, 4096):
        pass
    socket_path.unlink(missing_ok=True)
    os._exit(0)


async def serve(spec: RunnerSpec) -> None:
    """Load and serve until the parent closes the pipe or sends a signal."""
    from ollama_jupyter.runner import app as http  # llama.cpp comes with it; the pipe comes first
    from ollama_jupyter.runner.jinja import TemplateRenderer
    from ollama_jupyter.runner.lifecycle import Runner

    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    socket_path = Path(spec.socket_path)
    threading.Thread(target=_watch_pipe, args=(socket_path,), name="pipe", daemon=True).start()
    runner = Runner(spec, http.deliver)
    renderer = TemplateRenderer()
    server = http.listen(http.make_app(runner, renderer), socket_path)
    runner.start()
    await stop.wait()
    server.stop()
    await asyncio.to_thread(socket_path.unlink, missing_ok=True)
    await runner.close()
    await renderer.close()
    # Nothing is left to save: a thread that still looks up tokens, or llama.cpp's own
    # destructors, would only make the parent wait. The kernel frees everything.
    sys.stderr.flush()
    os._exit(0)


def main() -> None:
    """Run the child."""
    die_with_parent(os.getppid())
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    spec = msgspec.json.decode(sys.stdin.buffer.readline(), type=RunnerSpec)
    threading.stack_size(_STACK_BYTES)
    sys.setswitchinterval(_SWITCH_SECONDS)
    # An aborting llama.cpp would start a debugger on itself and take seconds to die.
    os.environ.setdefault("GGML_NO_BACKTRACE", "1")
    asyncio.run(serve(spec))


if __name__ == "__main__":
    main()
