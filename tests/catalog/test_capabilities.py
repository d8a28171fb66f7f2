from collections.abc import Mapping
from typing import Any

import msgspec
import pytest

from ollama_jupyter.catalog.capabilities import (
    Parts,
    capabilities,
    check_capabilities,
    prefers_chat_template,
    uses_chat_template,
)
from ollama_jupyter.catalog.config import ModelConfig
from ollama_jupyter.errors import UnsupportedCapability
from ollama_jupyter.gguf.metadata import Metadata
from ollama_jupyter.gguf.reader import Header
from ollama_jupyter.prompt.gotemplate import Template

TOOLS_GO = "{{ if .Tools }}{{ .Tools }}{{ end }}{{ .Prompt }}"
ROUND_TRIP_GO = (
    '{{ .Tools }}{{ range .Messages }}{{ if eq .Role "tool" }}{{ end }}{{ .ToolCalls }}{{ end }}'
)
TOOLS_JINJA = "{% if tools %}{{ tools }}{% endif %}"
ROUND_TRIP_JINJA = (
    TOOLS_JINJA + "{{ message.tool_calls }}{% if message.role == 'tool' %}{% endif %}"
)
THINK_JINJA = TOOLS_JINJA + "<think></think>"


def metadata(**kv: object) -> Metadata:
    return Metadata(Header(version=3, kv=_typed(kv), tensors=(), data_offset=0, file_size=0))


def _typed(kv: Mapping[str, Any]) -> Mapping[str, Any]:
    return {key.replace("__", "."): value for key, value in kv.items()}


def parts(
    go: str | None = None,
    jinja: str | None = None,
    *,
    setting: bool | None = None,
    config: ModelConfig | None = None,
    **kv: object,
) -> Parts:
    if jinja is not None:
        kv["tokenizer__chat_template"] = jinja
    return Parts(
        config=config or ModelConfig(),
        weights=metadata(**{"general__architecture": "llama", **kv}),
        template=None if go is None else Template.parse(go),
        go_template=setting,
    )


@pytest.mark.parametrize(
    ("given", "uses_chat"),
    [
        (parts(), False),
        (parts(go="{{ .Prompt }}"), False),
        (parts(jinja="x"), True),
        (parts("{{ .Prompt }}", "x"), False),
        (parts("{{ .Prompt }}", TOOLS_JINJA), True),
        # More capabilities don't count when only the Go template brings results back.
        (parts(ROUND_TRIP_GO, THINK_JINJA), False),
        (parts(ROUND_TRIP_GO, ROUND_TRIP_JINJA + "<think></think>"), True),
        # With the same ones the round trip decides.
        (parts(TOOLS_GO, TOOLS_JINJA), False),
        (parts(TOOLS_GO, ROUND_TRIP_JINJA), True),
        (parts(ROUND_TRIP_GO, ROUND_TRIP_JINJA), False),
        # The setting overrules, as far as there is something to choose.
        (parts("{{ .Prompt }}", TOOLS_JINJA, setting=True), False),
        (parts("{{ .Prompt }}", "x", setting=False), True),
        (parts(jinja="x", setting=True), True),
        (parts(go="{{ .Prompt }}", setting=False), False),
        # The built-in renderers reproduce the Jinja templates.
        (parts("{{ .Prompt }}", "x", config=ModelConfig(renderer="qwen3-coder")), True),
        (
            parts(
                "<|start|>{{ .Prompt }}<|end|>",
                TOOLS_JINJA,
                config=ModelConfig(model_family="gptoss"),
            ),
            False,
        ),
    ],
)
def test_choice_between_templates(given: Parts, uses_chat: bool) -> None:
    assert uses_chat_template(given) is uses_chat


def test_no_preference_is_computed_when_the_setting_decides() -> None:
    assert prefers_chat_template(parts("{{ .Prompt }}", TOOLS_JINJA))
    assert not prefers_chat_template(parts("{{ .Prompt }}", TOOLS_JINJA, setting=False))


