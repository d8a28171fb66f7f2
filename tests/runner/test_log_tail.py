"""The end of a log and the line in it that matters."""

import asyncio

import pytest

from ollama_jupyter.runner.log_tail import LogTail


def fed(*pieces: bytes) -> LogTail:
    tail = LogTail()
    for piece in pieces:
        tail.feed(piece)
    return tail


def test_tail_keeps_the_last_eight_kib_when_more_is_written() -> None:
    tail = fed(b"a" * 9000, b"b" * 1000)
    assert tail.text == "a" * 7192 + "b" * 1000
    assert tail.count == 10000


def test_tail_replaces_bytes_when_they_are_no_utf8() -> None:
    assert fed(b"a\xffb").text == "a\ufffdb"


@pytest.mark.parametrize(
    ("log", "line"),
    [
        (b"", ""),
        (b"all is well\n", ""),
        (b"error: one\nok\nerror: two\nbye\n", "error: two"),
        (b"  GGML_ASSERT(x) failed  \n", "GGML_ASSERT(x) failed"),
        (b"llama_init_from_model: failed\n", "llama_init_from_model: failed"),
        (b"ggml: failed to allocate 5 MiB\n", "ggml: failed to allocate 5 MiB"),
        (b"MemoryError\n", "MemoryError"),
    ],
)
def test_last_error_is_the_last_line_that_looks_like_one(log: bytes, line: str) -> None:
    assert fed(log).last_error == line


def test_explain_adds_the_last_error_when_there_is_one() -> None:
    assert fed(b"error: bad").explain("it ended") == "it ended: error: bad"
    assert fed(b"fine").explain("it ended") == "it ended"


async def test_follow_takes_everything_when_the_stream_ends() -> None:
    reader = asyncio.StreamReader()
    reader.feed_data(b"one\n")
    reader.feed_data(b"two\n")
    reader.feed_eof()
    tail = LogTail()
    await tail.follow(reader)
    assert tail.text == "one\ntwo\n"
