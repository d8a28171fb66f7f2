"""A byte-level BPE vocabulary of a few hundred tokens, trained on a paragraph."""

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

import gguf

NORMAL, CONTROL, USER_DEFINED = 1, 3, 4
SPECIAL = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|fim_prefix|>",
    "<|fim_suffix|>",
    "<|fim_middle|>",
)
CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
TRAINING_TEXT = """The quick brown fox jumps over the lazy dog. Why is the sky blue? What is the
capital of France? Paris is the capital of France. Hello! How can I help you today? I am a very
small language model made for tests. user assistant system tool function name arguments json true
false null def return import print self for in if else one two three four five six seven eight nine
ten and the of to a in that is was for on are with as at be this have from
"""
_MERGES = 250
_MULTIPLE = 32  # Q8_0 blocks


def _alphabet() -> dict[int, str]:
    """The printable character GPT-2's tokenizer writes for each byte."""
    kept = {*range(33, 127), *range(161, 173), *range(174, 256)}
    others = (byte for byte in range(256) if byte not in kept)
    table = {byte: chr(256 + index) for index, byte in enumerate(others)}
    return {byte: table.get(byte, chr(byte)) for byte in range(256)}


def _merged(word: tuple[str, ...], pair: tuple[str, str]) -> tuple[str, ...]:
    parts: list[str] = []
    index = 0
    while index < len(word):
        if word[index : index + 2] == pair:
            parts.append(pair[0] + pair[1])
            index += 2
        else:
            parts.append(word[index])
            index += 1
    return tuple(parts)


def _train(alphabet: dict[int, str]) -> list[tuple[str, str]]:
    """The merges, the most frequent pair first."""
    words: Counter[tuple[str, ...]] = Counter()
    for index, word in enumerate(TRAINING_TEXT.split()):
        text = f" {word}" if index else word
        words[tuple(alphabet[byte] for byte in text.encode())] += 1
    merges: list[tuple[str, str]] = []
    for _ in range(_MERGES):
        pairs: Counter[tuple[str, str]] = Counter()
        for word_parts, count in words.items():
            for pair in pairwise(word_parts):
                pairs[pair] += count
        if not pairs:
            break
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        merges.append(best)
        merged: Counter[tuple[str, ...]] = Counter()
        for word_parts, count in words.items():
            merged[_merged(word_parts, best)] += count
        words = merged
    return merges


class Vocabulary:
    """Special tokens, bytes, merges, and texts of the caller's own.

    Attributes:
        tokens: as the file has them, in order of their ids.
        ids: id of each.

    Raises:
        ValueError: a text is given twice; llama.cpp aborts the process on such a file.
    """

    def __init__(self, user: Sequence[str] = ()) -> None:
        alphabet = _alphabet()
        merges = _train(alphabet)
        base = list(dict.fromkeys([*alphabet.values(), *(a + b for a, b in merges)]))
        if len({*user, *base}) != len(user) + len(base):
            raise ValueError("a text is in the vocabulary twice")
        self.tokens = [*SPECIAL, *base, *user]
        self._merges = [f"{a} {b}" for a, b in merges]
        self._types = [CONTROL] * len(SPECIAL) + [NORMAL] * len(base) + [USER_DEFINED] * len(user)
        while len(self.tokens) % _MULTIPLE:
            self.tokens.append(f"<|pad_{len(self.tokens)}|>")
            self._types.append(CONTROL)
        self.ids = {token: index for index, token in enumerate(self.tokens)}

    def write(self, writer: gguf.GGUFWriter, template: str) -> None:
        """Put it and the chat template into a file."""
        writer.add_tokenizer_model("gpt2")
        writer.add_tokenizer_pre("gpt-2")
        writer.add_token_list([token.encode() for token in self.tokens])
        writer.add_token_types(self._types)
        writer.add_token_merges(self._merges)
        writer.add_bos_token_id(1)
        writer.add_eos_token_id(2)
        writer.add_pad_token_id(0)
        writer.add_add_bos_token(False)
        for name, token in (("prefix", 3), ("suffix", 4), ("middle", 5)):
            writer.add_uint32(f"tokenizer.ggml.{name}_token_id", token)
        writer.add_uint32("tokenizer.ggml.eot_token_id", 2)
        writer.add_chat_template(template)
