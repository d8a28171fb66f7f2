"""llama.cpp behind a few small classes: the only file of the package that imports llama_cpp.

`Weights` owns the model and its vocabulary, `Context` owns the KV cache and evaluates a
`TokenBatch`, `SamplerChain` draws a token from the logits. Everything but the vocabulary's pure
look-ups (`tokenize`, `piece`, `is_end`) belongs to the engine's thread and must not be called from
another one.

Pointers never leave this file; token ids, bytes and numpy views do. A view of logits or of an
embedding is valid until the next decode.
"""

import ctypes
import ctypes.util
import sys
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import llama_cpp
import numpy as np
from numpy.typing import NDArray

from ollama_jupyter.errors import RunnerStartFailed
from ollama_jupyter.runner.wire import RunnerSpec

POOLING_NONE = llama_cpp.LLAMA_POOLING_TYPE_NONE
POOLING_LAST = llama_cpp.LLAMA_POOLING_TYPE_LAST
MAX_SEQUENCES = 256  # LLAMA_MAX_SEQ
_LOG_LEVEL_WARN = 3
_LOG_LEVEL_CONTINUE = 5
# It compares the cells of all sequences with the context of one.
_UNIFIED_WARNING = b"possible training context overflow"
_CACHE_TYPES = {"f16": 1, "f32": 0, "bf16": 30, "q8_0": 8, "q4_0": 2, "q4_1": 3, "q5_0": 6}


class _Log:
    """What llama.cpp says: warnings and errors go to standard error, the last errors are kept."""

    def __init__(self) -> None:
        self.errors: deque[str] = deque(maxlen=20)
        self.is_muted = False
        self._level = 0

    def write(self, level: int, text: bytes) -> None:
        """Take a line, or the rest of the line before."""
        if level != _LOG_LEVEL_CONTINUE:
            self._level = level
        if self._level < _LOG_LEVEL_WARN or self.is_muted or _UNIFIED_WARNING in text:
            return
        line = text.decode("utf-8", "replace")
        sys.stderr.write(line)
        if self._level > _LOG_LEVEL_WARN and line.strip():
            self.errors.append(line.strip())


_log = _Log()


@llama_cpp.llama_log_callback  # type: ignore[untyped-decorator]  # llama_cpp ships no types
def _write_log(level: int, text: bytes, _data: ctypes.c_void_p) -> None:
    _log.write(level, text)


llama_cpp.llama_log_set(_write_log, ctypes.c_void_p(0))


def last_errors() -> str:
    """The last lines llama.cpp logged as errors, oldest first, joined by "; "."""
    return "; ".join(_log.errors)


