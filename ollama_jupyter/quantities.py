"""Durations, byte sizes, counts and ages: text to number and back, by the rules of Go.

A duration is an `int` of nanoseconds everywhere; `FOREVER_NS` (the largest one Go can hold) stands
for "never". Everything here is arithmetic on what it is given; no clock is read.
"""

import math
import re
from typing import Final

from ollama_jupyter.errors import BadRequest

FOREVER_NS: Final = 2**63 - 1
SECOND_NS: Final = 1_000_000_000
MINUTE_NS: Final = 60 * SECOND_NS

_OVERFLOW: Final = 1 << 63
_UNITS_NS: Final = {
    "ns": 1,
    "us": 1_000,
    "µs": 1_000,  # U+00B5, the micro sign
    "μs": 1_000,  # U+03BC, the Greek letter
    "ms": 1_000_000,
    "s": SECOND_NS,
    "m": MINUTE_NS,
    "h": 60 * MINUTE_NS,
}
_DURATION_PART: Final = re.compile(r"([0-9]*)(\.?)([0-9]*)([^0-9.]*)")
_INTEGER: Final = re.compile(r"[+-]?[0-9]+")
_BYTE_SIZE: Final = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*([KMGT]?)(I?)B?")


# --- durations ------------------------------------------------------------------------------


def parse_duration(text: str) -> int:
    """Nanoseconds of a Go duration such as `1h30m`, `-1.5s` or `0` (Go time.ParseDuration).

    Raises:
        BadRequest: with Go's own text; anything at or above 2**63 ns counts as invalid.
    """
    unsigned = text[1:] if text[:1] in ("+", "-") else text
    if unsigned == "0":
        return 0
    total = 0
    position = 0
    while position < len(unsigned) or not unsigned:
        match = _DURATION_PART.match(unsigned, position)
        if match is None or not (match[1] or match[3]):
            raise BadRequest(f"time: invalid duration {_quote(text)}")
        if not match[4]:
            raise BadRequest(f"time: missing unit in duration {_quote(text)}")
        unit = _UNITS_NS.get(match[4])
        if unit is None:
            raise BadRequest(f"time: unknown unit {_quote(match[4])} in duration {_quote(text)}")
        total += _part_ns(match[1], match[3], unit)
        if total > _OVERFLOW:
            raise BadRequest(f"time: invalid duration {_quote(text)}")
        position = match.end()
    is_negative = text.startswith("-")
    if total == _OVERFLOW and not is_negative:
        raise BadRequest(f"time: invalid duration {_quote(text)}")
    return -total if is_negative else total


def _part_ns(whole: str, fraction: str, unit: int) -> int:
    """One number and unit; more digits than an int64 holds are an overflow, not an int to build."""
    whole = whole.lstrip("0")
    if len(whole) > 19:
        return _OVERFLOW + 1
    # Go keeps the digits that fit an int64 and lets the rest of a fraction go.
    fraction = fraction[:18]
    ns = int(whole or "0") * unit
    if fraction:
        ns += int(float(int(fraction)) * (unit / float(10 ** len(fraction))))
    return ns


def _quote(text: str) -> str:
    """The text as Go's time package quotes it in an error, bytes outside ASCII by their numbers."""
    pieces = []
    for byte in text.encode("utf-8", "surrogatepass"):
        character = chr(byte)
        if byte >= 0x80 or byte < 0x20:
            pieces.append(f"\\x{byte:02x}")
        elif character in '"\\':
            pieces.append("\\" + character)
        else:
            pieces.append(character)
    return '"' + "".join(pieces) + '"'


def format_duration(ns: int) -> str:
    """A duration as Go prints it: `5m0s`, `1h30m0s`, `1.5s`, `300ms`, `0s`."""
    sign = "-" if ns < 0 else ""
    ns = abs(ns)
    if ns == 0:
        return "0s"
    for below, unit, name in ((1_000, 1, "ns"), (1_000_000, 1_000, "µs"), (SECOND_NS, 10**6, "ms")):
        if ns < below:
            return f"{sign}{_decimal(ns, unit)}{name}"
    minutes, rest = divmod(ns, MINUTE_NS)
    hours, minutes = divmod(minutes, 60)
    text = f"{_decimal(rest, SECOND_NS)}s"
    if hours:
        return f"{sign}{hours}h{minutes}m{text}"
    return f"{sign}{minutes}m{text}" if minutes else sign + text


def _decimal(value: int, unit: int) -> str:
    """`value / unit` without rounding and without trailing zeros; unit is a power of ten."""
    whole, rest = divmod(value, unit)
    if not rest:
        return str(whole)
    digits = len(str(unit)) - 1
    return f"{whole}.{rest:0{digits}d}".rstrip("0")


def keep_alive_from_json(value: object) -> int | None:
    """Nanoseconds of a decoded `keep_alive`: a number of seconds or a duration; None for null.

    Anything negative means forever.

    Raises:
        BadRequest: another JSON type, or a text that is no duration.
    """
    if value is None:
        return None
    if isinstance(value, bool):
        raise BadRequest("Unsupported type: 'bool'")
    if isinstance(value, int | float):
        if value < 0 or value * SECOND_NS >= FOREVER_NS:
            return FOREVER_NS
        return int(float(value) * SECOND_NS)
    if isinstance(value, str):
        ns = parse_duration(value)
        return FOREVER_NS if ns < 0 else ns
    kind = "map[string]interface {}" if isinstance(value, dict) else "[]interface {}"
    raise BadRequest(f"Unsupported type: '{kind}'")


