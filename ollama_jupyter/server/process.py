"""The life of a server process: it starts, listens, tells others where, and ends well.

The loop runs in the main thread, because the system ends a runner when the *thread* that started
it ends. The first SIGTERM or SIGINT lets running answers come to their end for a few seconds and
then ends them with an error record; the second one ends everything at once. A server that a
client started ends by itself when nobody has used it for a while.
"""

import asyncio
import contextlib
import logging
import os
import signal
import threading
from typing import Final

from tornado.httpserver import HTTPServer

from ollama_jupyter import runtime
from ollama_jupyter.catalog.catalog import Catalog
from ollama_jupyter.config import Config, Host, check_origins
from ollama_jupyter.inference.rooms import Clock, Rooms
from ollama_jupyter.runtime import Record
from ollama_jupyter.scheduler.scheduler import Scheduler
from ollama_jupyter.server import listening, logs
from ollama_jupyter.server.activity import Activity
from ollama_jupyter.server.app import make_app
from ollama_jupyter.server.events import Events
from ollama_jupyter.server.origins import Gate
from ollama_jupyter.server.services import Services
from ollama_jupyter.store.store import Store
from ollama_jupyter.version import __version__

_log = logging.getLogger("ollama_jupyter.server")

_ANSWER_GRACE_SECONDS: Final = 4.0
_RECORD_GRACE_SECONDS: Final = 1.0
_CLOSE_SECONDS: Final = 3.0
# Whatever hangs, the process is gone before a supervisor would kill it.
_HARD_END_SECONDS: Final = 9.0
_IDLE_CONNECTION_SECONDS: Final = 60.0
_HEADER_LIMIT_BYTES: Final = 64 << 10
# Each route has its own limit; this one only has to be larger than any blob.
_BODY_LIMIT_BYTES: Final = 1 << 50
_PIECE_BYTES: Final = 256 << 10
# What a client may send ahead of what is read.
_BUFFER_BYTES: Final = 1 << 20
_LONGEST_LOOK_SECONDS: Final = 30.0


def serve(config: Config, *, auto_started: bool = False) -> None:
    """Run a server until it is told to end, or is no longer used; call it in the main thread.

    Args:
        config: where to listen, where the store is, and all the rest.
        auto_started: whether a client started it, so that it logs to a file and ends when unused.

    Raises:
        BadRequest: OLLAMA_ORIGINS holds something that is no origin.
        CannotListen: the address is taken, or open to strangers without a key.
        StoreError: the store, the log or the runtime folder cannot be used.
    """
    check_origins(config.origins)
    key = listening.required_key(config)
    handler = logs.set_up(
        config, is_background=auto_started, secrets=(key,) if key is not None else ()
    )
    server = _Server(config, key, auto_started=auto_started)
    try:
        asyncio.run(server.run())
    finally:
        server.hard_end.cancel()
        logs.take_down(handler)


class _Server:
    """One run of a server.

    Attributes:
        hard_end: ends the process when the orderly end hangs, be it in a thread that hashes a
            large file; whoever sees that end cancels it.
    """

    def __init__(self, config: Config, key: str | None, *, auto_started: bool) -> None:
        self._config = config
        self._key = key
        self._auto_started = auto_started
        self._clock = Clock()
        self._activity = Activity(self._clock.monotonic_ns)
        self._is_ending = asyncio.Event()
        self._record: Record | None = None
        self.hard_end = threading.Timer(_HARD_END_SECONDS, self._end_at_once)
        self.hard_end.daemon = True

    async def run(self) -> None:
        """Start, wait for the end, and end."""
        store = Store(self._config.models, prune=not self._config.noprune)
        sockets, host = listening.bind(self._config.host)
        try:
            await asyncio.to_thread(store.prepare)
        except BaseException:
            for each in sockets:
                each.close()
            raise
        scheduler = Scheduler(self._config)
        events = Events()
        scheduler.on_change.append(lambda: events.publish("loaded"))
        services = self._services(store, scheduler, events, host)
        http = HTTPServer(
            make_app(services),
            max_body_size=_BODY_LIMIT_BYTES,
            max_header_size=_HEADER_LIMIT_BYTES,
            chunk_size=_PIECE_BYTES,
            max_buffer_size=_BUFFER_BYTES,
            idle_connection_timeout=_IDLE_CONNECTION_SECONDS,
        )
        http.add_sockets(sockets)
        try:
            self._watch_signals()
            self._announce(host)
            await self._until_told(scheduler)
        finally:
            self.hard_end.start()
            await self._end(http, scheduler, events)

    def _services(self, store: Store, scheduler: Scheduler, events: Events, host: Host) -> Services:
        config = self._config
        catalog = Catalog(store, go_template=config.go_template, offered=config.offered_models)
        names = {name.lower() for name in config.allowed_hosts}
        if host.socket_path is None:
            names.add(host.name.lower())
        return Services(
            rooms=Rooms(catalog=catalog, scheduler=scheduler, config=config, clock=self._clock),
            store=store,
            gate=Gate(origins=config.origins, host_names=frozenset(names), api_key=self._key),
            activity=self._activity,
            events=events,
        )

    def _announce(self, host: Host) -> None:
        record = Record.of_this_process(
            host=host, api_key=self._key, auto_started=self._auto_started
        )
        runtime.write_record(self._config.runtime_dir, record)
        self._record = record
        _log.info("version %s listens on %s", __version__, record.url)

    # --- the end -------------------------------------------------------------------------

    def _watch_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            try:
                loop.add_signal_handler(number, self._on_signal, number)
            except NotImplementedError:  # Windows: no loop there watches signals
                signal.signal(number, lambda n, _: loop.call_soon_threadsafe(self._on_signal, n))

    def _on_signal(self, number: int) -> None:
        if self._is_ending.is_set():
            _log.warning("second signal: ending at once")
            self._end_at_once()
        _log.info("%s: ending", signal.Signals(number).name)
        self._is_ending.set()

    async def _until_told(self, scheduler: Scheduler) -> None:
        """Wait for a signal, or until a server that nobody uses has been idle long enough."""
        limit_ns = self._config.idle_exit_ns if self._auto_started else 0
        look_seconds = min(_LONGEST_LOOK_SECONDS, limit_ns / 4e9) if limit_ns else None
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(look_seconds):
                    await self._is_ending.wait()
                    return
            if scheduler.loaded():
                self._activity.touch()
            elif self._activity.idle_ns >= limit_ns:
                _log.info("unused for %d s: ending", limit_ns // 10**9)
                self._is_ending.set()
                return

    async def _end(self, http: HTTPServer, scheduler: Scheduler, events: Events) -> None:
        http.stop()
        self._forget()
        self._activity.is_ending = True
        events.close()
        if not await self._activity.wait_until_quiet(_ANSWER_GRACE_SECONDS):
            self._activity.stop_all()
            await self._activity.wait_until_quiet(_RECORD_GRACE_SECONDS)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_CLOSE_SECONDS):
                await scheduler.close()
        await http.close_all_connections()
        _log.info("ended")

    def _forget(self) -> None:
        """Take away what tells others of this server."""
        record, self._record = self._record, None
        if record is None:
            return
        runtime.remove_record(self._config.runtime_dir, record)
        if self._config.host.socket_path is not None:
            self._config.host.socket_path.unlink(missing_ok=True)

    def _end_at_once(self) -> None:
        """Runners end with this process: they watch a pipe that it holds."""
        self._forget()
        logging.shutdown()
        os._exit(1)
