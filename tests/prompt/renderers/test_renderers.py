import pytest

from ollama_jupyter.prompt.renderers import renderer_named
from tests.prompt.renderers.conversation import says

NAMES = (
    "cogito",
    "deepseek3.1",
    "functiongemma",
    "glm-4.7",
    "qwen3-coder",
    "qwen3-vl-instruct",
    "qwen3-vl-thinking",
)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("think", [None, True, False, "high"])
@pytest.mark.parametrize("image_tags", [True, False])
def test_renderer_named_writes_what_the_user_said(
    name: str, think: bool | str | None, image_tags: bool
) -> None:
    render = renderer_named(name)
    assert render is not None
    assert render([says("user", "Who?")], [], think, image_tags).count("Who?") == 1


@pytest.mark.parametrize("name", NAMES)
def test_renderer_named_stands_an_empty_conversation(name: str) -> None:
    render = renderer_named(name)
    assert render is not None
    assert "None" not in render([], [], None, True)


@pytest.mark.parametrize("name", ["", "qwen", "Cogito", "gemma4"])
def test_renderer_named_knows_no_other(name: str) -> None:
    assert renderer_named(name) is None