@pytest.mark.parametrize(
    "mark",
    ["tool_response", "tool_results", "role'] == 'tool'", "role\"] == 'tool'", "ipython"],
)
def test_every_spelling_of_a_tool_result_makes_a_round_trip(mark: str) -> None:
    assert uses_chat_template(parts(TOOLS_GO, TOOLS_JINJA + "tool_calls" + mark))


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (parts(), ["completion"]),
        (parts(TOOLS_GO), ["completion", "tools"]),
        (parts("{{ .Suffix }}{{ .Tools }}"), ["completion", "tools", "insert"]),
        (parts("{{ .Suffix }}", setting=False), ["completion"]),
        (parts(jinja=THINK_JINJA), ["tools", "thinking", "completion"]),
        (
            parts("{{ range .Messages }}<t>{{ .Thinking }}</t>{{ end }}"),
            ["completion", "thinking"],
        ),
        (parts(llama__pooling_type=1), ["embedding"]),
        (
            parts(llama__vision__block_count=1, llama__audio__block_count=1),
            ["completion", "vision", "audio"],
        ),
        (parts(config=ModelConfig(parser="qwen3-thinking")), ["completion", "tools", "thinking"]),
        (parts(config=ModelConfig(parser="nonsense")), ["completion"]),
        (parts(config=ModelConfig(model_family="gpt-oss")), ["completion", "thinking"]),
        (
            parts(config=ModelConfig(capabilities=("vision", "completion"))),
            ["vision", "completion"],
        ),
    ],
)
def test_capabilities_are_collected_in_order_and_once(given: Parts, expected: list[str]) -> None:
    assert list(capabilities(given)) == expected


@pytest.mark.parametrize(
    ("jinja", "thinks"),
    [
        ("<think></think>", True),
        ("<think>", False),
        ("{{ content.split('</think>') }}", True),
        ('{{ content.split("</think>") }}', True),
        ("{{ content.split('</think>') }}{{ reasoning_content }}", False),
        ("{{ content.split('</think>') }}<SPECIAL_12>", False),
    ],
)
def test_jinja_template_that_handles_thoughts_means_thinking(jinja: str, thinks: bool) -> None:
    assert ("thinking" in capabilities(parts(jinja=jinja))) is thinks


def test_projector_brings_vision_and_its_audio_encoder_audio() -> None:
    with_audio = metadata(general__architecture="clip", clip__has_audio_encoder=True)
    without = metadata(general__architecture="clip", clip__has_audio_encoder=False)
    nano = metadata(general__architecture="gemma3nv", clip__has_audio_encoder=True)

    def of(projector: Metadata) -> tuple[str, ...]:
        weights = metadata(general__architecture="llama")
        return capabilities(Parts(config=ModelConfig(), weights=weights, projectors=(projector,)))

    assert of(with_audio) == ("completion", "vision", "audio")
    assert of(without) == of(nano) == ("completion", "vision")


@pytest.mark.parametrize(
    ("config", "left"),
    [
        (ModelConfig(model_families=("x", "nemotron_h_omni")), ("vision",)),
        (ModelConfig(model_format="safetensors", renderer="glimmer"), ("vision",)),
        (ModelConfig(model_format="safetensors", parser="nemotron-3-nano"), ("tools", "thinking")),
        (ModelConfig(model_format="safetensors", model_family="nemotron_h_omni"), ()),
        (ModelConfig(model_format="gguf", renderer="gemma4"), ("vision", "audio")),
    ],
)
def test_some_families_lose_what_they_claim(config: ModelConfig, left: tuple[str, ...]) -> None:
    claimed = msgspec.structs.replace(config, capabilities=("vision", "audio"))
    assert capabilities(Parts(config=claimed, weights=None)) == left


def test_check_names_everything_that_is_missing() -> None:
    check_capabilities("host/ns/m:t", ["completion"], ["completion"])
    with pytest.raises(UnsupportedCapability) as caught:
        check_capabilities("host/ns/m:t", ["completion"], ["tools", "completion", "telepathy"])
    assert str(caught.value) == (
        "host/ns/m:t does not support tools\nunknown capability: telepathy"
    )
