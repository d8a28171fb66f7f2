"""Stand-ins for the rooms below inference: catalog, scheduler and runner, all following orders."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

from ollama_jupyter.api.model_types import ListedModel
from ollama_jupyter.api.options import RunnerOptions
from ollama_jupyter.api.types import JSON, Message
from ollama_jupyter.catalog.capabilities import check_capabilities
from ollama_jupyter.catalog.catalog import Catalog
from ollama_jupyter.catalog.config import ModelConfig
from ollama_jupyter.catalog.model import Model
from ollama_jupyter.config import Config
from ollama_jupyter.errors import NotFound, OllamaError
from ollama_jupyter.gguf.metadata import Metadata
from ollama_jupyter.gguf.reader import Header
from ollama_jupyter.inference.rooms import Clock, Rooms
from ollama_jupyter.names import Digest, ModelName
from ollama_jupyter.runner import wire
from ollama_jupyter.runner.client import RunnerClient
from ollama_jupyter.scheduler.scheduler import Lease, LoadedRunner, Scheduler
from ollama_jupyter.store.manifests import CONFIG, Layer, Manifest, StoredManifest

TEMPLATE = "{{ range .Messages }}<{{ .Role }}>{{ .Content }}{{ end }}<assistant>"
THINKING_TEMPLATE = (
    "{{ range .Messages }}{{ if .Thinking }}<think>{{ .Thinking }}</think>{{ end }}"
    "<{{ .Role }}>{{ .Content }}{{ end }}<assistant>"
)
TOOL_TEMPLATE = (
    "{{ range .Messages }}{{ if .ToolCalls }}<tool_call>{{ range .ToolCalls }}"
    '{"name": "{{ .Function.Name }}"}{{ end }}</tool_call>{{ end }}{{ .Content }}{{ end }}'
    "{{ .Tools }}<assistant>"
)
TIMINGS = wire.Timings(
    queue_ns=1,
    prompt_tokens=12,
    prompt_cached_tokens=5,
    prompt_ns=300,
    generated_tokens=3,
    generate_ns=600,
)


def fake_model(
    name: str = "test",
    *,
    template: str = TEMPLATE,
    chat_template: str = "",
    system: str = "",
    messages: tuple[Message, ...] = (),
    parameters: dict[str, JSON] | None = None,
    capabilities: tuple[str, ...] = ("completion",),
    family: str = "llama",
    kv: dict[str, int | str] | None = None,
) -> Model:
    """A model without files; one with a `chat_template` uses that."""
    model_name = ModelName.parse(name)
    config = Layer(media_type=CONFIG, digest=Digest("c" * 64), size=3)
    header = Header(
        version=3,
        kv={"general.architecture": "llama", **(kv or {})},
        tensors=(),
        data_offset=0,
        file_size=0,
    )
    return Model(
        name=model_name,
        manifest=StoredManifest(
            name=model_name,
            manifest=Manifest(config=config, layers=()),
            raw=b"{}",
            digest=Digest("d" * 64),
            modified_ns=0,
        ),
        weights=Digest("e" * 64),
        weights_path=Path("/nowhere"),
        adapters=(),
        projectors=(),
        config=ModelConfig(model_format="gguf", model_family=family),
        template=template,
        chat_template=chat_template,
        uses_chat_template=bool(chat_template),
        system=system,
        parameters=parameters or {},
        messages=messages,
        licenses=(),
        metadata=Metadata(header),
        projector_metadata=(),
        capabilities=capabilities,
    )


def words(*texts: str, stop_reason: str = "stop", truncated: int = 0) -> list[wire.CompletionChunk]:
    """The chunks of an answer: a token for each text, and the end."""
    chunks = [wire.CompletionChunk(text=text, tokens=(n,)) for n, text in enumerate(texts, 100)]
    last = wire.CompletionChunk(
        done=True, stop_reason=stop_reason, timings=TIMINGS, truncated_tokens=truncated
    )
    return [*chunks, last]


@dataclass(slots=True)
class FakeRunner:
    """Answers by script, and remembers what it was asked.

    Attributes:
        answers: chunks of each completion, the last one again and again.
        fails_with: raised after the chunks instead of ending.
        gate: an answer waits for it after its first chunk.
        closed: how many completions were left before their end.
    """

    answers: list[list[wire.CompletionChunk]] = field(default_factory=lambda: [words("Hi", "!")])
    fails_with: OllamaError | None = None
    gate: asyncio.Event | None = None
    vectors: tuple[tuple[float, ...], ...] = ((3.0, 4.0),)
    completions: list[wire.CompletionRequest] = field(default_factory=list)
    embeddings: list[wire.EmbeddingRequest] = field(default_factory=list)
    templates: list[wire.TemplateRequest] = field(default_factory=list)
    tokenized: list[str] = field(default_factory=list)
    closed: int = 0

    async def completion(
        self, request: wire.CompletionRequest
    ) -> AsyncGenerator[wire.CompletionChunk, None]:
        self.completions.append(request)
        chunks = self.answers[min(len(self.completions), len(self.answers)) - 1]
        try:
            for number, chunk in enumerate(chunks):
                if number == 1 and self.gate is not None:
                    await self.gate.wait()
                if chunk.done and self.fails_with is not None:
                    raise self.fails_with
                yield chunk
        except (GeneratorExit, asyncio.CancelledError):
            self.closed += 1
            raise

    async def embedding(self, request: wire.EmbeddingRequest) -> wire.EmbeddingReply:
        self.embeddings.append(request)
        vectors = tuple(self.vectors[n % len(self.vectors)] for n in range(len(request.inputs)))
        return wire.EmbeddingReply(embeddings=vectors, prompt_tokens=2 * len(vectors))

    async def tokenize(self, request: wire.TokenizeRequest) -> wire.TokenizeReply:
        """A token a word."""
        self.tokenized.append(request.text)
        return wire.TokenizeReply(tokens=tuple(range(len(request.text.split()))))

    async def detokenize(self, request: wire.DetokenizeRequest) -> wire.DetokenizeReply:
        return wire.DetokenizeReply(text="".join(f"[{token}]" for token in request.tokens))

    async def apply_template(self, request: wire.TemplateRequest) -> wire.TemplateReply:
        self.templates.append(request)
        text = "|".join(str(message["content"]) for message in request.messages)
        return wire.TemplateReply(prompt=f"jinja:{text}")


@dataclass(slots=True)
class FakeScheduler:
    """Lends one runner to everybody.

    Attributes:
        reports: told to whoever wants progress.
        refuses_with: raised instead of a lease.
        gate: a lease is given once it is set.
        active: leases out now.
        wanted: the arguments of every lease.
    """

    runner: FakeRunner = field(default_factory=FakeRunner)
    num_ctx: int = 4096
    reports: tuple[tuple[str, int, int], ...] = ()
    refuses_with: OllamaError | None = None
    gate: asyncio.Event | None = None
    active: int = 0
    waiting: int = 0
    is_closed: bool = False
    wanted: list[tuple[RunnerOptions, int | None, bool | None]] = field(default_factory=list)
    unloaded: list[str] = field(default_factory=list)
    resident: list[LoadedRunner] = field(default_factory=list)
    on_change: list[Callable[[], None]] = field(default_factory=list)

    @asynccontextmanager
    async def lease(
        self,
        model: Model,
        *,
        options: RunnerOptions,
        keep_alive_ns: int | None = None,
        shift: bool | None = None,
        on_progress: Callable[[str, int, int], None] | None = None,
    ) -> AsyncIterator[Lease]:
        self.wanted.append((options, keep_alive_ns, shift))
        if self.refuses_with is not None:
            raise self.refuses_with
        for report in self.reports:
            if on_progress is not None:
                on_progress(*report)
                await asyncio.sleep(0)
        if self.gate is not None:
            self.waiting += 1
            try:
                await self.gate.wait()
            finally:
                self.waiting -= 1
        self.active += 1
        try:
            yield Lease(
                runner=cast(RunnerClient, self.runner), num_ctx=self.num_ctx, load_ns=1, queue_ns=1
            )
        finally:
            self.active -= 1

    def loaded(self) -> list[LoadedRunner]:
        return self.resident

    async def unload(self, model: Model) -> None:
        self.unloaded.append(model.name.display())

    async def close(self) -> None:
        self.is_closed = True


@dataclass(slots=True)
class FakeCatalog:
    """The models in a dictionary."""

    models: dict[str, Model]

    def resolve(self, text: str) -> Model:
        found = self.models.get(ModelName.parse(text).display())
        if found is None:
            raise NotFound(f"model '{text}' not found")
        return found

    def check(self, model: Model, *wanted: str) -> None:
        check_capabilities(model.name.full(), model.capabilities, wanted)

    def list(self) -> list[ListedModel]:
        return []


@dataclass(slots=True)
class Ticks:
    """A clock that goes on by a microsecond each time it is looked at."""

    ns: int = 1_000_000_000

    def __call__(self) -> int:
        self.ns += 1000
        return self.ns


def fake_rooms(*models: Model, scheduler: FakeScheduler | None = None) -> Rooms:
    """Rooms that know these models."""
    catalog = FakeCatalog({model.name.display(): model for model in models})
    return Rooms(
        catalog=cast(Catalog, catalog),
        scheduler=cast(Scheduler, scheduler or FakeScheduler()),
        config=Config.from_environment({"HOME": "/nonexistent"}),
        clock=Clock(wall_ns=lambda: 0, monotonic_ns=Ticks()),
    )


async def until(condition: Callable[[], object], what: str) -> None:
    """Let the loop run until a condition holds."""
    try:
        async with asyncio.timeout(10):
            while not condition():  # noqa: ASYNC110 (what is waited for sets no event)
                await asyncio.sleep(0.001)
    except TimeoutError:
        raise AssertionError(f"never: {what}") from None
