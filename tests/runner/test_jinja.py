"""Templates rendered in a process that can be killed."""

import asyncio
from collections.abc import AsyncIterator

import psutil
import pytest

from ollama_jupyter.errors import InvalidTemplate
from ollama_jupyter.runner import jinja
from ollama_jupyter.runner.jinja import TemplateRenderer
from ollama_jupyter.runner.wire import TemplateRequest

HI = TemplateRequest(messages=[{"role": "user", "content": "Hi"}])
# Within every limit on size, so that only the clock can stop it.
ENDLESS = "{% for a in range(9999) %}{% for b in range(9999) %}{% endfor %}{% endfor %}"
GROWING = (
    "{% set ns = namespace(x='xxxxxxxxxxxxxxxx') %}"
    "{% for i in range(40) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}{{ ns.x | length }}"
)


@pytest.fixture
async def renderer() -> AsyncIterator[TemplateRenderer]:
    renderer = TemplateRenderer()
    yield renderer
    await renderer.close()


async def _render(renderer: TemplateRenderer, template: str, request: TemplateRequest = HI) -> str:
    return await renderer.render(template, request, bos="<s>", eos="</s>")


async def test_template_sees_messages_tokens_and_flags(renderer: TemplateRenderer) -> None:
    template = (
        "{{ bos_token }}{{ messages[0].content }}{{ eos_token }}{{ add_generation_prompt }}"
        "{{ tools is none }}{{ enable_thinking is defined }}"
    )

    assert await _render(renderer, template) == "<s>Hi</s>TrueTrueFalse"


async def test_thinking_is_passed_on_when_it_is_chosen(renderer: TemplateRenderer) -> None:
    request = TemplateRequest(messages=[], enable_thinking=False, tools=[{"name": "f"}])

    text = await _render(renderer, "{{ enable_thinking }} {{ tools[0].name }}", request)

    assert text == "False f"


async def test_failing_template_leaves_the_process_for_the_next(renderer: TemplateRenderer) -> None:
    with pytest.raises(InvalidTemplate, match="no"):
        await _render(renderer, "{{ raise_exception('no') }}")
    first = _children()

    assert await _render(renderer, "fine") == "fine"
    assert _children() == first


def _children() -> set[int]:
    return {child.pid for child in psutil.Process().children()}


async def test_endless_template_is_killed(
    renderer: TemplateRenderer, monkeypatch: pytest.MonkeyPatch
) -> None:
    others = _children()
    await _render(renderer, "warm")
    before = _children() - others
    assert before
    monkeypatch.setattr(jinja, "DEADLINE_SECONDS", 0.2)

    with pytest.raises(InvalidTemplate, match=r"more than 0\.2 seconds"):
        await _render(renderer, ENDLESS)

    assert not before & _children()
    monkeypatch.undo()
    assert await _render(renderer, "again") == "again"


async def test_growing_template_is_stopped_by_its_memory_limit(renderer: TemplateRenderer) -> None:
    with pytest.raises(InvalidTemplate):
        await _render(renderer, GROWING)

    assert await _render(renderer, "again") == "again"


async def test_reader_that_leaves_takes_the_template_along(renderer: TemplateRenderer) -> None:
    await _render(renderer, "warm")
    task = asyncio.create_task(_render(renderer, ENDLESS))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert await _render(renderer, "again") == "again"


async def test_templates_wait_for_each_other(renderer: TemplateRenderer) -> None:
    texts = await asyncio.gather(*(_render(renderer, f"{index}") for index in range(5)))

    assert texts == ["0", "1", "2", "3", "4"]


async def test_close_without_a_process_does_nothing() -> None:
    await TemplateRenderer().close()
