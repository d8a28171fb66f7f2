"""Adapters for the suites about names, texts, settings and types: no model, no server."""

import base64
import json
import os
from collections.abc import Callable

from ollama_jupyter.api.decode import decode
from ollama_jupyter.api.json_text import decode_json
from ollama_jupyter.api.native import encode, to_json
from ollama_jupyter.api.options import Options, format_params, merge
from ollama_jupyter.api.types import JSON, ChatRequest, GenerateRequest, Message, ToolProperty
from ollama_jupyter.config import Config, Host, bool_setting, strip_setting, uint_setting
from ollama_jupyter.errors import BadRequest, InvalidName
from ollama_jupyter.modelfile.commands import expand_path, plan_create
from ollama_jupyter.modelfile.parser import Command, decode_text, parse, print_commands
from ollama_jupyter.names import BareName, ModelName, ModelRef, has_explicit_tag, is_valid_part
from ollama_jupyter.names import split_source as cut_source
from ollama_jupyter.prompt.gotemplate import Template
from ollama_jupyter.prompt.render import render_chat
from ollama_jupyter.quantities import (
    human_bytes,
    human_bytes_binary,
    human_number,
    human_time,
    keep_alive_from_json,
    keep_alive_to_json,
)

# --- names ----------------------------------------------------------------------------------


def _parse_name(text: str) -> JSON:
    bare = BareName.parse(text)
    filled = bare.with_defaults()
    parts = ("scheme", "host", "namespace", "model", "tag")
    return {
        "bare": {part: getattr(bare, part) for part in parts},
        "filepath_with_defaults": "/".join(
            (filled.host, filled.namespace, filled.model, filled.tag)
        ),
    }


def _from_filepath(path: str) -> JSON:
    parts = path.split("/")
    if len(parts) != 4:
        return None
    try:
        name = ModelName.from_path_parts(*parts)
    except InvalidName:
        return None
    return dict(zip(("host", "namespace", "model", "tag"), name.path_parts(), strict=True))


def _parse_ref(text: str) -> JSON:
    ref = ModelRef.parse(text)
    return {
        "wantBase": ref.base,
        "wantSource": ref.source,
        "wantCloud": ref.source == "cloud",
        "wantLocal": ref.source == "local",
        "wantStripped": ref.without_cloud(),
        "wantStripOK": ref.source == "cloud",
    }


def _split_source(text: str) -> JSON:
    base, source = cut_source(text)
    return {"wantBase": base, "wantSource": source, "wantExplicit": source != ""}


def _pull_name(text: str) -> JSON:
    ref = ModelRef.parse(text)
    return {"wantName": ref.stored_name(), "wantCloud": ref.source == "cloud"}


def _validate(text: str) -> JSON:
    ref = ModelRef.parse(text)
    try:
        name = ref.model_name()
    except InvalidName as error:
        raise BadRequest("; ".join([str(error), *error.__notes__])) from error
    return {"base": ref.base, "source": ref.source, "full": name.full()}


# --- Modelfile ------------------------------------------------------------------------------


def _commands(commands: tuple[Command, ...]) -> JSON:
    return [{"name": command.name, "args": command.args} for command in commands]


def _parse_modelfile(text: str) -> JSON:
    commands = parse(text)
    return {"commands": _commands(commands), "printed": print_commands(commands)}


def _parse_modelfile_bytes(given: JSON) -> JSON:
    return {"commands": _commands(parse(decode_text(base64.b64decode(given["base64"]))))}


def _round_trip(text: str) -> JSON:
    commands = parse(text)
    return {"round_trip_stable": parse(print_commands(commands)) == commands}


def _create_request(text: str) -> JSON:
    plan = plan_create(parse(text), "", exists=lambda path: False)
    return to_json(plan.request("", files=None, adapters=None))


def _expand_path(given: JSON) -> JSON:
    folder = given["relative_dir"].replace("$PWD", os.getcwd())  # noqa: PTH109
    path = expand_path(given["path"], folder, find_home=given["home"].get)
    here = os.getcwd()  # noqa: PTH109
    return {"path": "$PWD" + path.removeprefix(here) if path.startswith(here) else path}


# --- settings and quantities ----------------------------------------------------------------


def _duration_setting(given: JSON) -> JSON:
    config = Config.from_environment({given["env"]: given["value"]})
    is_keep_alive = given["env"] == "OLLAMA_KEEP_ALIVE"
    return {"ns": config.keep_alive_ns if is_keep_alive else config.load_timeout_ns}


def _keep_alive_json(text: str) -> JSON:
    request = decode(ChatRequest, text.encode())
    return {"keep_alive_ns": keep_alive_from_json(request.keep_alive)}


def _host(given: JSON) -> Host:
    return Config.from_environment({given["env"]: given["value"]}).host


def _human_time(given: JSON) -> str:
    if given.get("zero"):
        return human_time(None, zero_text=given["zero_value"])
    ahead = given["seconds_ahead"] if "seconds_ahead" in given else -given["seconds_ago"]
    return human_time(ahead, zero_text=given.get("zero_value", ""))


# --- types ----------------------------------------------------------------------------------


