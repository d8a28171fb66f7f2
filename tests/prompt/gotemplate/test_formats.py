import math

import pytest

from ollama_jupyter.prompt.gotemplate.formats import sprintf
from ollama_jupyter.prompt.gotemplate.kinds import Printed, Record, Value


class _Shout(dict[str, Value], Printed):
    def text(self) -> str:
        return "SHOUT"


@pytest.mark.parametrize(
    ("form", "values", "expected"),
    [
        ("%s %v %d", ("a", "b", 3), "a b 3"),
        ("100%%", (), "100%"),
        ("%5s|%-5s|%.2s|%05s", ("ab", "ab", "abc", "ab"), "   ab|ab   |ab|000ab"),
        ("%q %q", ('a"\n\x01\u200b\U000e0001', "é"), '"a\\"\\n\\x01\\u200b\\U000e0001" "é"'),
        ("%x %X % x", ("hi", "hi", "hi"), "6869 6869 68 69"),
        ("%5d|%-5d|%05d|%+d|% d|%.3d", (4, 4, -4, 4, 4, 4), "    4|4    |-0004|+4| 4|004"),
        ("%b %o %O %x %X %#x %#o", (5, 8, 8, 255, 255, 255, 8), "101 10 0o10 ff FF 0xff 010"),
        ("%c %U %q %q %q", (233, 233, 65, 39, 34), "é U+00E9 'A' '\\'' '\"'"),
        ("%c%c", (-1, 0xD800), "\ufffd\ufffd"),
        ("%t %v %5t", (True, False, True), "true false  true"),
        ("%v %g %f %e %G", (1e6, 1.5, 1.5, 1.5, 1e-9), "1e+06 1.5 1.500000 1.500000e+00 1E-09"),
        ("%.1f %6.2f %+.1f %F", (2.25, 1.5, 1.0, 1.0), "2.2   1.50 +1.0 1.000000"),
        ("%06.1f", (-1.5,), "-001.5"),
        ("%x %X %x", (1.5, 0.5, 0.0), "0x1.8p+00 0X1P-01 0x0p+00"),
        ("%v %v %06v %f", (math.inf, -math.inf, math.nan, math.inf), "+Inf -Inf    NaN +Inf"),
        ("%T %T %T", (1, "a", None), "int string <nil>"),
        ("%v %5v %s", (None, None, None), "<nil> <nil> %!s(<nil>)"),
        ("%v %s %3v", (("a", None), ("a", 1), (1, 2)), "[a <nil>] [a %!s(int=1)] [  1   2]"),
        ("%v %d", ({"b": 1, "a": "x"}, {"k": 1}), "map[a:x b:1] map[%!d(string=k):1]"),
        ("%v", (Record("r", {"A": 1, "B": "x"}, {}),), "{1 x}"),
        ("%s %v %q", (_Shout(), _Shout(), _Shout()), 'SHOUT SHOUT "SHOUT"'),
        ("%d", (_Shout(a=1),), "map[%!d(string=a):1]"),
        ("%*d|%-*d|%*d", (4, 1, 4, 1, -4, 1), "   1|1   |1   "),
        ("%.*f|%.f", (1, 1.25, 1.5), "1.2|2"),
    ],
)
def test_sprintf_formats_as_go_does(form: str, values: tuple[Value, ...], expected: str) -> None:
    assert sprintf(form, values) == expected


@pytest.mark.parametrize(
    ("form", "values", "expected"),
    [
        ("%d", (), "%!d(MISSING)"),
        ("%", (), "%!(NOVERB)"),
        ("%d", ("x",), "%!d(string=x)"),
        ("%s", (1,), "%!s(int=1)"),
        ("%z", (1.5,), "%!z(float64=1.5)"),
        ("%s", (True,), "%!s(bool=true)"),
        ("%z", ("a",), "%!z(string=a)"),
        ("a", (1, None), "a%!(EXTRA int=1, <nil>)"),
        ("%*d", ("x", 1), "%!(BADWIDTH)1"),
        ("%*d", (), "%!(BADWIDTH)%!d(MISSING)"),
        ("%99999999d", (1,), "%!(BADWIDTH)1"),
        ("%9999d", (1,), "%!(BADWIDTH)1"),
        ("%.*d", (True, 1), "%!(BADPREC)1"),
        ("%.*d", (-1, 1), "%!(BADPREC)1"),
    ],
)
def test_sprintf_shows_mistakes(form: str, values: tuple[Value, ...], expected: str) -> None:
    assert sprintf(form, values) == expected
