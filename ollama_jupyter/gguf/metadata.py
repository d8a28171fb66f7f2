"""What a model's header says about the model: the questions the rest of the package asks.

Keys begin with the architecture's name (`llama.block_count`), and any of them may be missing or
of another type than expected; `check` says which of those a model can't run with.
"""

from typing import Any, Final

from ollama_jupyter.errors import InvalidModelFile
from ollama_jupyter.gguf.reader import ArrayValue, Header
from ollama_jupyter.gguf.types import CACHE_ELEMENT_BYTES, FILE_TYPES

# Architectures that only embed and read their whole input at once.
_ENCODERS: Final = frozenset(
    {
        "bert",
        "modern-bert",
        "neo-bert",
        "nomic-bert",
        "nomic-bert-moe",
        "jina-bert-v2",
        "jina-bert-v3",
        "eurobert",
        "gemma-embedding",
        "t5encoder",
    }
)
_UNSHOWN: Final = frozenset({"general.name", "tokenizer.chat_template"})
_LIMIT_LAYERS: Final = 4096


class Metadata:
    """Answers about one header; nothing is read from the file but what `model_info` asks for."""

    def __init__(self, header: Header) -> None:
        self.header = header

    # --- plain values ---------------------------------------------------------------------

    @property
    def architecture(self) -> str:
        """The architecture's name; "" when the file doesn't say."""
        return self.text("general.architecture")

    @property
    def kind(self) -> str:
        """`general.type`: model, adapter, projector, mmproj; "" when the file doesn't say."""
        return self.text("general.type")

    @property
    def file_type(self) -> str:
        """The quantization of most tensors, such as "Q4_1"; "unknown" when unknown."""
        number = self.integer("general.file_type")
        return "unknown" if number is None else FILE_TYPES.get(number, "unknown")

    @property
    def context_length(self) -> int:
        """Tokens the model was trained for; 0 when the file doesn't say."""
        return self.of_architecture("context_length") or 0

    @property
    def embedding_length(self) -> int:
        """Size of a hidden state; 0 when the file doesn't say."""
        return self.of_architecture("embedding_length") or 0

    @property
    def block_count(self) -> int:
        """Number of layers; 0 when the file doesn't say."""
        return self.of_architecture("block_count") or 0

    @property
    def head_count(self) -> int:
        """Attention heads, of the layer that has most; 0 when the file doesn't say."""
        return max(self._per_layer("attention.head_count", default=0), default=0)

    @property
    def head_count_kv(self) -> int:
        """Key and value heads, of the layer that has most."""
        heads = self._per_layer("attention.head_count_kv", default=self.head_count)
        return max(heads, default=0)

    @property
    def vocab_size(self) -> int:
        """Number of tokens."""
        tokens = self.header.kv.get("tokenizer.ggml.tokens")
        if isinstance(tokens, ArrayValue):
            return tokens.count
        return self.of_architecture("vocab_size") or 0

    @property
    def chat_template(self) -> str | None:
        """The file's own Jinja chat template; None when it has none."""
        return self.text("tokenizer.chat_template") or None

    @property
    def pooling_type(self) -> int | None:
        """How token vectors become one (llama.cpp's numbers); None when the file doesn't say."""
        return self.of_architecture("pooling_type")

    @property
    def is_encoder(self) -> bool:
        """Whether the model can only embed."""
        is_causal = self.header.kv.get(f"{self.architecture}.attention.causal")
        return self.pooling_type is not None or self.architecture in _ENCODERS or is_causal is False

    @property
    def parameter_count(self) -> int:
        """Elements of all tensors."""
        return sum(tensor.elements for tensor in self.header.tensors)

    @property
    def weights_bytes(self) -> int:
        """Bytes of all tensors."""
        return sum(tensor.size_bytes for tensor in self.header.tensors)

    @property
    def split_count(self) -> int:
        """Files the model is split into; 0 or 1 when it is whole."""
        return self.integer("split.count") or 0

    # --- memory ---------------------------------------------------------------------------

    def kv_cache_bytes(self, num_ctx: int, cache_type: str) -> int:
        """An estimate, rather too high, of the KV cache's bytes for `num_ctx` cells in all.

        Layers with a sliding window are counted in full, recurrent ones not at all.

        Args:
            num_ctx: cells of the context: tokens of one slot times slots.
            cache_type: f16, q8_0, …; "" means f16, and so does one we don't know.
        """
        heads = self.head_count or 1
        head_size = self.embedding_length // heads
        key_length = self.of_architecture("attention.key_length") or head_size
        value_length = self.of_architecture("attention.value_length") or head_size
        kv_heads = sum(self._per_layer("attention.head_count_kv", default=heads))
        element_bytes = CACHE_ELEMENT_BYTES.get(cache_type, 2.0)
        return int(num_ctx * kv_heads * (key_length + value_length) * element_bytes)

    # --- what show prints -----------------------------------------------------------------

    def model_info(self, *, verbose: bool) -> dict[str, Any]:
        """All keys with their values, sorted, as show prints them.

        Args:
            verbose: whether arrays are given in full; else a non-empty one is None.

        Raises:
            InvalidModelFile: verbose, and the file has changed or gone.
        """
        info = {
            key: _shown(value, verbose=verbose)
            for key, value in self.header.kv.items()
            if key not in _UNSHOWN
        }
        info["general.parameter_count"] = self.parameter_count
        return dict(sorted(info.items()))

    # --- access ---------------------------------------------------------------------------

    def text(self, key: str) -> str:
        """A text; "" when the key is missing or no text."""
        value = self.header.kv.get(key)
        return value if isinstance(value, str) else ""

    def integer(self, key: str) -> int | None:
        """An integer; None when the key is missing or no integer."""
        value = self.header.kv.get(key)
        return value if isinstance(value, int) and not isinstance(value, bool) else None

    def of_architecture(self, key: str) -> int | None:
        """The integer at a key of the model's architecture; None when there is none."""
        return self.integer(f"{self.architecture}.{key}")

    def has(self, key: str) -> bool:
        """Whether a key of the model's architecture is present, whatever its value."""
        return f"{self.architecture}.{key}" in self.header.kv

    def _per_layer(self, key: str, *, default: int) -> list[int]:
        """One integer a layer, from a single number or an array."""
        layers = min(self.block_count, _LIMIT_LAYERS)
        value = self.header.kv.get(f"{self.architecture}.{key}")
        if isinstance(value, ArrayValue) and value.kept is not None:
            return [int(number) for number in value.kept]
        number = self.of_architecture(key)
        return [default if number is None else number] * layers


