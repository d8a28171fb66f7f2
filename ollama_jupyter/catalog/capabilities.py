"""What a model can do and which of its two templates it uses, decided from its parts alone.

Nothing is read here. Two decisions hang together: the template in use tells about tools and
thinking, and which one is in use depends on what each could tell.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from ollama_jupyter.catalog.config import ModelConfig
from ollama_jupyter.errors import UnsupportedCapability
from ollama_jupyter.gguf.metadata import Metadata
from ollama_jupyter.prompt.gotemplate import Template
from ollama_jupyter.prompt.tags import infer_tags

NAMES: Final = (
    "completion",
    "tools",
    "insert",
    "vision",
    "embedding",
    "thinking",
    "image",
    "audio",
)

_BOTH: Final = frozenset({"tools", "thinking"})
_TOOLS: Final = frozenset({"tools"})
_THINKING: Final = frozenset({"thinking"})

# What each built-in parser of the reference understands.
_PARSERS: Final = {
    "qwen3": _TOOLS,
    "qwen3-thinking": _BOTH,
    "qwen3.5": _BOTH,
    "ornith": _BOTH,
    "qwen3-coder": _TOOLS,
    "qwen3-vl-instruct": _TOOLS,
    "qwen3-vl-thinking": _BOTH,
    "ministral": _BOTH,
    "harmony": _BOTH,
    "cogito": _BOTH,
    "deepseek3": _BOTH,
    "olmo3": _TOOLS,
    "olmo3-think": _THINKING,
    "nemotron-3-nano": _BOTH,
    "nemotron-3.5-nano": _BOTH,
    "functiongemma": _TOOLS,
    "glm-4.7": _BOTH,
    "glm-ocr": _TOOLS,
    "gemma4": _BOTH,
    "gemma4-no-thinking": _TOOLS,
    "lfm2": _TOOLS,
    "lfm2-thinking": _BOTH,
    "laguna": _BOTH,
    "poolside-v1": _BOTH,
    "cohere": _BOTH,
    "glimmer": _BOTH,
}
_HARMONY_FAMILIES: Final = frozenset({"gptoss", "gpt-oss"})
_GEMMA_RENDERERS: Final = frozenset({"gemma4", "gemma4-small", "gemma4-large"})
_OMNI: Final = "nemotron_h_omni"
_NANO: Final = "nemotron-3-nano"

_TOOL_RESULTS: Final = (
    "tool_response",
    "tool_results",
    "message.role == 'tool'",
    'message.role == "tool"',
    "role'] == 'tool'",
    'role\'] == "tool"',
    "role\"] == 'tool'",
    'role"] == "tool"',
    "ipython",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What the decisions are made from.

    Attributes:
        config: the config layer.
        weights: header of the GGUF; None when the model has none.
        projectors: headers of the projector layers.
        template: the Go template layer, parsed; None when there is none or it does not parse.
        go_template: OLLAMA_GO_TEMPLATE: always or never the Go template; None when it is unset.
    """

    config: ModelConfig
    weights: Metadata | None
    projectors: tuple[Metadata, ...] = ()
    template: Template | None = None
    go_template: bool | None = None

    @property
    def chat_template(self) -> str:
        """The GGUF's Jinja template; "" when there is none."""
        return (self.weights.chat_template or "") if self.weights else ""

    @property
    def is_harmony(self) -> bool:
        """Whether the model speaks gpt-oss's message format."""
        text = self.template.source if self.template else ""
        has_marks = "<|start|>" in text and "<|end|>" in text
        return self.config.model_family in _HARMONY_FAMILIES and has_marks


# --- which template -------------------------------------------------------------------------


def uses_chat_template(parts: Parts) -> bool:
    """Whether prompts come from the GGUF's Jinja template instead of the Go template.

    A model that asks for one of the reference's built-in renderers gets its Jinja template: the
    renderers reproduce what the vendors put there.
    """
    if not parts.chat_template:
        return False
    if parts.go_template is not None:
        return not (parts.go_template and parts.template is not None)
    if parts.template is None or parts.config.renderer:
        return True
    return prefers_chat_template(parts)


def prefers_chat_template(parts: Parts) -> bool:
    """Whether the Jinja template is chosen over a Go template for being the better one."""
    template, chat = parts.template, parts.chat_template
    if parts.go_template is not None or template is None or not chat or parts.is_harmony:
        return False
    of_chat, of_go = chat_template_capabilities(chat), go_template_capabilities(template)
    chat_returns, go_returns = _chat_round_trips(chat), _go_round_trips(template)
    if len(of_chat) > len(of_go):
        return chat_returns or not go_returns
    return of_chat == of_go and "tools" in of_go and chat_returns and not go_returns


