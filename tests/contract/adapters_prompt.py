"""Templates, prompts, and the parsing of thinking and tool calls, for the shared cases."""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from ollama_jupyter.api.types import Message, Think, Tool, ToolFunction
from ollama_jupyter.inference.output import tools
from ollama_jupyter.inference.output.thinking import ThinkingParser
from ollama_jupyter.prompt.gotemplate import Template
from ollama_jupyter.prompt.render import collate, render_chat, render_generate
from ollama_jupyter.prompt.tags import call_tag, infer_tags
from ollama_jupyter.prompt.truncate import Prompt, chat_prompt


def native_messages(given: Mapping[str, Any]) -> list[Message]:
    """Messages whose images are plain texts standing for the bytes."""
    messages = []
    for message in given.get("messages") or ():
        images = [image.encode() for image in message.get("images") or ()]
        rest = {name: value for name, value in message.items() if name != "images"}
        plain = msgspec.convert(rest, Message)
        messages.append(msgspec.structs.replace(plain, images=tuple(images)))
    return messages


# --- template -------------------------------------------------------------------------------


def _vars(given: Mapping[str, Any]) -> dict[str, Any]:
    return {"vars": sorted(Template.parse(given["template"]).identifiers)}


def _render(given: Mapping[str, Any]) -> dict[str, Any]:
    template = Template.parse(given["template"])
    messages = native_messages(given)
    think: Think | None = given.get("think")
    if offered := given.get("tools"):
        prompt = render_chat(
            template, messages, tools=msgspec.convert(offered, list[Tool]), think=think
        )
    else:
        prompt = render_generate(
            template,
            messages,
            prompt=given.get("prompt", ""),
            suffix=given.get("suffix", ""),
            think=think,
        )
    return {"prompt": prompt}


def _collate(given: Mapping[str, Any]) -> dict[str, Any]:
    conversation = collate(native_messages(given))
    messages = [
        {name: value for name, value in msgspec.to_builtins(message).items() if value}
        for message in conversation.messages
    ]
    return {"messages": messages, "system": conversation.system}


# --- chat-prompt ----------------------------------------------------------------------------


def _build(given: Mapping[str, Any]) -> tuple[Prompt, int]:
    """The prompt, and how often the tokenizer was asked."""
    template = Template.parse(given["template"])
    building = chat_prompt(
        lambda messages: render_chat(template, messages),
        native_messages(given),
        num_ctx=given["num_ctx"],
        truncate=given.get("truncate", True),
        has_projector=given.get("has_projector", False),
    )
    calls = 0
    try:
        text = next(building)
        while True:
            calls += 1
            text = building.send(len(text.split()))
    except StopIteration as stop:
        prompt: Prompt = stop.value
        return prompt, calls


def _truncate(given: Mapping[str, Any]) -> dict[str, Any]:
    prompt, _ = _build(given)
    return {"prompt": prompt.text, "images": [image.decode() for image in prompt.images]}


# --- thinking -------------------------------------------------------------------------------


def _thinking(given: Mapping[str, Any]) -> dict[str, Any]:
    parser = ThinkingParser(given["open"], given["close"])
    steps = [parser.feed(chunk) for chunk in given["chunks"]]
    return {"steps": [{"thinking": thinking, "content": content} for thinking, content in steps]}


def _tags(given: Mapping[str, Any]) -> dict[str, Any]:
    opening, closing = infer_tags(Template.parse(given["template"]))
    return {"open": opening, "close": closing}


# --- tools ----------------------------------------------------------------------------------


def _tools(given: Mapping[str, Any]) -> dict[str, Any]:
    offered = [Tool(function=ToolFunction(name=name)) for name in given["tools"]]
    parser = tools.ToolParser(Template.parse(given["template"]), offered)
    content, calls = "", []
    for chunk in given["chunks"]:
        more, new = parser.feed(chunk)
        content += more
        calls += [msgspec.to_builtins(call.function) for call in new]
    return {"content": content, "tool_calls": calls}


def _find_tag(given: Mapping[str, Any]) -> dict[str, Any]:
    at, is_found = tools.find_tag(given["tag"], given["buffer"])
    return {"index": len(given["buffer"][:at].encode()) if at > 0 else at, "found": is_found}


def _find_arguments(given: Mapping[str, Any]) -> dict[str, Any]:
    return {"arguments": tools.find_arguments(given["tool"], given["buffer"])[0]}


ADAPTERS: dict[tuple[str, str], Callable[[Any], Any]] = {
    ("template", "vars"): _vars,
    ("template", "parse-error"): _vars,
    ("template", "messages"): _render,
    ("template", "legacy"): _render,
    ("template", "suffix"): _render,
    ("template", "collate"): _collate,
    ("chat-prompt", "truncate"): _truncate,
    ("chat-prompt", "tokenize-calls"): lambda given: {"max_tokenize_calls": _build(given)[1]},
    ("thinking", "stream"): _thinking,
    ("thinking", "infer-tags"): _tags,
    ("tools", "stream"): _tools,
    ("tools", "parse-tag"): lambda given: {"tag": call_tag(Template.parse(given["template"]))},
    ("tools", "find-tag"): _find_tag,
    ("tools", "find-arguments"): _find_arguments,
    ("tools", "done"): lambda given: {"done": tools.is_balanced(given["tag"], given["buffer"])},
    ("tools", "leftover"): lambda given: {
        "content": tools.leftover(given["tag"], given["buffer"], given["calls_so_far"])
    },
}