def _shown(value: object, *, verbose: bool) -> object:
    if not isinstance(value, ArrayValue):
        return value
    if value.count == 0:
        return []
    return value.values() if verbose else None


# --- what a model can't run with ------------------------------------------------------------


def check_runnable(metadata: Metadata) -> None:
    """Refuse a model whose header would crash or hang what loads it.

    Raises:
        InvalidModelFile: a key that must be there is missing, zero or of the wrong type.
    """
    if not metadata.architecture:
        raise InvalidModelFile("the file names no architecture, so it is no model")
    if not metadata.header.tensors:
        raise InvalidModelFile("the file has no tensors")
    for key in ("block_count", "context_length", "embedding_length"):
        _check_positive(metadata, key)
    if not 0 < metadata.block_count <= _LIMIT_LAYERS:
        raise InvalidModelFile(f"the model has {metadata.block_count} layers")
    _check_heads(metadata, "attention.head_count")
    _check_heads(metadata, "attention.head_count_kv")
    _check_tokenizer(metadata)


def _check_positive(metadata: Metadata, key: str) -> None:
    name = f"{metadata.architecture}.{key}"
    if not metadata.has(key):
        return
    number = metadata.integer(name)
    if number is None or not 0 < number < 2**31:
        raise InvalidModelFile(f"{name} is not a number between 1 and 2**31")


def _check_heads(metadata: Metadata, key: str) -> None:
    """A number, or an array of one number a layer; recurrent layers have none, hence the zero."""
    name = f"{metadata.architecture}.{key}"
    value = metadata.header.kv.get(name)
    if value is None:
        return
    if isinstance(value, ArrayValue):
        numbers = value.kept or ()
        if value.type not in ("u32", "i32") or len(numbers) < metadata.block_count:
            raise InvalidModelFile(f"{name} has not one number for each layer")
    else:
        numbers = (value,) if isinstance(value, int) and not isinstance(value, bool) else (-1,)
    has_some = any(numbers) or _is_recurrent(metadata)
    if not has_some or any(not 0 <= number < 2**16 for number in numbers):
        raise InvalidModelFile(f"{name} is no possible number of heads")


def _is_recurrent(metadata: Metadata) -> bool:
    """Whether a model may do without attention: it has settings of a state space or of RWKV."""
    prefixes = (f"{metadata.architecture}.ssm.", f"{metadata.architecture}.wkv.")
    return any(key.startswith(prefixes) for key in metadata.header.kv)


def _check_tokenizer(metadata: Metadata) -> None:
    tokens = _check_array(metadata, "tokenizer.ggml.tokens", "string")
    if tokens is None:
        return
    for key, kinds in (
        ("tokenizer.ggml.scores", ("f32",)),
        ("tokenizer.ggml.token_type", ("i32", "u32")),
    ):
        array = _check_array(metadata, key, *kinds)
        if array is not None and array.count < tokens.count:
            raise InvalidModelFile(f"{key} has {array.count} entries for {tokens.count} tokens")
    _check_array(metadata, "tokenizer.ggml.merges", "string")


def _check_array(metadata: Metadata, key: str, *kinds: str) -> ArrayValue | None:
    value = metadata.header.kv.get(key)
    if value is None:
        return None
    if not isinstance(value, ArrayValue) or value.type not in kinds:
        raise InvalidModelFile(f"{key} is no array of {' or '.join(kinds)}")
    return value