class Weights:
    """A model file, loaded: its tensors, its vocabulary and what its header says.

    Raises:
        RunnerStartFailed: from `load`, when llama.cpp refuses the file.
    """

    def __init__(self, model: Any) -> None:  # noqa: ANN401 - an opaque pointer
        self._model = model
        self._vocab = llama_cpp.llama_model_get_vocab(model)
        self.vocab_size: int = llama_cpp.llama_vocab_n_tokens(self._vocab)
        self.context_length: int = llama_cpp.llama_model_n_ctx_train(model)
        self.embedding_length: int = llama_cpp.llama_model_n_embd_out(model)
        self.size_bytes: int = llama_cpp.llama_model_size(model)
        self.bos: int = llama_cpp.llama_vocab_bos(self._vocab)
        self.eos: int = llama_cpp.llama_vocab_eos(self._vocab)
        self.adds_bos = bool(llama_cpp.llama_vocab_get_add_bos(self._vocab))
        # A recurrent state or a sliding window can neither be cut back nor be shared in part.
        self.is_cuttable = not (
            llama_cpp.llama_model_is_recurrent(model)
            or llama_cpp.llama_model_is_hybrid(model)
            or llama_cpp.llama_model_n_swa(model) > 0
        )
        self.class_count: int = llama_cpp.llama_model_n_cls_out(model)
        self._pieces: dict[int, bytes] = {}
        self.end_tokens = frozenset(
            token
            for token in range(self.vocab_size)
            if llama_cpp.llama_vocab_is_eog(self._vocab, token)
        )

    @classmethod
    def load(cls, spec: RunnerSpec, on_progress: Callable[[float], None]) -> "Weights":
        """Read the file of `spec`; `on_progress` is called with 0.0 to 1.0 meanwhile."""
        llama_cpp.llama_backend_init()
        params = llama_cpp.llama_model_default_params()
        params.n_gpu_layers = spec.num_gpu
        if spec.main_gpu is not None:
            params.split_mode = llama_cpp.LLAMA_SPLIT_MODE_NONE
            params.main_gpu = spec.main_gpu
        if spec.use_mmap is not None:
            params.load_mode = 1 if spec.use_mmap else 0
        params.use_extra_bufts = spec.use_extra_buffers

        @llama_cpp.llama_progress_callback  # type: ignore[untyped-decorator]  # no types there
        def report(fraction: float, _data: ctypes.c_void_p) -> bool:
            on_progress(fraction)
            return True

        params.progress_callback = report
        model = llama_cpp.llama_model_load_from_file(spec.model_path.encode(), params)
        if not model:
            raise RunnerStartFailed(f"unable to load model: {last_errors() or 'no reason given'}")
        return cls(model)

    def create_context(self, params: Any) -> Any:  # noqa: ANN401 - opaque to other files
        """A llama_context pointer; it is false when llama.cpp refuses."""
        return llama_cpp.llama_init_from_model(self._model, params)

    def load_adapter(self, path: str) -> Any:  # noqa: ANN401 - an opaque pointer
        """A LoRA adapter of this model, or None when llama.cpp refuses the file."""
        return llama_cpp.llama_adapter_lora_init(self._model, path.encode())

    @property
    def vocab_address(self) -> int:
        """Address of the llama_vocab, for a library that speaks C itself."""
        return int(ctypes.cast(self._vocab, ctypes.c_void_p).value or 0)

    @property
    def tokenize_address(self) -> int:
        """Address of the C function llama_tokenize, for the same purpose."""
        function = ctypes.cast(llama_cpp.llama_cpp._lib.llama_tokenize, ctypes.c_void_p)
        return int(function.value or 0)

    def chat_template(self) -> str:
        """The Jinja text in the file; empty when it has none."""
        raw = llama_cpp.llama_model_chat_template(self._model, None)
        return raw.decode("utf-8", "replace") if raw else ""

    def tokenize(self, text: str, *, add_special: bool, parse_special: bool) -> list[int]:
        """Token ids of a text; safe from any thread."""
        data = text.encode("utf-8", "replace")
        size = len(data) + 8
        while True:
            buffer = (ctypes.c_int32 * size)()
            count = llama_cpp.llama_tokenize(
                self._vocab, data, len(data), buffer, size, add_special, parse_special
            )
            if count >= 0:
                return buffer[:count]
            size = -count

    def piece(self, token: int) -> bytes:
        """Bytes of a token, however many; special tokens as their text."""
        known = self._pieces.get(token)
        if known is not None:
            return known
        size = 64
        while True:
            buffer = ctypes.create_string_buffer(size)
            count = llama_cpp.llama_token_to_piece(self._vocab, token, buffer, size, 0, True)
            if count >= 0:
                break
            size = -count
        self._pieces[token] = buffer.raw[:count]
        return self._pieces[token]

    def is_special(self, token: int) -> bool:
        """Whether a token is markup, control or user defined in angle brackets."""
        attributes = llama_cpp.llama_vocab_get_attr(self._vocab, token)
        if attributes & llama_cpp.LLAMA_TOKEN_ATTR_CONTROL:
            return True
        text = self.piece(token)
        is_user_defined = bool(attributes & llama_cpp.LLAMA_TOKEN_ATTR_USER_DEFINED)
        return is_user_defined and text.startswith(b"<") and text.endswith(b">")


class TokenBatch:
    """Tokens for one decode, in arrays that llama.cpp reads in place.

    Attributes:
        count: tokens in it; 0 forgets them all.
    """

    def __init__(self, capacity: int) -> None:
        self._token = np.zeros(capacity, np.int32)
        self._pos = np.zeros(capacity, np.int32)
        self._seq = np.zeros(capacity, np.int32)
        self._seq_count = np.ones(capacity, np.int32)
        self._output = np.zeros(capacity, np.int8)
        self._seq_pointers = (
            self._seq.ctypes.data + np.arange(capacity, dtype=np.uint64) * 4
        ).astype(np.uint64)
        batch = llama_cpp.llama_batch()
        for name, array, kind in (
            ("token", self._token, ctypes.c_int32),
            ("pos", self._pos, ctypes.c_int32),
            ("n_seq_id", self._seq_count, ctypes.c_int32),
            ("seq_id", self._seq_pointers, ctypes.POINTER(ctypes.c_int32)),
            ("logits", self._output, ctypes.c_int8),
        ):
            setattr(batch, name, ctypes.cast(array.ctypes.data, ctypes.POINTER(kind)))
        self.raw = batch
        self.count = 0

    def add(self, sequence: int, position: int, tokens: Sequence[int]) -> None:
        """Append tokens of one sequence, the first at `position`; none gives logits yet."""
        start, end = self.count, self.count + len(tokens)
        self._token[start:end] = tokens
        self._pos[start:end] = range(position, position + len(tokens))
        self._seq[start:end] = sequence
        self._output[start:end] = 0
        self.count = end

    def want_output(self) -> int:
        """Ask for the logits (or the vector) of the token added last; gives its index."""
        self._output[self.count - 1] = 1
        return self.count - 1

    def want_all_outputs(self) -> None:
        """Ask for outputs of every token, as pooling inside llama.cpp needs."""
        self._output[: self.count] = 1