def keep_alive_to_json(ns: int) -> str | int:
    """The JSON value that reads back as the same keep-alive: a duration, or -1 for forever."""
    return -1 if ns < 0 else format_duration(ns)


def duration_from_setting(text: str) -> int | None:
    """Nanoseconds of a Go duration or of whole seconds, as a setting spells it; None for neither.

    A result beyond what Go can hold is cut to the nearest it can.
    """
    try:
        return parse_duration(text)
    except BadRequest:
        seconds = parse_int(text)
    if seconds is None:
        return None
    return max(-FOREVER_NS, min(seconds * SECOND_NS, FOREVER_NS))


# --- Go's strconv ---------------------------------------------------------------------------


def parse_bool(text: str) -> bool | None:
    """The truth a text spells (Go strconv.ParseBool); None when it spells neither."""
    if text in ("1", "t", "T", "TRUE", "true", "True"):
        return True
    if text in ("0", "f", "F", "FALSE", "false", "False"):
        return False
    return None


def parse_int(text: str) -> int | None:
    """The decimal int64 a text spells (Go strconv.ParseInt); None when it spells none."""
    # 19 digits hold every int64. Leading zeros are legal, but Python refuses thousands of them.
    digits = text.lstrip("+-0")
    if not _INTEGER.fullmatch(text) or len(digits) > 19:
        return None
    value = int(digits or "0") * (-1 if text.startswith("-") else 1)
    return value if -_OVERFLOW <= value < _OVERFLOW else None


# --- bytes, counts and ages -----------------------------------------------------------------


def parse_byte_size(text: str) -> int:
    """Bytes of a size such as `8GiB`, `1.5 GB`, `512M` or `1000`; a bare letter means binary.

    Raises:
        BadRequest: the text is no size.
    """
    match = _BYTE_SIZE.fullmatch(text.strip().upper())
    if match is None or len(match[1]) > 18:
        raise BadRequest(f"{text!r} is no size in bytes; write it like 8GiB, 512MB or 1000000")
    is_decimal = match[2] != "" and match[3] == "" and text.strip().upper().endswith("B")
    factor = (1000 if is_decimal else 1024) ** " KMGT".index(match[2] or " ")
    return int(float(match[1]) * factor) if "." in match[1] else int(match[1]) * factor


def human_bytes(count: int) -> str:
    """A size in decimal units as `list` shows it: `4.7 GB`, `12 GB` (cut from 10 on), `999 B`."""
    for unit, name in ((10**12, "TB"), (10**9, "GB"), (10**6, "MB"), (10**3, "KB")):
        if count >= unit:
            is_short = count < 10 * unit and count % unit
            return f"{count / unit:.1f} {name}" if is_short else f"{count // unit} {name}"
    return f"{count} B"


def human_bytes_binary(count: int) -> str:
    """A size in binary units with one decimal: `1.5 GiB`; below 1024 `N B`."""
    for unit, name in ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")):
        if count >= unit:
            return f"{count / unit:.1f} {name}"
    return f"{count} B"


def human_number(count: int) -> str:
    """A count of parameters: `8.0B`, `7B`, `500.50M`, `12K`, `999`."""
    for unit, name, digits in ((10**9, "B", 1), (10**6, "M", 2)):
        if count >= unit:
            return (
                f"{count // unit}{name}"
                if count % unit == 0
                else f"{count / unit:.{digits}f}{name}"
            )
    return f"{count / 1000:.0f}K" if count >= 1000 else str(count)


def human_duration(seconds: float) -> str:
    """A length of time in words: `Less than a second`, `About an hour`, `3 weeks`."""
    whole = int(seconds)
    if whole < 1:
        return "Less than a second"
    if whole < 60:
        return "1 second" if whole == 1 else f"{whole} seconds"
    minutes = whole // 60
    if minutes < 60:
        return "About a minute" if minutes == 1 else f"{minutes} minutes"
    hours = math.floor(seconds / 3600 + 0.5)
    if hours == 1:
        return "About an hour"
    days = hours // 24
    if hours < 48:
        return f"{hours} hours"
    for below_days, unit_days, name in ((14, 1, "days"), (60, 7, "weeks"), (730, 30, "months")):
        if days < below_days:
            return f"{days // unit_days} {name}"
    return f"{int(seconds / 3600) // 24 // 365} years"


def human_time(seconds_from_now: float | None, *, zero_text: str) -> str:
    """A moment in words: `3 days ago`, `4 minutes from now`, `Forever` past 20 years ahead.

    Args:
        seconds_from_now: how far ahead the moment lies, negative for the past; None for the
            zero time.
        zero_text: what the zero time reads as.
    """
    if seconds_from_now is None:
        return zero_text
    if seconds_from_now <= 0:
        return f"{human_duration(-seconds_from_now)} ago"
    if int(seconds_from_now / 3600) // 24 // 365 > 20:
        return "Forever"
    return f"{human_duration(seconds_from_now)} from now"