def _options_json(text: str) -> JSON:
    options = merge({}, decode_json(text.encode()))
    return {"use_mmap": options.use_mmap, "main_gpu": options.main_gpu}


def _changed_options(given: JSON) -> JSON:
    options, defaults = merge({}, given), Options()
    changed = {
        name: getattr(options, name)
        for name in Options.__dataclass_fields__
        if getattr(options, name) != getattr(defaults, name)
    }
    return {"changed": changed}


def _property_type(value: JSON) -> JSON:
    """The type as a decoded tool property holds it; an empty list stays one."""
    return to_json(decode(ToolProperty, json.dumps({"type": value}).encode()))["type"]


def _typescript_type(given: JSON) -> JSON:
    """The type as a template prints it, of a tool with this one property."""
    properties = {"type": "object", "properties": {"p": given}}
    tool = {"type": "function", "function": {"name": "f", "parameters": properties}}
    request = decode(ChatRequest, json.dumps({"tools": [tool]}).encode())
    template = Template.parse(
        "{{ range .Tools }}{{ range .Function.Parameters.Properties }}{{ toTypeScriptType . }}"
        "{{ end }}{{ end }}{{ .Messages }}"
    )
    prompt = render_chat(template, [], tools=list(request.tools), think=None)
    return {"type": prompt.removesuffix("[]")}


def _num_ctx(given: JSON) -> JSON:
    environment = {"OLLAMA_CONTEXT_LENGTH": given["env_OLLAMA_CONTEXT_LENGTH"]}
    sources = [{"num_ctx": given[source]} if given[source] else {} for source in _SOURCES]
    chosen = merge(*sources).num_ctx
    default = Config.from_environment(environment).context_length or given["vram_default"]
    return {"num_ctx": chosen or default}


_SOURCES = ("model", "request")

ADAPTERS: dict[tuple[str, str], Callable[[JSON], JSON]] = {
    ("model-name", "parse"): _parse_name,
    ("model-name", "validity-bare"): lambda text: {
        "valid_without_defaults": BareName.parse(text).is_fully_qualified
    },
    ("model-name", "part-validity"): lambda given: {
        "valid": is_valid_part(given["kind"], given["s"])
    },
    ("model-name", "from-filepath"): _from_filepath,
    ("model-name", "display-shortest"): lambda text: {"display": ModelName.parse(text).display()},
    ("model-name", "string-with-defaults"): lambda text: {"string": ModelName.parse(text).full()},
    ("model-ref", "ParseRef"): _parse_ref,
    ("model-ref", "ParseSourceSuffix"): _split_source,
    ("model-ref", "NormalizePullName"): _pull_name,
    ("model-ref", "HasExplicitTag"): lambda text: {"want": has_explicit_tag(text)},
    ("model-ref", "validate"): _validate,
    ("modelfile", "parse"): _parse_modelfile,
    ("modelfile", "parse-bytes"): _parse_modelfile_bytes,
    ("modelfile", "round-trip"): _round_trip,
    ("modelfile", "create-request"): _create_request,
    ("modelfile", "expand-path"): _expand_path,
    ("durations", "keep-alive-json"): _keep_alive_json,
    ("durations", "json-round-trip"): lambda given: {
        "ns": keep_alive_from_json(keep_alive_to_json(given["ns"]))
    },
    ("durations", "marshal"): lambda given: {"json": json.dumps(keep_alive_to_json(given["ns"]))},
    ("durations", "env"): _duration_setting,
    ("env", "host"): lambda given: {"url": _host(given).url},
    ("env", "connectable-host"): lambda given: {"url": _host(given).connectable.url},
    ("env", "origins"): lambda given: {
        "origins": Config.from_environment({given["env"]: given["value"]}).origins
    },
    ("env", "bool-default-false"): lambda given: {
        "bool": bool_setting(strip_setting(given["value"])) or False
    },
    ("env", "uint"): lambda given: {
        "uint": uint_setting(strip_setting(given["value"]), given["default"])
    },
    ("env", "var"): lambda given: {"string": strip_setting(given["value"])},
    ("env", "log-level"): lambda given: {
        "level": Config.from_environment({"OLLAMA_DEBUG": given["value"]}).log_level
    },
    ("format", "human-bytes"): human_bytes,
    ("format", "human-bytes-2"): human_bytes_binary,
    ("format", "human-number"): human_number,
    ("format", "human-time"): _human_time,
    ("api-types", "options-json"): _options_json,
    ("api-types", "options-error"): lambda given: {"options": merge({}, given)},
    ("api-types", "options-json2"): _changed_options,
    ("api-types", "format-params"): format_params,
    ("api-types", "message-json"): lambda text: {"role": decode(Message, text.encode()).role},
    ("api-types", "think-json"): lambda text: {
        "think": decode(GenerateRequest, text.encode()).think
    },
    ("api-types", "property-type-json"): lambda text: {"value": _property_type(json.loads(text))},
    ("api-types", "property-type-marshal"): lambda value: {
        "value": encode(_property_type(value)).decode()
    },
    ("api-types", "typescript-type"): _typescript_type,
    ("model-options", "num-ctx"): _num_ctx,
}
