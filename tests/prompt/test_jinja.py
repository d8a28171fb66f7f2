"""Chat templates of model files: what they find, and what they may not do."""

import re
from pathlib import Path
from typing import Any

import pytest

from ollama_jupyter.errors import InvalidTemplate
from ollama_jupyter.prompt.jinja import render_jinja

FIXTURES = Path(__file__).parents[2] / ".." / "shared" / "contract" / "fixtures" / "jinja"
MESSAGES = [{"role": "user", "content": "Hi"}]


def _render(template: str, **values: Any) -> str:  # noqa: ANN401 - values of a template
    return render_jinja(template, {"messages": MESSAGES, "tools": None} | values)


def test_render_gives_the_text() -> None:
    template = "{% for m in messages %}<|{{ m.role }}|>{{ m['content'] }}{% endfor %}"

    assert _render(template) == "<|user|>Hi"


def test_blocks_leave_no_white_space_behind() -> None:
    assert _render("a\n    {% if true %}\nb\n    {% endif %}\nc") == "a\nb\nc"


def test_loops_know_break_and_continue() -> None:
    template = (
        "{% for i in range(9) %}{% if i == 1 %}{% continue %}{% endif %}"
        "{% if i == 4 %}{% break %}{% endif %}{{ i }}{% endfor %}"
    )

    assert _render(template) == "023"


def test_namespaces_macros_and_filters_work() -> None:
    template = (
        "{% set ns = namespace(n=0) %}{% macro twice(x) %}{{ x }}{{ x }}{% endmacro %}"
        "{% for m in messages %}{% set ns.n = ns.n + 1 %}{% endfor %}"
        "{{ ns.n }}{{ twice('a') | upper | trim }}"
    )

    assert _render(template) == "1AA"


def test_tojson_leaves_characters_as_they_are() -> None:
    assert _render("{{ v | tojson }}", v={"b": "\u00e9<&", "a": 1}) == '{"b": "\u00e9<&", "a": 1}'
    assert _render("{{ v | tojson(indent=2) }}", v=[1]) == "[\n  1\n]"


def test_undefined_values_are_empty() -> None:
    assert _render("[{{ nothing }}]{% if nothing is defined %}x{% endif %}") == "[]"


def test_strftime_now_gives_todays_date() -> None:
    assert re.fullmatch(r"\d{4}", _render("{{ strftime_now('%Y') }}"))


def test_generation_marks_are_left_out() -> None:
    assert _render("a{% generation %}b{{ 1 }}{% endgeneration %}c") == "ab1c"


def test_raise_exception_is_the_templates_own_refusal() -> None:
    with pytest.raises(InvalidTemplate, match="roles must alternate"):
        _render("{{ raise_exception('roles must alternate') }}")


def test_syntax_error_names_its_line() -> None:
    with pytest.raises(InvalidTemplate) as caught:
        _render("one\n{% if %}")
    assert caught.value.line == 2


@pytest.mark.parametrize(
    "template",
    [
        "{{ messages.no.such }}",
        "{{ 1 / 0 }}",
        "{{ 'a' + 1 }}",
        "{{ messages | no_such_filter }}",
        "{% include 'x' %}",
        "{% import 'x' as y %}",
        "{% extends 'x' %}",
        "{{ [1][5].x }}",
    ],
)
def test_failing_template_is_an_invalid_template(template: str) -> None:
    with pytest.raises(InvalidTemplate):
        _render(template)


@pytest.mark.parametrize(
    "payload",
    [
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ messages.__class__ }}{{ messages.__class__.__base__ }}",
        "{{ cycler.__init__.__globals__.os.popen('id').read() }}",
        "{{ lipsum.__globals__['os'].system('id') }}",
        "{{ self._TemplateReference__context }}",
        "{{ raise_exception.__globals__ }}",
        "{{ strftime_now.__globals__ }}",
        "{{ range.__globals__ }}",
        "{{ (messages|attr('__class__')) }}",
        "{{ '{0.__class__}'.format(messages) }}",
        "{{ '%c' % 'x' }}{{ ''['__class__'] }}",
        "{{ joiner.__init__.__builtins__ }}",
        "{{ namespace.__init__.__globals__ }}",
    ],
)
def test_payload_reaches_nothing(payload: str) -> None:
    try:
        text = _render(payload)
    except InvalidTemplate:
        return
    assert not re.search(r"uid=|<class|<module|function|builtins|subclasses", text)


@pytest.mark.parametrize("change", ["messages.append(1)", "messages[0].update(a=1)"])
def test_template_cannot_change_its_values(change: str) -> None:
    messages = [{"role": "user"}]
    with pytest.raises(InvalidTemplate):
        _render("{{ " + change + " }}", messages=messages)
    assert messages == [{"role": "user"}]


@pytest.mark.parametrize(
    "bomb",
    [
        "{% for i in range(100000000) %}x{% endfor %}",
        "{{ 'x' * 1000000000 }}",
        "{{ 1000000000 * 'x' }}",
        "{{ [0] * 1000000000 }}",
        "{{ 9 ** 99999999 }}",
        "{{ '%99999999d' % 1 }}",
        "{{ '%*d' % (99999999, 1) }}",
        "{% for i in range(9999) %}{{ 'x' * 1000 }}{% endfor %}",
        "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
    ],
)
def test_bomb_is_refused(bomb: str) -> None:
    with pytest.raises(InvalidTemplate):
        _render(bomb)


def test_powers_and_products_of_ordinary_size_work() -> None:
    assert _render("{{ 2 ** 10 }} {{ '-' * 5 }} {{ '%03d' % 7 }}") == "1024 ----- 007"


@pytest.mark.parametrize(
    "path", sorted(FIXTURES.glob("*.jinja*")) or [None], ids=lambda p: p.name if p else "absent"
)
def test_templates_of_real_models_render(path: Path | None) -> None:
    if path is None:
        pytest.skip("the contract's fixtures are not beside the project")
    values = {"bos_token": "<s>", "eos_token": "</s>", "add_generation_prompt": True}

    text = render_jinja(path.read_text("utf-8"), {"messages": MESSAGES, "tools": None} | values)

    assert "Hi" in text