class Context:
    """A KV cache of `cells` tokens and the compute buffers for batches of `batch` tokens.

    Attributes:
        pooling: how llama.cpp pools vectors; POOLING_NONE leaves it to the caller.
        cells: tokens all sequences hold together, after llama.cpp's rounding.
        batch_size: tokens in one decode at most.
        ubatch_size: tokens evaluated at once inside a decode.
        can_shift: whether positions of cells can be moved.
    """

    def __init__(
        self, weights: Weights, spec: RunnerSpec, *, cells: int, sequences: int, batch: int
    ) -> None:
        params = llama_cpp.llama_context_default_params()
        params.n_ctx = cells
        params.n_batch = batch
        params.n_ubatch = batch  # what is pooled must be evaluated at once
        params.n_seq_max = sequences
        params.n_threads = params.n_threads_batch = spec.num_threads
        params.type_k = params.type_v = _CACHE_TYPES.get(spec.kv_cache_type, 1)
        if spec.flash_attention is not None:
            params.flash_attn_type = int(spec.flash_attention)
        params.embeddings = spec.is_encoder
        params.kv_unified = True
        params.swa_full = False
        self._ctx = weights.create_context(params)
        if not self._ctx:
            raise RunnerStartFailed(f"unable to create context: {last_errors()}")
        self._weights = weights
        self._memory = llama_cpp.llama_get_memory(self._ctx)
        self._set_adapters(spec.adapters)
        # The flag is a C string: strlen of it is 0 (go on) or 1 (stop). A Python callback would
        # be called hundreds of times a decode and wait for the interpreter lock each time.
        self._abort_flag = ctypes.create_string_buffer(2)
        strlen = ctypes.cast(ctypes.CDLL(None).strlen, llama_cpp.ggml_abort_callback)
        address = ctypes.cast(self._abort_flag, ctypes.c_void_p)
        llama_cpp.llama_set_abort_callback(self._ctx, strlen, address)
        self.pooling: int = llama_cpp.llama_pooling_type(self._ctx)
        self.cells: int = llama_cpp.llama_n_ctx(self._ctx)
        self.batch_size: int = llama_cpp.llama_n_batch(self._ctx)
        self.ubatch_size: int = llama_cpp.llama_n_ubatch(self._ctx)
        self.can_shift = bool(self._memory) and bool(llama_cpp.llama_memory_can_shift(self._memory))

    def _set_adapters(self, paths: Sequence[str]) -> None:
        adapters = [self._weights.load_adapter(path) for path in paths]
        if not all(adapters):
            raise RunnerStartFailed(f"unable to load adapter: {last_errors()}")
        if adapters:
            pointers = (llama_cpp.llama_adapter_lora_p_ctypes * len(adapters))(*adapters)
            scales = (ctypes.c_float * len(adapters))(*(1.0 for _ in adapters))
            llama_cpp.llama_set_adapters_lora(self._ctx, pointers, len(adapters), scales)

    def decode(self, batch: TokenBatch) -> int:
        """Evaluate a batch: 0 done, 1 no cells, 2 aborted, negative for a failure."""
        batch.raw.n_tokens = batch.count
        return int(llama_cpp.llama_decode(self._ctx, batch.raw))

    def set_abort(self, flag: bool) -> None:
        """Stop the running decode, or let the next ones run; safe from any thread."""
        _log.is_muted = flag  # a decode stopped on purpose logs four errors
        self._abort_flag[0] = b"\x01" if flag else b"\x00"

    def set_embeddings(self, enabled: bool) -> None:
        """Whether the next decodes give vectors."""
        llama_cpp.llama_set_embeddings(self._ctx, enabled)

    def set_threads(self, count: int) -> None:
        """Compute threads of the next decodes."""
        llama_cpp.llama_set_n_threads(self._ctx, count, count)

    def copy_prefix(self, source: int, target: int, length: int) -> None:
        """Let `target` share the first `length` cells of `source`."""
        llama_cpp.llama_memory_seq_cp(self._memory, source, target, 0, length)

    def cut(self, sequence: int, start: int, end: int = -1) -> None:
        """Forget positions [start, end) of a sequence; -1 is its end."""
        if self._memory:
            llama_cpp.llama_memory_seq_rm(self._memory, sequence, start, end)

    def move(self, sequence: int, start: int, delta: int) -> None:
        """Add `delta` to the positions from `start` on; the sequence must own its cells."""
        llama_cpp.llama_memory_seq_add(self._memory, sequence, start, -1, delta)

    def logits(self, index: int) -> NDArray[np.float32]:
        """[vocab_size] float32, a view to read or to mask in place."""
        pointer = llama_cpp.llama_get_logits_ith(self._ctx, index)
        return np.ctypeslib.as_array(pointer, (self._weights.vocab_size,))

    def embedding(self, index: int) -> NDArray[np.float32]:
        """[embedding_length] float32 of one output of the last decode."""
        pointer = llama_cpp.llama_get_embeddings_ith(self._ctx, index)
        return np.ctypeslib.as_array(pointer, (self._weights.embedding_length,))

    def pooled_embedding(self, sequence: int) -> NDArray[np.float32]:
        """[embedding_length] float32 of a sequence; [class_count] of a reranker."""
        pointer = llama_cpp.llama_get_embeddings_seq(self._ctx, sequence)
        size = self._weights.embedding_length
        if self.pooling == llama_cpp.LLAMA_POOLING_TYPE_RANK:
            size = self._weights.class_count
        return np.ctypeslib.as_array(pointer, (size,))

    def sample(self, chain: "SamplerChain", index: int) -> int:
        """Draw a token from the logits of one output; the chain takes note of it."""
        return int(llama_cpp.llama_sampler_sample(chain.raw, self._ctx, index))


