import pytest
from hypothesis import given
from hypothesis import strategies as st

from ollama_jupyter.errors import BadRequest
from ollama_jupyter.quantities import (
    FOREVER_NS,
    MINUTE_NS,
    SECOND_NS,
    duration_from_setting,
    format_duration,
    human_bytes,
    human_bytes_binary,
    human_duration,
    human_number,
    human_time,
    keep_alive_from_json,
    keep_alive_to_json,
    parse_bool,
    parse_byte_size,
    parse_duration,
    parse_int,
)

HOUR = 3600
DAY = 24 * HOUR
YEAR = 365 * DAY


@pytest.mark.parametrize(
    ("text", "ns"),
    [
        ("0", 0),
        ("-0", 0),
        ("+0", 0),
        ("0s", 0),
        ("5m", 5 * MINUTE_NS),
        ("1h30m", 90 * MINUTE_NS),
        ("-1.5s", -1_500_000_000),
        ("+5s", 5 * SECOND_NS),
        (".5s", 500_000_000),
        ("1.s", SECOND_NS),
        ("300ms", 300_000_000),
        ("1us1µs1μs", 3000),
        ("1ns", 1),
        ("0.3333333333333333333h", 1_200_000_000_000 - 1),
        ("9223372036854775807ns", FOREVER_NS),
        ("-9223372036854775808ns", -FOREVER_NS - 1),
        ("0000000000000000000000001s", SECOND_NS),
    ],
)
def test_parse_duration_reads_go_durations(text: str, ns: int) -> None:
    assert parse_duration(text) == ns


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", 'time: invalid duration ""'),
        ("-", 'time: invalid duration "-"'),
        ("x", 'time: invalid duration "x"'),
        (".s", 'time: invalid duration ".s"'),
        ("--1s", 'time: invalid duration "--1s"'),
        ("5", 'time: missing unit in duration "5"'),
        ("1h5", 'time: missing unit in duration "1h5"'),
        ("1d", 'time: unknown unit "d" in duration "1d"'),
        ("1h-2m", 'time: unknown unit "h-" in duration "1h-2m"'),
        ("1S", 'time: unknown unit "S" in duration "1S"'),
        ("9223372036854775808ns", 'time: invalid duration "9223372036854775808ns"'),
        ("99999999999999999999s", 'time: invalid duration "99999999999999999999s"'),
        ("2562048h", 'time: invalid duration "2562048h"'),
        ("-9223372036854775809ns", 'time: invalid duration "-9223372036854775809ns"'),
        ('"\\\n', 'time: invalid duration "\\"\\\\\\x0a"'),
        ("é", 'time: invalid duration "\\xc3\\xa9"'),
    ],
)
def test_parse_duration_words_errors_as_go_does(text: str, message: str) -> None:
    with pytest.raises(BadRequest) as caught:
        parse_duration(text)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("ns", "text"),
    [
        (0, "0s"),
        (1, "1ns"),
        (1_100, "1.1µs"),
        (300_000_000, "300ms"),
        (1_500_000_000, "1.5s"),
        (5 * MINUTE_NS, "5m0s"),
        (90 * MINUTE_NS, "1h30m0s"),
        (3600 * SECOND_NS + 1, "1h0m0.000000001s"),
        (-61 * SECOND_NS, "-1m1s"),
        (-5, "-5ns"),
        (FOREVER_NS, "2562047h47m16.854775807s"),
    ],
)
def test_format_duration_writes_go_durations(ns: int, text: str) -> None:
    assert format_duration(ns) == text


@given(st.integers(-FOREVER_NS, FOREVER_NS))
def test_parse_duration_reads_back_what_was_written(ns: int) -> None:
    assert parse_duration(format_duration(ns)) == ns


@given(st.text(alphabet="0123456789.+-hmsnuµ x"))
def test_parse_duration_gives_an_int64_or_bad_request(text: str) -> None:
    try:
        ns = parse_duration(text)
    except BadRequest:
        return
    assert -FOREVER_NS - 1 <= ns <= FOREVER_NS


@pytest.mark.parametrize(
    ("value", "ns"),
    [
        (None, None),
        (0, 0),
        (-0.0, 0),
        (42.5, 42_500_000_000),
        (-1, FOREVER_NS),
        (-0.001, FOREVER_NS),
        (1e300, FOREVER_NS),
        (10**400, FOREVER_NS),
        ("0", 0),
        ("5m", 5 * MINUTE_NS),
        ("-1m", FOREVER_NS),
    ],
)
def test_keep_alive_from_json_reads_seconds_and_durations(value: object, ns: int | None) -> None:
    assert keep_alive_from_json(value) == ns


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("5", 'time: missing unit in duration "5"'),
        (True, "Unsupported type: 'bool'"),
        ({}, "Unsupported type: 'map[string]interface {}'"),
        ([], "Unsupported type: '[]interface {}'"),
    ],
)
def test_keep_alive_from_json_refuses_the_rest(value: object, message: str) -> None:
    with pytest.raises(BadRequest) as caught:
        keep_alive_from_json(value)
    assert str(caught.value) == message


