import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ollama_jupyter.errors import InvalidModelfile
from ollama_jupyter.modelfile.parser import Command, decode_text, parse, print_commands

COMMANDS = (
    'command must be one of "from", "license", "template", "system", "adapter", "draft",'
    ' "renderer", "parser", "parameter", "message", or "requires"'
)
ROLES = 'message role must be one of "system", "user", or "assistant"'


def system_of(value: str) -> str:
    """The text that `SYSTEM <value>` sets."""
    return parse(f"FROM m\nSYSTEM {value}")[1].args


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("FROM m", ["model"]),
        ("from m\n\n\t# FROM n\r\n  License MIT", ["model", "license"]),
        ("PARAMETER Num_ctx2 1\nfrom m", ["Num_ctx2", "model"]),
        ("PARAMETER  1\nFROM m", ["", "model"]),
        ("\ufeffFROM m", ["model"]),
        ("\u200bFROM m\n", ["model"]),
        (
            "FROM m\nTEMPLATE t\nSYSTEM s\nADAPTER a\nDRAFT d\nRENDERER r\nPARSER p\nREQUIRES 1",
            ["model", "template", "system", "adapter", "draft", "renderer", "parser", "requires"],
        ),
    ],
)
def test_parse_finds_the_commands_in_order(text: str, names: list[str]) -> None:
    assert [command.name for command in parse(text)] == names


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("plain", "plain"),
        ("  blanks around \t ", "blanks around"),
        ("a # is text", "a # is text"),
        ("it's", "it's"),
        ('a "b" c', 'a "b" c'),
        ('"quoted "', "quoted "),
        ('""', ""),
        ('""""""', ""),
        ('"""""""', '"'),
        ('"""a "b" c"""', 'a "b" c'),
        ('"""a\nb\r\nc"""', "a\nb\r\nc"),
        ('"a\nb"', "a\nb"),
        ('"""a"\n"b"""', 'a"\n"b'),
        ('""""\n"""', '"\n'),
        ('"a" b\nc"', 'a" b\nc'),
        ('"""a"""  \t', "a"),
        ("first\nLICENSE x", "first"),
        ("\n", ""),
        ("no\u00a0break\u200d\u00ad\x00", "nobreak"),
        ('"""in\u200d\n\u00a0side"""', "in\nside"),
        ("a\tb", "a\tb"),
        ("\ufffd 你好👋", "\ufffd 你好👋"),
    ],
)
def test_parse_reads_a_value(value: str, text: str) -> None:
    assert system_of(value) == text


def test_parse_keeps_role_and_text_of_a_message() -> None:
    commands = parse('FROM m\nMESSAGE user "hi: you"\nMESSAGE assistant ')
    assert [command.args for command in commands[1:]] == ["user: hi: you", "assistant: "]


@pytest.mark.parametrize(
    ("text", "message", "line"),
    [
        ("", "no FROM line", 0),
        ("SYSTEM x", "no FROM line", 0),
        ("FROM", "unexpected EOF", 1),
        ("FROM m\nSYSTEM", "unexpected EOF", 2),
        ('FROM m\nSYSTEM "a\nb', "unexpected EOF", 3),
        ('FROM m\nSYSTEM """a"', "unexpected EOF", 2),
        ('FROM m\nSYSTEM """""', "unexpected EOF", 2),
        ('FROM m\nSYSTEM "', "unexpected EOF", 2),
        ("FROM m\nPARAMETER stop", "unexpected EOF", 2),
        ("FROM m\nPARAMETER stop\n", "unexpected EOF: stop", 3),
        ("FROM m\nPARAMETER a-b 1", "unexpected EOF: a", 2),
        ("FROM m\nMESSAGE user\n", "unexpected EOF: user", 3),
        ("FROM m\nMESSAGE tool x", f"(line 2): {ROLES}", 2),
        ("FROM m\nMESSAGE User x", f"(line 2): {ROLES}", 2),
        ("FROM\n", f"(line 2): {COMMANDS}", 2),
        ("FROM m\r\nFROM2 x", f"(line 3): {COMMANDS}", 3),
        ("FROM m\nBADCOMMAND x", f"(line 2): {COMMANDS}", 2),
        ("FROM m\n1 x", f"(line 2): {COMMANDS}", 2),
        ('FROM m\n"', "unexpected EOF", 2),
        ("FR\u200dOM m", f"(line 1): {COMMANDS}", 1),
    ],
)
def test_parse_says_what_is_wrong_and_where(text: str, message: str, line: int) -> None:
    with pytest.raises(InvalidModelfile) as caught:
        parse(text)
    assert (str(caught.value), caught.value.line) == (message, line)


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"FROM m", "FROM m"),
        (b"\xef\xbb\xbfFROM m", "FROM m"),
        ("\ufeffFROM é".encode("utf-16-le"), "FROM é"),
        ("\ufeffFROM é".encode("utf-16-be"), "FROM é"),
        (b"FROM \xff", "FROM \ufffd"),
        (b"\xff\xfeF\x00\x00\xd8", "F\ufffd"),
    ],
)
def test_decode_text_follows_the_byte_order_mark(data: bytes, text: str) -> None:
    assert decode_text(data) == text


@pytest.mark.parametrize(
    ("name", "args", "line"),
    [
        ("model", " m ", "FROM  m "),
        ("system", "", "SYSTEM "),
        ("system", "a b", "SYSTEM a b"),
        ("system", " a", 'SYSTEM " a"'),
        ("system", "a ", 'SYSTEM "a "'),
        ("system", "a\tb\t", 'SYSTEM "a\tb\t"'),
        ("license", "a\nb", 'LICENSE "a\nb"'),
        ("license", 'a\n"b"', 'LICENSE """a\n"b""""'),
        ("template", '"a', 'TEMPLATE """"a"""'),
        ("template", "a\rb", 'TEMPLATE "a\rb"'),
        ("message", "user: a: b", "MESSAGE user a: b"),
        ("message", "user: a\nb", 'MESSAGE user "a\nb"'),
        ("stop", " x", 'PARAMETER stop " x"'),
    ],
)
def test_print_commands_quotes_what_needs_it(name: str, args: str, line: str) -> None:
    assert print_commands([Command(name=name, args=args)]) == f"{line}\n"


texts = st.text(alphabet=st.sampled_from('ab "\n\r\t#:\u200d<é'))


@given(st.lists(st.tuples(st.sampled_from(["SYSTEM", "LICENSE", "PARAMETER stop"]), texts)))
def test_parse_reads_back_what_it_printed(lines: list[tuple[str, str]]) -> None:
    text = "FROM m\n" + "".join(f"{name} {value}\n" for name, value in lines)
    try:
        commands = parse(text)
    except InvalidModelfile:
        return
    # Three quotation marks, or one at the end, inside a value that needs quotes cannot be said.
    if any('"' in command.args for command in commands):
        commands = tuple(command for command in commands if '"' not in command.args)
    assert parse(print_commands(commands)) == commands


@given(st.text())
def test_parse_gives_commands_or_an_error_with_its_line(text: str) -> None:
    try:
        commands = parse(f"FROM m\n{text}")
    except InvalidModelfile as error:
        line = error.line
    else:
        line = 0
        assert commands[0].name == "model"
    assert 0 <= line <= 2 + text.count("\n") + text.count("\r")


def test_parse_takes_a_long_license_in_linear_time() -> None:
    text = 'FROM m\nLICENSE """' + "all rights \u00a0 reserved\n" * 100_000 + '"""'
    started = time.perf_counter()
    assert len(parse(text)[1].args) > 2_000_000
    assert time.perf_counter() - started < 5
