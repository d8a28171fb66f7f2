"""Names of models and of their content: the only place that knows how either is spelled.

A `ModelName` is always complete and legal, so its four parts may be joined into a path or a URL
without another check; a text that does not make one raises `InvalidName`. A `Digest` likewise.
What a caller typed, with parts missing or a source suffix on it, is a `BareName` or a `ModelRef`,
and neither of those can name anything on disk.

    [scheme://][host/][namespace/]model[:tag][:local|:cloud]
     BareName ───────────────────────────────┘ └─ ModelRef
"""

import re
from dataclasses import dataclass, field
from typing import Final, Literal, Self

from ollama_jupyter.errors import BadRequest, InvalidDigest, InvalidName

DEFAULT_SCHEME: Final = "https"
DEFAULT_HOST: Final = "registry.ollama.ai"
DEFAULT_NAMESPACE: Final = "library"
DEFAULT_TAG: Final = "latest"

Source = Literal["", "local", "cloud"]
PartKind = Literal["host", "namespace", "model", "tag"]

# A separator with nothing on one side yields this: a part that no rule lets through.
_IMPOSSIBLE: Final = "!MISSING!"

_PART_PATTERNS: Final[dict[PartKind, re.Pattern[str]]] = {
    "host": re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:-]{0,349}"),
    "namespace": re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,79}"),
    "model": re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,79}"),
    "tag": re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,79}"),
}
_SCHEME: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*")
_DIGEST: Final = re.compile(r"sha256[:-]([0-9a-fA-F]{64})")


def is_valid_part(kind: PartKind, text: str) -> bool:
    """Whether `text` may stand as that part of a name."""
    return _PART_PATTERNS[kind].fullmatch(text) is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class BareName:
    """The parts a text spells out, unchecked and without defaults; "" for one that is missing."""

    scheme: str = ""
    host: str = ""
    namespace: str = ""
    model: str = ""
    tag: str = ""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Cut a text into parts from its right end; never raises."""
        tag = namespace = host = scheme = ""
        rest = text
        if has_explicit_tag(rest):
            rest, tag = _cut_last(rest, ":")
        if "/" not in rest:
            return cls(model=rest, tag=tag)
        rest, model = _cut_last(rest, "/")
        if "/" in rest:
            host, namespace = _cut_last(rest, "/")
        else:
            namespace = rest
        if "://" in host:
            scheme, _, host = host.partition("://")
            scheme, host = scheme or _IMPOSSIBLE, host or _IMPOSSIBLE
        return cls(scheme=scheme, host=host, namespace=namespace, model=model, tag=tag)

    @property
    def is_fully_qualified(self) -> bool:
        """Whether all four parts are present and legal."""
        return (
            is_valid_part("host", self.host)
            and is_valid_part("namespace", self.namespace)
            and is_valid_part("model", self.model)
            and is_valid_part("tag", self.tag)
            and (not self.scheme or _SCHEME.fullmatch(self.scheme) is not None)
        )

    def with_defaults(self) -> "BareName":
        """The same name with every missing part but the model filled in."""
        return BareName(
            scheme=self.scheme or DEFAULT_SCHEME,
            host=self.host or DEFAULT_HOST,
            namespace=self.namespace or DEFAULT_NAMESPACE,
            model=self.model,
            tag=self.tag or DEFAULT_TAG,
        )


def _cut_last(text: str, separator: str) -> tuple[str, str]:
    before, _, after = text.rpartition(separator)
    return before or _IMPOSSIBLE, after or _IMPOSSIBLE


def has_explicit_tag(text: str) -> bool:
    """Whether a text carries a tag: its last colon stands after its last slash (else a port)."""
    return text.rfind(":") > text.rfind("/")


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelName:
    """A complete, legal name. Two names are equal when their four parts are; not the scheme."""

    host: str = DEFAULT_HOST
    namespace: str = DEFAULT_NAMESPACE
    model: str
    tag: str = DEFAULT_TAG
    scheme: str = field(default=DEFAULT_SCHEME, compare=False)

    def __post_init__(self) -> None:
        """Refuse parts that no store could hold, however the name was put together."""
        bare = BareName(
            scheme=self.scheme,
            host=self.host,
            namespace=self.namespace,
            model=self.model,
            tag=self.tag,
        )
        if not bare.is_fully_qualified:
            error = InvalidName("invalid model name")
            # The first line is what clients compare; the value goes beside it.
            error.add_note(f"unqualified name: {'/'.join(self.path_parts())!r}")
            raise error

    @classmethod
    def parse(cls, text: str) -> Self:
        """The name a text spells, defaults filled in. Blanks are not trimmed.

        Raises:
            InvalidName: some part is missing its text, too long, or has an illegal character.
        """
        bare = BareName.parse(text).with_defaults()
        return cls(
            scheme=bare.scheme,
            host=bare.host,
            namespace=bare.namespace,
            model=bare.model,
            tag=bare.tag,
        )

    @classmethod
    def from_path_parts(cls, host: str, namespace: str, model: str, tag: str) -> Self:
        """The name of the manifest that lies at these four path parts.

        Raises:
            InvalidName: they are no legal name.
        """
        return cls(host=host, namespace=namespace, model=model, tag=tag)

    def path_parts(self) -> tuple[str, str, str, str]:
        """Host, namespace, model and tag, as folders of the store and of a registry's URLs."""
        return self.host, self.namespace, self.model, self.tag

    def full(self) -> str:
        """`host/namespace/model:tag`."""
        return f"{self.host}/{self.namespace}/{self.model}:{self.tag}"

    def display(self) -> str:
        """The name as users see it: default host and namespace dropped, tag always shown."""
        short = f"{self.model}:{self.tag}"
        if self.host.lower() != DEFAULT_HOST:
            return f"{self.host}/{self.namespace}/{short}"
        if self.namespace.lower() != DEFAULT_NAMESPACE:
            return f"{self.namespace}/{short}"
        return short

    def folded(self) -> tuple[str, str, str, str]:
        """The key under which names that differ only in case are the same."""
        return (
            self.host.lower(),
            self.namespace.lower(),
            self.model.lower(),
            self.tag.lower(),
        )

    def __str__(self) -> str:
        return self.display()