@given(st.integers(0, FOREVER_NS))
def test_keep_alive_to_json_reads_back(ns: int) -> None:
    assert keep_alive_from_json(keep_alive_to_json(ns)) == ns


def test_keep_alive_to_json_writes_forever_as_minus_one() -> None:
    assert keep_alive_to_json(-5) == -1


@pytest.mark.parametrize(
    ("text", "ns"),
    [
        ("1m", MINUTE_NS),
        ("120", 120 * SECOND_NS),
        ("-1", -SECOND_NS),
        ("99999999999", FOREVER_NS),
        ("-99999999999", -FOREVER_NS),
        ("1d", None),
        ("", None),
        ("1.5", None),
    ],
)
def test_duration_from_setting_takes_seconds_too(text: str, ns: int | None) -> None:
    assert duration_from_setting(text) == ns


def test_parse_bool_knows_twelve_spellings() -> None:
    for text in ("1", "t", "T", "TRUE", "true", "True"):
        assert parse_bool(text) is True
    for text in ("0", "f", "F", "FALSE", "false", "False"):
        assert parse_bool(text) is False
    for text in ("", "yes", "tRUE", " 1"):
        assert parse_bool(text) is None


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0", 0),
        ("+7", 7),
        ("-007", -7),
        ("9223372036854775807", FOREVER_NS),
        ("-9223372036854775808", -FOREVER_NS - 1),
        ("9223372036854775808", None),
        ("1" * 5000, None),
        ("0" * 5000 + "1", 1),
        ("", None),
        ("1_0", None),
        ("0x1", None),
        ("1.0", None),
        ("٣", None),
        ("--1", None),
        (" 1", None),
    ],
)
def test_parse_int_reads_an_int64(text: str, value: int | None) -> None:
    assert parse_int(text) == value


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("1000", 1000),
        ("1000B", 1000),
        ("8GiB", 8 << 30),
        ("8 gib", 8 << 30),
        ("512M", 512 << 20),
        ("512MB", 512_000_000),
        ("1.5 GB", 1_500_000_000),
        ("0.5KiB", 512),
        ("2t", 2 << 40),
        ("0", 0),
    ],
)
def test_parse_byte_size_tells_binary_from_decimal(text: str, count: int) -> None:
    assert parse_byte_size(text) == count


@pytest.mark.parametrize("text", ["", "x", "GiB", "-1", "1e9", "1.G", "1PB", "9" * 20, "1 G B"])
def test_parse_byte_size_refuses_the_rest(text: str) -> None:
    with pytest.raises(BadRequest, match="is no size in bytes; write it like"):
        parse_byte_size(text)


@pytest.mark.parametrize(
    ("count", "decimal", "binary"),
    [
        (0, "0 B", "0 B"),
        (999, "999 B", "999 B"),
        (1000, "1 KB", "1000 B"),
        (1024, "1.0 KB", "1.0 KiB"),
        (9_999, "10.0 KB", "9.8 KiB"),
        (10_999, "10 KB", "10.7 KiB"),
        (4_700_000_000, "4.7 GB", "4.4 GiB"),
        (999_999_999, "999 MB", "953.7 MiB"),
        (1_999_999_999_999, "2.0 TB", "1862.6 GiB"),
        (5 * 10**15, "5000 TB", "4656612.9 GiB"),
    ],
)
def test_human_bytes_in_both_systems(count: int, decimal: str, binary: str) -> None:
    assert (human_bytes(count), human_bytes_binary(count)) == (decimal, binary)


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0"),
        (999, "999"),
        (1_000, "1K"),
        (1_499, "1K"),
        (26_000_000, "26M"),
        (134_515_008, "134.52M"),
        (7_000_000_000, "7B"),
        (8_030_261_248, "8.0B"),
    ],
)
def test_human_number_counts_parameters(count: int, text: str) -> None:
    assert human_number(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.9, "Less than a second"),
        (1.9, "1 second"),
        (59.9, "59 seconds"),
        (60, "About a minute"),
        (120, "2 minutes"),
        (59.9 * 60, "59 minutes"),
        (HOUR, "About an hour"),
        (1.5 * HOUR, "2 hours"),
        (47.4 * HOUR, "47 hours"),
        (48 * HOUR, "2 days"),
        (13 * DAY, "13 days"),
        (14 * DAY, "2 weeks"),
        (59 * DAY, "8 weeks"),
        (60 * DAY, "2 months"),
        (729 * DAY, "24 months"),
        (2 * YEAR, "2 years"),
    ],
)
def test_human_duration_rounds_hours_and_floors_the_rest(seconds: float, text: str) -> None:
    assert human_duration(seconds) == text
    assert human_time(-seconds, zero_text="") == f"{text} ago"


def test_human_time_looks_ahead_up_to_twenty_years() -> None:
    assert human_time(240.5, zero_text="") == "4 minutes from now"
    assert human_time(20 * YEAR, zero_text="") == "20 years from now"
    assert human_time(21 * YEAR, zero_text="") == "Forever"
    assert human_time(None, zero_text="Never") == "Never"
