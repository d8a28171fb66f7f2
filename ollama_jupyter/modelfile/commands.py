"""Commands of a Modelfile to what a create request needs.

Whatever names a file is only resolved here; hashing and sending it is the client's work. A FROM
that names nothing on disk is a model's name.
"""

import os
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from ollama_jupyter.api.options import DEPRECATED_PARAMETERS, format_params
from ollama_jupyter.api.types import JSON, CreateRequest, Message
from ollama_jupyter.errors import BadRequest, InvalidModelfile
from ollama_jupyter.modelfile.parser import INSTRUCTIONS, Command

# What golang.org/x/mod/semver takes: short forms without a suffix, no leading zeros.
_NUMBER: Final = r"(?:0|[1-9][0-9]*)"
_PRERELEASE: Final = rf"(?:{_NUMBER}|[0-9]*[A-Za-z-][0-9A-Za-z-]*)"
_SEMVER: Final = re.compile(
    rf"{_NUMBER}(?:\.{_NUMBER}(?:\.{_NUMBER}"
    rf"(?:-{_PRERELEASE}(?:\.{_PRERELEASE})*)?(?:\+[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*)?)?)?"
)


def home_of(user: str) -> str | None:
    """The home folder of a user of this machine, "" being the current one; None for a stranger."""
    home = os.path.expanduser(f"~{user}")  # noqa: PTH111  (Path's raises for a stranger)
    return None if home.startswith("~") else home


def expand_path(path: str, folder: str, *, find_home: Callable[[str], str | None] = home_of) -> str:
    """The absolute path that a Modelfile in `folder` ("": the working folder) means by `path`.

    Raises:
        BadRequest: it begins with `~user` and there is no such user.
    """
    if path.startswith("~"):
        user, _, rest = path[1:].partition("/")
        home = find_home(user)
        if home is None:
            raise BadRequest(f"failed to find user '{user}'; write the path without ~")
        path = f"{home}/{rest}"
    # Lexically, as Go does: a link is not followed before `..` goes up.
    return os.path.abspath(os.path.join(folder, path))  # noqa: PTH100, PTH118


@dataclass(frozen=True, slots=True, kw_only=True)
class CreatePlan:
    """What a Modelfile asks for.

    Attributes:
        from_: the model it builds on; "" when it names only files.
        files: weights and projectors, absolute; a folder stands for the weights in it.
        adapters: LoRA files, absolute.
        license: in file order.
        warnings: what was left out and why, one line each.
    """

    from_: str = ""
    files: tuple[Path, ...] = ()
    adapters: tuple[Path, ...] = ()
    template: str = ""
    system: str = ""
    license: tuple[str, ...] = ()
    parameters: dict[str, JSON] = field(default_factory=dict)
    messages: tuple[Message, ...] = ()
    requires: str = ""
    warnings: tuple[str, ...] = ()

    def request(
        self, model: str, *, files: dict[str, str] | None, adapters: dict[str, str] | None
    ) -> CreateRequest:
        """The request that makes `model`, given the digests of the files by their names."""
        return CreateRequest(
            model=model,
            from_=self.from_,
            files=files or None,
            adapters=adapters or None,
            template=self.template,
            license=list(self.license) or None,
            system=self.system,
            parameters=self.parameters or None,
            messages=self.messages,
            requires=self.requires,
        )


def plan_create(
    commands: Iterable[Command],
    folder: str,
    *,
    exists: Callable[[str], bool] = os.path.exists,
    find_home: Callable[[str], str | None] = home_of,
) -> CreatePlan:
    """What the commands of a Modelfile in `folder` ask for.

    Raises:
        BadRequest: a parameter is unknown or ill typed, an adapter is missing, REQUIRES is no
            version.
    """
    builder = _Builder(folder, exists, find_home)
    for command in commands:
        builder.add(command)
    return builder.plan()


class _Builder:
    """Collects commands; each `_<name>` takes the value of one."""

    def __init__(
        self,
        folder: str,
        exists: Callable[[str], bool],
        find_home: Callable[[str], str | None],
    ) -> None:
        self._folder = folder
        self._exists = exists
        self._find_home = find_home
        self._from = ""
        self._files: list[Path] = []
        self._adapters: list[Path] = []
        self._texts: dict[str, str] = {}
        self._licenses: list[str] = []
        self._parameters: dict[str, JSON] = {}
        self._messages: list[Message] = []
        self._warnings: list[str] = []

    def plan(self) -> CreatePlan:
        return CreatePlan(
            from_=self._from,
            files=tuple(self._files),
            adapters=tuple(self._adapters),
            template=self._texts.get("template", ""),
            system=self._texts.get("system", ""),
            license=tuple(self._licenses),
            parameters=self._parameters,
            messages=tuple(self._messages),
            requires=self._texts.get("requires", ""),
            warnings=tuple(self._warnings),
        )

    def add(self, command: Command) -> None:
        value = command.args
        match command.name:
            case "model":
                self._model(value)
            case "adapter":
                self._adapters.append(self._existing(value))
            case "license":
                self._licenses.append(value)
            case "message":
                role, _, text = value.partition(": ")
                self._messages.append(Message(role=role, content=text))
            case "requires":
                self._texts["requires"] = _version(value)
            case "template" | "system":
                self._texts[command.name] = value
            case name if name in INSTRUCTIONS:  # draft, renderer, parser
                self._warnings.append(f"{name.upper()} is not supported and left out")
            case name:
                self._parameter(name, value)

    def _model(self, value: str) -> None:
        path = expand_path(value, self._folder, find_home=self._find_home)
        if self._exists(path):
            self._files.append(Path(path))
        else:
            self._from = value

    def _existing(self, value: str) -> Path:
        path = expand_path(value, self._folder, find_home=self._find_home)
        if not self._exists(path):
            raise InvalidModelfile(f"stat {path}: no such file or directory")
        return Path(path)

    def _parameter(self, name: str, value: str) -> None:
        if name in DEPRECATED_PARAMETERS:
            self._warnings.append(f"parameter {name} is deprecated")
            return
        typed = format_params({name: [value]})[name]
        if isinstance(typed, list):
            self._parameters.setdefault(name, []).extend(typed)
        else:
            self._parameters[name] = typed


def _version(text: str) -> str:
    version = text.removeprefix("v")
    if not _SEMVER.fullmatch(version):
        raise InvalidModelfile("requires must be a valid semver (e.g. 0.14.0)")
    return version