def chat_template_capabilities(text: str) -> frozenset[str]:
    """Those of tools and thinking that a Jinja template serves."""
    found = set()
    if "tools" in text or "tool_call" in text:
        found.add("tools")
    has_tags = "<think>" in text and "</think>" in text
    is_split = "content.split('</think>')" in text or 'content.split("</think>")' in text
    is_kept = "reasoning_content" in text or "<SPECIAL_12>" in text
    if has_tags or (is_split and not is_kept):
        found.add("thinking")
    return frozenset(found)


def go_template_capabilities(template: Template) -> frozenset[str]:
    """Those of tools, insert and thinking that a Go template serves."""
    found = {
        capability
        for variable, capability in (("tools", "tools"), ("suffix", "insert"))
        if variable in template.identifiers
    }
    if all(infer_tags(template)):
        found.add("thinking")
    return frozenset(found)


def _chat_round_trips(text: str) -> bool:
    """Whether calls and their results both find a place in the prompt."""
    has_calls = "tool_calls" in text or "assistant_tool_call" in text
    has_tools = "tools" in chat_template_capabilities(text)
    return has_tools and has_calls and any(mark in text for mark in _TOOL_RESULTS)


def _go_round_trips(template: Template) -> bool:
    marks = ('eq .Role "tool"', "tool_response", "TOOL_RESULTS")
    has_variables = {"tools", "toolcalls"} <= template.identifiers
    return has_variables and any(mark in template.source for mark in marks)


# --- capabilities ---------------------------------------------------------------------------


def capabilities(parts: Parts) -> tuple[str, ...]:
    """What the model can do, in the order the reference collects it."""
    found = [
        *parts.config.capabilities,
        *_of_weights(parts),
        *_of_projectors(parts.projectors),
        *_of_go_template(parts),
        *sorted(_PARSERS.get(parts.config.parser, ()), reverse=True),
    ]
    if parts.config.model_family in _HARMONY_FAMILIES:
        found.append("thinking")
    suppressed = _suppressed(parts)
    return tuple(name for name in dict.fromkeys(found) if name not in suppressed)


def _of_weights(parts: Parts) -> Iterable[str]:
    weights = parts.weights
    if weights is None:
        return
    if uses_chat_template(parts):
        # Sorted backwards: tools before thinking.
        yield from sorted(chat_template_capabilities(parts.chat_template), reverse=True)
    yield "embedding" if weights.has("pooling_type") else "completion"
    if weights.has("vision.block_count"):
        yield "vision"
    if weights.has("audio.block_count"):
        yield "audio"


def _of_projectors(projectors: tuple[Metadata, ...]) -> Iterable[str]:
    for projector in projectors:
        yield "vision"
        if projector.architecture != "gemma3nv" and any(
            key.endswith("has_audio_encoder") and value is True
            for key, value in projector.header.kv.items()
        ):
            yield "audio"


def _of_go_template(parts: Parts) -> Iterable[str]:
    if parts.template is None or parts.go_template is False or uses_chat_template(parts):
        return
    found = go_template_capabilities(parts.template)
    yield from (name for name in ("tools", "insert", "thinking") if name in found)


def _suppressed(parts: Parts) -> frozenset[str]:
    config = parts.config
    families = {config.model_family, *(config.model_families or ())}
    if parts.weights is not None:
        families.add(parts.weights.architecture)
    found = set()
    if _OMNI in families:
        found.add("audio")
    if config.model_format == "safetensors":
        is_nano = _NANO in (config.parser, config.renderer) or _OMNI in families
        if is_nano or config.renderer in _GEMMA_RENDERERS:
            found |= {"vision", "audio"}
        if config.renderer == "glimmer":
            found.add("audio")
    return frozenset(found)


def check_capabilities(full_name: str, has: Iterable[str], wanted: Iterable[str]) -> None:
    """Refuse when something wanted is not among what a model has.

    Raises:
        UnsupportedCapability: one line for each that is missing.
    """
    present = frozenset(has)
    missing = [
        f"{full_name} does not support {name}" if name in NAMES else f"unknown capability: {name}"
        for name in wanted
        if name not in present
    ]
    if missing:
        raise UnsupportedCapability("\n".join(missing))
