"""Base64 as Go's StdEncoding reads it."""

import base64
import binascii
import re
from typing import Final

from ollama_jupyter.errors import BadRequest

_FOREIGN: Final = re.compile(rb"[^A-Za-z0-9+/\r\n]")
_LINE_ENDS: Final = re.compile(rb"[\r\n]*")


def decode_base64(text: str) -> bytes:
    """The bytes of a padded base64 text; line ends in it are ignored.

    Raises:
        BadRequest: with the offset of the byte that Go names, counted in UTF-8.
    """
    encoded = text.encode("utf-8", "surrogatepass")
    compact = encoded.replace(b"\r", b"").replace(b"\n", b"")
    try:
        return base64.b64decode(compact, validate=True)
    except binascii.Error:
        offset = _offending_byte(encoded)
        raise BadRequest(f"illegal base64 data at input byte {offset}") from None


def _offending_byte(encoded: bytes) -> int:
    """Offset of the first byte of a faulty text that does not belong where it stands."""
    foreign = _FOREIGN.search(encoded)
    end = foreign.start() if foreign else len(encoded)
    digits_in_group = (end - encoded.count(b"\n", 0, end) - encoded.count(b"\r", 0, end)) % 4
    if foreign is None:  # the last group is not complete: Go points at where it began
        return end - digits_in_group
    if foreign[0] != b"=" or digits_in_group < 2:
        return end
    after = _skip_line_ends(encoded, end + 1)
    if digits_in_group == 2:  # a second "=" is needed
        if after == len(encoded):
            return after
        if encoded[after : after + 1] != b"=":
            return after - 1
        after = _skip_line_ends(encoded, after + 1)
    return after


def _skip_line_ends(encoded: bytes, position: int) -> int:
    match = _LINE_ENDS.match(encoded, position)
    return match.end() if match else position
