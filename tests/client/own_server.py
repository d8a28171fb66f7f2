"""Plays our server for the code that starts one: listens, writes a record, ends on SIGTERM.

What it is to do comes in its environment: FAKE_STARTS names a file to which it adds a JSON line
about its process, FAKE_END makes it end at its start ("dies") or never answer ("hangs"),
FAKE_VERSION and FAKE_INTERPRETER change its record, FAKE_KEY is the key it asks for, FAKE_LOADED
the model it holds.
"""

import json
import os
import signal
import sys
import threading
from dataclasses import replace
from http.server import ThreadingHTTPServer
from pathlib import Path

import msgspec

from ollama_jupyter import runtime
from ollama_jupyter.config import Config
from ollama_jupyter.runtime import Record
from tests.fakes.contract_server import Handler, UnixServer


def _about_us() -> dict[str, object]:
    links = []
    for descriptor in Path("/proc/self/fd").iterdir():
        try:
            links.append(str(descriptor.readlink()))
        except FileNotFoundError:
            continue  # the one the folder was listed with
    return {
        "pid": os.getpid(),
        "session": os.getsid(0),
        "cwd": str(Path.cwd()),
        "files": sorted(set(links)),
        "secrets": [name for name in os.environ if name.endswith("TOKEN")],
    }


def main() -> None:
    """Serve until told to end."""
    with Path(os.environ["FAKE_STARTS"]).open("a") as starts:
        starts.write(json.dumps(_about_us()) + "\n")
    ending = os.environ.get("FAKE_END")
    if ending == "dies":
        sys.exit("the store is on fire")
    if ending == "hangs":
        signal.pause()
    config = Config.from_environment(os.environ)
    key = os.environ.get("FAKE_KEY")
    Handler.key = f"Bearer {key}" if key else None
    Handler.state.loaded = [name for name in [os.environ.get("FAKE_LOADED")] if name]
    server: UnixServer | ThreadingHTTPServer
    host = config.host
    if host.socket_path is not None:
        server = UnixServer(str(host.socket_path), Handler)
    else:
        Handler.disable_nagle_algorithm = True
        server = tcp = ThreadingHTTPServer(("127.0.0.1", host.port), Handler)
        host = replace(config.host, port=tcp.server_port)
    record = msgspec.structs.replace(
        Record.of_this_process(host=host, api_key=key, auto_started="--by-hand" not in sys.argv),
        **{
            name: value
            for name, value in (
                ("version", os.environ.get("FAKE_VERSION")),
                ("interpreter", os.environ.get("FAKE_INTERPRETER")),
            )
            if value
        },
    )
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    runtime.write_record(config.runtime_dir, record)
    sys.stdout.write("listening\n")
    sys.stdout.flush()
    server.serve_forever(poll_interval=0.02)
    runtime.remove_record(config.runtime_dir, record)
    os._exit(0)


if __name__ == "__main__":
    main()
