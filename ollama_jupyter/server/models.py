"""What is installed and what is loaded: tags, ps, show, copy, delete and create.

Every one of these reads or writes the disk, so all run in threads.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor

import msgspec

from ollama_jupyter.api.model_types import LoadedModel, ModelList, ProcessList, ShowResponse
from ollama_jupyter.api.native import local_timestamp
from ollama_jupyter.api.types import (
    CopyRequest,
    CreateRequest,
    DeleteRequest,
    ShowRequest,
    StatusRecord,
)
from ollama_jupyter.catalog.catalog import Catalog
from ollama_jupyter.errors import Forbidden, NotFound, StoreError
from ollama_jupyter.models import library
from ollama_jupyter.models.create import create
from ollama_jupyter.models.show import show
from ollama_jupyter.names import ModelRef
from ollama_jupyter.scheduler.scheduler import LoadedRunner
from ollama_jupyter.server.requests import Exchange
from ollama_jupyter.server.threads import run_to_end, wait_out


async def tags(exchange: Exchange) -> None:
    """GET /api/tags: the installed models."""
    await exchange.send(ModelList(models=await asyncio.to_thread(_catalog(exchange).list)))


async def ps(exchange: Exchange) -> None:
    """GET /api/ps: the loaded models, the one that stays longest first."""
    loaded = exchange.services.rooms.scheduler.loaded()
    await exchange.send(ProcessList(models=[_loaded_model(runner) for runner in loaded]))


def _loaded_model(runner: LoadedRunner) -> LoadedModel:
    name = runner.model.name.display()
    return LoadedModel(
        name=name,
        model=name,
        size=runner.size_bytes,
        digest=runner.model.digest.hex,
        details=msgspec.structs.replace(runner.model.details, parent_model=""),
        expires_at=local_timestamp(runner.expires_at_ns),
        size_vram=runner.vram_bytes,
        context_length=runner.num_ctx,
        running=runner.running,
        slots=runner.slots,
    )


async def show_model(exchange: Exchange) -> None:
    """POST /api/show."""
    request = exchange.read(ShowRequest)
    reference = ModelRef.parse(request.model or request.name)
    name = reference.model_name()
    if reference.source == "cloud":
        raise Forbidden("ollama cloud is disabled: remote model details are unavailable")
    catalog = _catalog(exchange)

    def read() -> ShowResponse:
        try:
            model = catalog.resolve(reference.base)
        except NotFound as error:
            raise NotFound(f"model '{name.display()}' not found") from error
        return show(model, verbose=request.verbose, system=request.system, options=request.options)

    await exchange.send(await asyncio.to_thread(read))


async def copy_model(exchange: Exchange) -> None:
    """POST /api/copy."""
    request = exchange.read(CopyRequest)
    catalog = _catalog(exchange)
    await run_to_end(lambda: library.copy(catalog, request.source, request.destination))
    exchange.services.events.publish("store")
    await exchange.send_empty()


async def delete_model(exchange: Exchange) -> None:
    """DELETE /api/delete."""
    request = exchange.read(DeleteRequest)
    catalog = _catalog(exchange)
    await run_to_end(lambda: library.delete(catalog, request.model or request.name))
    exchange.services.events.publish("store")
    await exchange.send_empty()


async def create_model(exchange: Exchange) -> None:
    """POST /api/create; without a stream, only the last record is sent."""
    request = exchange.read(CreateRequest)
    catalog = _catalog(exchange)
    records = _published(exchange, in_thread(lambda: create(catalog, request)))
    if request.stream is not False:
        await exchange.stream(records)
        return
    last: StatusRecord | None = None
    async with contextlib.aclosing(records):
        async for record in records:
            last = record
    if last is None:
        raise StoreError("creating the model gave no result")
    await exchange.send(last)


async def _published(
    exchange: Exchange, records: AsyncGenerator[StatusRecord, None]
) -> AsyncGenerator[StatusRecord, None]:
    """The same records; whoever watches the store hears of the last one."""
    async with contextlib.aclosing(records):
        async for record in records:
            if record.status == "success":
                exchange.services.events.publish("store")
            yield record


async def in_thread(
    make: Callable[[], Iterator[StatusRecord]],
) -> AsyncGenerator[StatusRecord, None]:
    """The records of a blocking iterator, which runs, and is closed, in one thread of its own."""
    loop = asyncio.get_running_loop()
    with ThreadPoolExecutor(1, thread_name_prefix="create") as thread:
        records: list[Iterator[StatusRecord]] = []

        def step() -> StatusRecord | None:
            if not records:
                records.append(make())
            return next(records[0], None)

        def close() -> None:
            for each in records:
                if isinstance(each, Generator):
                    each.close()

        try:
            while (record := await wait_out(loop.run_in_executor(thread, step))) is not None:
                yield record
        finally:
            await wait_out(loop.run_in_executor(thread, close))


def _catalog(exchange: Exchange) -> Catalog:
    return exchange.services.rooms.catalog
