import datetime

import pytest

from ollama_jupyter.prompt.gotemplate.functions import ADDED, FUNCTIONS, typescript_type
from ollama_jupyter.prompt.gotemplate.kinds import ExecutionError, Record, Value


def call(name: str, *args: Value) -> Value:
    function, least, most = {**FUNCTIONS, **ADDED}[name]
    assert least <= len(args) <= most
    return function(args)


@pytest.mark.parametrize(
    ("name", "args", "expected"),
    [
        ("len", ("é",), 2),
        ("len", ((1, 2),), 2),
        ("len", ({"a": 1},), 1),
        ("len", (b"abc",), 3),
        ("index", ((1, 2), 1), 2),
        ("index", ({"a": (1,)}, "a", 0), 1),
        ("index", ({}, "a"), None),
        ("index", ("é", 0), 195),
        ("index", (5,), 5),
        ("slice", ((1, 2, 3),), (1, 2, 3)),
        ("slice", ((1, 2, 3), 1), (2, 3)),
        ("slice", ((1, 2, 3), 1, 2), (2,)),
        ("slice", ((1, 2, 3), 0, 1, 2), (1,)),
        ("slice", ("héllo", 0, 3), "hé"),
        ("slice", ("é", 0, 1), "\ufffd"),
        ("slice", ([1, 2], 2), []),
        ("not", (0,), True),
        ("not", ("x",), False),
        ("print", (1, 2, "a", None), "1 2a<nil>"),
        ("println", (1, "a"), "1 a\n"),
        ("printf", ("%s-%d", "a", 1), "a-1"),
        ("html", ("<a href='x'>\"&",), "&lt;a href=&#39;x&#39;&gt;&#34;&amp;"),
        ("html", (None,), "&lt;no value&gt;"),
        ("js", ("'\"<>&=\\é\n\x7f",), "\\'\\\"\\u003C\\u003E\\u0026\\u003D\\\\é\\u000A\\u007F"),
        ("urlquery", ("a b&é~",), "a+b%26%C3%A9~"),
        ("json", ({"b": "<", "a": 1},), '{"a":1,"b":"\\u003c"}'),
    ],
)
def test_function_gives(name: str, args: tuple[Value, ...], expected: Value) -> None:
    assert call(name, *args) == expected


@pytest.mark.parametrize(
    ("name", "args", "message"),
    [
        ("len", (3,), "len of type int"),
        ("len", (None,), "len of type <nil>"),
        ("index", (None, 1), "index of untyped nil"),
        ("index", ((1,), 1), "index out of range: 1"),
        ("index", ((1,), -1), "index out of range: -1"),
        ("index", ((1,), "a"), "cannot index slice/array with type string"),
        ("index", ((1,), True), "cannot index slice/array with type bool"),
        ("index", ({}, 1), "value has type int; should be string"),
        ("index", (3, 1), "can't index item of type int"),
        ("slice", (None,), "slice of untyped nil"),
        ("slice", (3,), "can't slice item of type int"),
        ("slice", ((1,), 0, 2), "index out of range: 2"),
        ("slice", ((1, 2), 2, 1), "invalid slice index: 2 > 1"),
        ("slice", ((1,), 0, 1, 1, 1), "too many slice indexes: 4"),
        ("slice", ("a", 0, 1, 1), "cannot 3-index slice a string"),
        ("printf", (1,), "expected string; got int"),
        ("call", ("x",), "non-function of type string"),
        ("json", (float("nan"),), "unsupported value"),
    ],
)
def test_function_refuses(name: str, args: tuple[Value, ...], message: str) -> None:
    with pytest.raises(ExecutionError, match=message):
        call(name, *args)


def test_dates_are_local_and_ignore_their_argument() -> None:
    before = datetime.date.today()
    today, yesterday = call("currentDate", "%d"), call("yesterdayDate")
    if before == datetime.date.today():
        assert today == before.isoformat()
        assert yesterday == (before - datetime.timedelta(days=1)).isoformat()


def _property(*types: str, any_of: tuple[Value, ...] = ()) -> Record:
    return Record("tool property", {"AnyOf": any_of, "Type": types}, {})


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (_property("string"), "string"),
        (_property("integer"), "number"),
        (_property("number"), "number"),
        (_property("boolean"), "boolean"),
        (_property("array"), "any[]"),
        (_property("object"), "Record<string, any>"),
        (_property("null"), "null"),
        (_property("odd"), "any"),
        (_property(), "any"),
        (_property("string", "null"), "string | null"),
        (_property("x", any_of=(_property("string"), _property("array"))), "string | any[]"),
        ("text", "any"),
        (Record("message", {}, {}), "any"),
    ],
)
def test_typescript_type_names(value: Value, expected: str) -> None:
    assert typescript_type(value) == call("toTypeScriptType", value) == expected
