"""Content on its way into the store."""

import asyncio
import hashlib
from pathlib import Path

import pytest

from ollama_jupyter.errors import StoreError
from ollama_jupyter.names import Digest
from ollama_jupyter.server.services import Limits
from ollama_jupyter.store.ingest import Ingest
from tests.fakes.rooms import until
from tests.server.web import Web, read_reply, running

DATA = b"abc" * 1000
DIGEST = f"sha256:{hashlib.sha256(DATA).hexdigest()}"
OTHER = "sha256:" + "0" * 64


def _files(web: Web) -> list[str]:
    """Every file in the store, but for its lock."""
    root = web.services.store.layout.root
    files = (path.relative_to(root) for path in root.rglob("*") if path.is_file())
    return sorted(str(path) for path in files if path.name != "lock")


async def test_a_blob_is_stored_under_its_name(empty: Web) -> None:
    reply = await empty.post(f"/api/blobs/{DIGEST}", DATA)
    assert (reply.status, reply.body) == (201, b"")
    path = empty.services.store.blobs.path(Digest.parse(DIGEST))
    assert path.read_bytes() == DATA
    assert (await empty.ask("HEAD", f"/api/blobs/{DIGEST}")).status == 200


async def test_a_blob_that_is_not_here_is_404(empty: Web) -> None:
    assert (await empty.ask("HEAD", f"/api/blobs/{OTHER}")).status == 404


@pytest.mark.parametrize("method", ["HEAD", "POST"])
@pytest.mark.parametrize(
    "digest", ["nope", "sha256:bad", "sha512:" + "0" * 64, "sha256:..%2f..%2fx", "sha256:%00"]
)
async def test_a_text_that_is_no_digest_is_400(empty: Web, method: str, digest: str) -> None:
    reply = await empty.ask(method, f"/api/blobs/{digest}", b"x" if method == "POST" else b"")
    assert reply.status == 400
    if method == "POST":
        assert reply.json == {"error": "invalid digest format"}
    assert not _files(empty)


async def test_content_of_another_digest_is_refused_and_not_kept(empty: Web) -> None:
    reply = await empty.post(f"/api/blobs/{OTHER}", DATA)
    assert reply.status == 400
    assert reply.json == {"error": f'digest mismatch, expected "{OTHER}", got "{DIGEST}"'}
    assert not _files(empty)


async def test_a_blob_that_is_here_is_not_read_again(empty: Web) -> None:
    await empty.post(f"/api/blobs/{DIGEST}", DATA)
    # Nothing of the body is ever sent.
    reader, _ = await empty.open("POST", f"/api/blobs/{DIGEST}", Content_Length="10000000000")
    assert (await read_reply(reader)).status == 200


async def test_a_small_blob_that_is_here_keeps_the_connection(empty: Web) -> None:
    await empty.post(f"/api/blobs/{DIGEST}", DATA)
    reader, writer = await empty.open("POST", f"/api/blobs/{DIGEST}", DATA)
    assert (await read_reply(reader)).status == 200
    writer.write(f"GET / HTTP/1.1\r\nHost: 127.0.0.1:{empty.port}\r\n\r\n".encode())
    assert (await read_reply(reader)).status == 200


async def test_an_upload_that_is_cut_leaves_nothing(empty: Web) -> None:
    _, writer = await empty.open("POST", f"/api/blobs/{DIGEST}", DATA[:50], Content_Length="3000")
    await until(lambda: _files(empty), "it is being written")
    writer.close()
    await until(lambda: not _files(empty), "it is gone")


async def test_an_upload_that_stands_still_leaves_nothing(tmp_path: Path) -> None:
    async with running(tmp_path, limits=Limits(read_seconds=0.05)) as web:
        await web.open("POST", f"/api/blobs/{DIGEST}", DATA[:50], Content_Length="3000")
        await until(lambda: _files(web), "it is being written")
        await until(lambda: not _files(web), "it is gone")


async def test_a_blob_may_be_larger_than_a_json_body(tmp_path: Path) -> None:
    async with running(tmp_path, limits=Limits(json_bytes=100, discard_bytes=100)) as web:
        assert (await web.post(f"/api/blobs/{DIGEST}", DATA)).status == 201


async def test_two_uploads_of_one_blob_both_succeed(empty: Web) -> None:
    replies = await asyncio.gather(*(empty.post(f"/api/blobs/{DIGEST}", DATA) for _ in range(4)))
    assert {reply.status for reply in replies} <= {200, 201}
    assert len(_files(empty)) == 1


async def test_a_disk_that_refuses_is_told_and_leaves_nothing(
    empty: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: Ingest, data: bytes) -> None:
        raise StoreError("cannot write a blob: no space left on device")

    monkeypatch.setattr(Ingest, "write", refuse)
    reply = await empty.post(f"/api/blobs/{DIGEST}", DATA)
    assert reply.status == 500
    assert "no space left" in reply.json["error"]
    assert not _files(empty)
