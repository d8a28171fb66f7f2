"""/api/blobs/:digest: content on its way into the store, hashed while it arrives."""

import asyncio

from ollama_jupyter.errors import NotFound
from ollama_jupyter.names import Digest
from ollama_jupyter.server.requests import Exchange
from ollama_jupyter.server.threads import run_to_end


async def has_blob(exchange: Exchange, digest_text: str) -> None:
    """HEAD: whether the store holds that content."""
    digest = Digest.parse(digest_text)
    if not await asyncio.to_thread(exchange.services.store.blobs.has, digest):
        raise NotFound(f'blob "{digest_text}" not found')
    await exchange.send_empty(200)


async def receive_blob(exchange: Exchange, digest_text: str) -> None:
    """POST, when its head is here: have the body written into the store as it comes."""
    digest = Digest.parse(digest_text)
    blobs = exchange.services.store.blobs
    if await asyncio.to_thread(blobs.has, digest):
        exchange.answer_without_body(exchange.send_empty)
        return
    ingest = exchange.resources.enter_context(blobs.ingest())

    async def write(piece: bytes) -> None:
        await run_to_end(lambda: ingest.write(piece))

    async def commit() -> None:
        await run_to_end(lambda: ingest.commit(digest))
        await exchange.send_empty(201)

    exchange.divert_body(write, commit)