class SamplerChain:
    """Samplers in C, applied in the order they are added; `close` frees them."""

    def __init__(self) -> None:
        params = llama_cpp.llama_sampler_chain_default_params()
        self.raw = llama_cpp.llama_sampler_chain_init(params)

    def penalties(
        self, vocab_size: int, last_n: int, *, repeat: float, frequency: float, presence: float
    ) -> None:
        """Penalise tokens seen among the last `last_n`."""
        self._add(
            llama_cpp.llama_sampler_init_penalties(vocab_size, last_n, repeat, frequency, presence)
        )

    def top_k(self, count: int) -> None:
        """Keep the `count` most likely tokens."""
        self._add(llama_cpp.llama_sampler_init_top_k(count))

    def typical(self, probability: float) -> None:
        """Keep locally typical tokens up to this mass."""
        self._add(llama_cpp.llama_sampler_init_typical(probability, 1))

    def top_p(self, probability: float) -> None:
        """Keep the most likely tokens up to this mass."""
        self._add(llama_cpp.llama_sampler_init_top_p(probability, 1))

    def min_p(self, share: float) -> None:
        """Keep tokens at least `share` as likely as the best."""
        self._add(llama_cpp.llama_sampler_init_min_p(share, 1))

    def temperature(self, value: float) -> None:
        """Divide the logits."""
        self._add(llama_cpp.llama_sampler_init_temp(value))

    def draw(self, seed: int) -> None:
        """Draw by probability; 0xFFFFFFFF takes a random seed."""
        self._add(llama_cpp.llama_sampler_init_dist(seed))

    def greedy(self) -> None:
        """Take the most likely token."""
        self._add(llama_cpp.llama_sampler_init_greedy())

    def _add(self, sampler: Any) -> None:  # noqa: ANN401 - an opaque pointer
        llama_cpp.llama_sampler_chain_add(self.raw, sampler)

    def accept(self, token: int) -> None:
        """Let the penalties know a token that was not sampled here."""
        llama_cpp.llama_sampler_accept(self.raw, token)

    def close(self) -> None:
        """Free the samplers; a second call does nothing."""
        if self.raw:
            llama_cpp.llama_sampler_free(self.raw)
            self.raw = None