def split_source(text: str) -> tuple[str, Source]:
    """A text without its source suffix, and the source; "" when it has none.

    The suffix is `:local` or `:cloud` in any case, or `-cloud` at the end of a tag.
    """
    before, colon, after = text.rpartition(":")
    suffix = after.strip().lower()
    if not colon:
        return text, ""
    if suffix == "local":
        return before, "local"
    if suffix == "cloud":
        return before, "cloud"
    if suffix.endswith("-cloud") and "/" not in after:
        return text.rstrip()[: -len("-cloud")], "cloud"
    return text, ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRef:
    """What a request calls a model: a name that may say where the model is to come from.

    Attributes:
        text: the reference as sent, trimmed.
        base: the same without a source suffix.
        source: "local", "cloud", or "" when the reference does not say.
    """

    text: str
    base: str
    source: Source

    @classmethod
    def parse(cls, text: str) -> Self:
        """Split a reference; the name in it is checked by `model_name`.

        Raises:
            BadRequest: it is empty, or carries two suffixes.
        """
        trimmed = text.strip()
        if not trimmed:
            raise BadRequest("model is required")
        base, source = split_source(trimmed)
        if source and split_source(base)[1]:
            raise BadRequest(f'use either :local or :cloud, not both: "{trimmed}"')
        return cls(text=trimmed, base=base, source=source)

    def model_name(self) -> ModelName:
        """The name referred to.

        Raises:
            InvalidName: the reference holds no legal name.
        """
        return ModelName.parse(self.base)

    def without_cloud(self) -> str:
        """The reference with only a cloud suffix removed."""
        return self.base if self.source == "cloud" else self.text

    def stored_name(self) -> str:
        """The name to pull or delete: a cloud source becomes part of the tag, `:local` goes."""
        if self.source != "cloud":
            return self.base
        return self.base + ("-cloud" if has_explicit_tag(self.base) else ":cloud")


@dataclass(frozen=True, slots=True)
class Digest:
    """The sha256 of a blob, in lower case."""

    hex: str

    def __post_init__(self) -> None:
        """Refuse what could be anything but the name of one blob."""
        if not re.fullmatch(r"[0-9a-f]{64}", self.hex):
            raise InvalidDigest("invalid digest format")

    @classmethod
    def parse(cls, text: str) -> Self:
        """The digest in `sha256:<hex>` or `sha256-<hex>`; hex digits of either case.

        Raises:
            InvalidDigest: the text is neither.
        """
        match = _DIGEST.fullmatch(text)
        if match is None:
            raise InvalidDigest("invalid digest format")
        return cls(match[1].lower())

    @property
    def file_name(self) -> str:
        """The blob's file name in a store."""
        return f"sha256-{self.hex}"

    @property
    def short(self) -> str:
        """The first 12 hex digits, as users see a model's id."""
        return self.hex[:12]

    def __str__(self) -> str:
        return f"sha256:{self.hex}"
