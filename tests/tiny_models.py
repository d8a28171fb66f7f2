"""Small GGUF files that llama.cpp really runs, written in about a second.

    tiny-llama.gguf     random llama, byte-level BPE made here, ChatML template              F16
    tiny-llama-q8.gguf  the same weights                                                      Q8_0
    tiny-lora.gguf      an adapter for it that changes the greedy answer
    script.gguf         a llama whose weights spell out fixed answers (see SCRIPTS)
    tiny-bert.gguf      random encoder, mean pooling
    tiny-rerank.gguf    random encoder with a rank head

A scripted model is exact at any temperature: the next token of the script has a logit of 40, all
others 0.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from numpy.typing import NDArray

from tests.tiny_vocabulary import CHATML, TRAINING_TEXT, Vocabulary

Array = NDArray[np.floating[Any]]
CONTEXT_LENGTH = 4096

SCRIPT_TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n"
    "{% if messages[-1].role == 'tool' %}<|cue_final|>{% elif tools %}<|cue_tool|>"
    "{% elif enable_thinking %}<|cue_think|>{% else %}<|cue_chat|>{% endif %}{% endif %}"
)
SCRIPTS: Mapping[str, Sequence[str]] = {
    "<|cue_chat|>": ["Hello", " from", " the", " scripted", " model."],
    "<|cue_think|>": [
        "<think>",
        "\nThe user",
        " wants a",
        " sum.\n",
        "</think>",
        "\n\nThe",
        " answer is",
        " 4.",
    ],
    "<|cue_tool|>": [
        "<tool_call>",
        '\n{"name": "get_weather",',
        ' "arguments": ',
        '{"city": "Paris"}}\n',
        "</tool_call>",
    ],
    "<|cue_final|>": ["It is", " 11 degrees", " in Paris."],
    "<|cue_long|>": ["one token of well over thirty-two bytes, which some wrappers drop", " end"],
    "<|cue_bytes|>": ["na\u00efve ", "\u732b and \U0001f9d1", "\u200d\U0001f680", " fin"],
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """Sizes of a random llama."""

    width: int = 64
    inner: int = 160
    layers: int = 2
    heads: int = 4
    kv_heads: int = 2
    seed: int = 1


def _put(writer: gguf.GGUFWriter, name: str, values: Array, kind: str) -> None:
    """Add a tensor; only matrices are stored as F16 or Q8_0."""
    array = np.ascontiguousarray(values, np.float32)
    if kind == "q8_0" and array.ndim == 2 and array.shape[-1] % 32 == 0:
        q8 = gguf.GGMLQuantizationType.Q8_0
        writer.add_tensor(name, gguf.quants.quantize(array, q8), raw_dtype=q8)
    elif kind in ("f16", "q8_0") and array.ndim == 2:
        writer.add_tensor(name, array.astype(np.float16))
    else:
        writer.add_tensor(name, array)


def _finish(writer: gguf.GGUFWriter) -> None:
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _llama_writer(
    path: Path, vocabulary: Vocabulary, shape: Shape, *, name: str, kind: str, template: str
) -> gguf.GGUFWriter:
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_type("model")
    writer.add_name(name)
    writer.add_license("mit")
    writer.add_size_label("tiny")
    writer.add_context_length(CONTEXT_LENGTH)
    writer.add_embedding_length(shape.width)
    writer.add_block_count(shape.layers)
    writer.add_feed_forward_length(shape.inner)
    writer.add_head_count(shape.heads)
    writer.add_head_count_kv(shape.kv_heads)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(10000.0)
    writer.add_rope_dimension_count(shape.width // shape.heads)
    writer.add_vocab_size(len(vocabulary.tokens))
    writer.add_file_type({"f32": 0, "f16": 1, "q8_0": 7}[kind])
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    vocabulary.write(writer, template)
    return writer


def write_llama(path: Path, *, kind: str = "f16", shape: Shape | None = None) -> Path:
    """A random llama."""
    shape = shape or Shape()
    vocabulary = Vocabulary()
    rng = np.random.default_rng(shape.seed)

    def random(*size: int) -> Array:
        return np.asarray(rng.standard_normal(size) * (2.0 / size[-1]) ** 0.5)

    width, head = shape.width, shape.width // shape.heads
    writer = _llama_writer(path, vocabulary, shape, name="tiny-llama", kind=kind, template=CHATML)
    _put(writer, "token_embd.weight", random(len(vocabulary.tokens), width) * 5, kind)
    _put(writer, "output_norm.weight", np.ones(width), kind)
    _put(writer, "output.weight", random(len(vocabulary.tokens), width) * 2, kind)
    for layer in range(shape.layers):
        block = f"blk.{layer}."
        _put(writer, block + "attn_norm.weight", np.ones(width), kind)
        _put(writer, block + "ffn_norm.weight", np.ones(width), kind)
        _put(writer, block + "attn_q.weight", random(width, width) * 2, kind)
        _put(writer, block + "attn_k.weight", random(shape.kv_heads * head, width) * 2, kind)
        _put(writer, block + "attn_v.weight", random(shape.kv_heads * head, width), kind)
        _put(writer, block + "attn_output.weight", random(width, width), kind)
        _put(writer, block + "ffn_gate.weight", random(shape.inner, width), kind)
        _put(writer, block + "ffn_up.weight", random(shape.inner, width), kind)
        _put(writer, block + "ffn_down.weight", random(width, shape.inner), kind)
    _finish(writer)
    return path


def write_lora(path: Path, *, shape: Shape | None = None, rank: int = 4) -> Path:
    """An adapter for `write_llama` of the same shape."""
    shape = shape or Shape()
    rng = np.random.default_rng(7)
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_type("adapter")
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", 8.0)
    writer.add_name("tiny-lora")
    for layer in range(shape.layers):
        for part in ("attn_q", "attn_output"):
            for side, size in (("a", (rank, shape.width)), ("b", (shape.width, rank))):
                values = rng.standard_normal(size).astype(np.float32) * 0.3
                writer.add_tensor(f"blk.{layer}.{part}.weight.lora_{side}", values)
    _finish(writer)
    return path


def write_script(
    path: Path,
    *,
    scripts: Mapping[str, Sequence[str]] = SCRIPTS,
    template: str = SCRIPT_TEMPLATE,
) -> Path:
    """A llama whose output matrix is a table of next tokens: after a cue, its script, then the end.

    Its one block adds nothing, and every token is a direction of its own.
    """
    user = [text for cue, script in scripts.items() for text in (cue, *script)]
    vocabulary = Vocabulary(user)
    size = len(vocabulary.tokens)
    shape = Shape(width=size, inner=32, layers=1, heads=size // 32, kv_heads=size // 32)
    writer = _llama_writer(path, vocabulary, shape, name="scripted", kind="f16", template=template)
    following: dict[int, int] = {}
    for cue, script in scripts.items():
        ids = [vocabulary.ids[cue], *(vocabulary.ids[text] for text in script), 2]
        following.update(pairwise(ids))
    output = np.zeros((size, size), np.float32)
    for token in range(size):
        output[following.get(token, 2), token] = 40.0 / size**0.5
    _put(writer, "token_embd.weight", np.eye(size), "f16")
    _put(writer, "output_norm.weight", np.ones(size), "f16")
    _put(writer, "output.weight", output, "f16")
    for part in ("attn_norm", "ffn_norm"):
        _put(writer, f"blk.0.{part}.weight", np.ones(size), "f16")
    for part, zeros in (
        *((part, (size, size)) for part in ("attn_q", "attn_k", "attn_v", "attn_output")),
        ("ffn_gate", (32, size)),
        ("ffn_up", (32, size)),
        ("ffn_down", (size, 32)),
    ):
        _put(writer, f"blk.0.{part}.weight", np.zeros(zeros), "q8_0")
    _finish(writer)
    return path


def write_bert(path: Path, *, is_reranker: bool = False, width: int = 32) -> Path:
    """A random encoder of two layers: mean pooling, or a rank head."""
    inner, rng = 2 * width, np.random.default_rng(3)

    def random(*size: int) -> Array:
        return np.asarray(rng.standard_normal(size) * 0.3)

    words = sorted({word.strip(".?!").lower() for word in TRAINING_TEXT.split()})
    letters = [chr(code) for code in range(33, 127)]
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    tokens = list(Counter([*special, *("\u2581" + text for text in (*words, *letters)), *letters]))
    writer = gguf.GGUFWriter(path, "bert")
    _write_bert_header(writer, tokens, width=width, inner=inner, is_reranker=is_reranker)
    _put(writer, "token_embd.weight", random(len(tokens), width), "f32")
    _put(writer, "position_embd.weight", random(512, width) * 0.1, "f32")
    _put(writer, "token_types.weight", random(2, width) * 0.1, "f32")
    norms = ["token_embd_norm"]
    for layer in range(2):
        block = f"blk.{layer}."
        square = (width, width)
        for part, size in (
            *((part, square) for part in ("attn_q", "attn_k", "attn_v", "attn_output")),
            ("ffn_up", (inner, width)),
            ("ffn_down", (width, inner)),
        ):
            _put(writer, f"{block}{part}.weight", random(*size), "f32")
            _put(writer, f"{block}{part}.bias", np.zeros(size[0]), "f32")
        norms += [block + "attn_output_norm", block + "layer_output_norm"]
    for norm in norms:
        _put(writer, norm + ".weight", np.ones(width), "f32")
        _put(writer, norm + ".bias", np.zeros(width), "f32")
    if is_reranker:
        _put(writer, "cls.weight", random(width, width), "f32")
        _put(writer, "cls.bias", np.zeros(width), "f32")
        _put(writer, "cls.output.weight", random(1, width), "f32")
        _put(writer, "cls.output.bias", np.zeros(1), "f32")
    _finish(writer)
    return path


def _write_bert_header(
    writer: gguf.GGUFWriter, tokens: Sequence[str], *, width: int, inner: int, is_reranker: bool
) -> None:
    writer.add_type("model")
    writer.add_name("tiny-rerank" if is_reranker else "tiny-bert")
    writer.add_license("mit")
    writer.add_context_length(512)
    writer.add_embedding_length(width)
    writer.add_block_count(2)
    writer.add_feed_forward_length(inner)
    writer.add_head_count(2)
    writer.add_layer_norm_eps(1e-12)
    writer.add_causal_attention(False)
    writer.add_file_type(0)
    writer.add_pooling_type(gguf.PoolingType.RANK if is_reranker else gguf.PoolingType.MEAN)
    writer.add_token_type_count(2)
    writer.add_tokenizer_model("bert")
    writer.add_tokenizer_pre("jina-v2-en")
    writer.add_token_list([token.encode() for token in tokens])
    writer.add_token_types([3 if index < 5 else 1 for index in range(len(tokens))])
    writer.add_bos_token_id(2)
    writer.add_eos_token_id(3)
    writer.add_unk_token_id(1)
    writer.add_sep_token_id(3)
    writer.add_pad_token_id(0)
    writer.add_mask_token_id(4)
    writer.add_uint32("tokenizer.ggml.cls_token_id", 2)
    writer.add_add_bos_token(True)
    writer.add_add_eos_token(True)
    if is_reranker:
        writer.add_array("bert.classifier.output_labels", ["score"])


def write_all(folder: Path) -> Path:
    """All of them, under the names above, in an existing folder."""
    write_llama(folder / "tiny-llama.gguf")
    write_llama(folder / "tiny-llama-q8.gguf", kind="q8_0")
    write_lora(folder / "tiny-lora.gguf")
    write_script(folder / "script.gguf")
    write_bert(folder / "tiny-bert.gguf")
    write_bert(folder / "tiny-rerank.gguf", is_reranker=True)
    return folder
