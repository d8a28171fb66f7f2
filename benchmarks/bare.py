"""The peer: a plain `llama_decode` loop, one JSON request a line on stdin, one JSON reply a line.

    {"prompt": text, "tokens": n} -> {"prompt_tokens", "prefill_ns", "tokens", "decode_ns"}

Same build of llama.cpp as the server, same threads, batch and flash attention as it is told.
"""

import json
import sys
import time
from dataclasses import dataclass
from typing import Any

import llama_cpp as c


@dataclass(frozen=True, slots=True, kw_only=True)
class Loop:
    """A model and a context with `num_ctx` cells for one sequence."""

    model: Any
    context: Any
    num_batch: int

    @classmethod
    def load(cls, path: str, *, num_ctx: int, num_batch: int, num_threads: int) -> "Loop":
        """Load a model with llama.cpp's defaults for everything not named."""
        c.llama_backend_init()
        model = c.llama_model_load_from_file(path.encode(), c.llama_model_default_params())
        params = c.llama_context_default_params()
        params.n_ctx = num_ctx
        params.n_batch = params.n_ubatch = num_batch
        params.n_threads = params.n_threads_batch = num_threads
        return cls(model=model, context=c.llama_init_from_model(model, params), num_batch=num_batch)

    def run(self, prompt: str, tokens: int) -> dict[str, int]:
        """Evaluate a prompt in an empty cache, then `tokens` greedy tokens, whatever they are."""
        vocab = c.llama_model_get_vocab(self.model)
        text = prompt.encode()
        room = (c.llama_token * (len(text) + 8))()
        count = c.llama_tokenize(vocab, text, len(text), room, len(room), True, True)
        sampler = c.llama_sampler_init_greedy()
        c.llama_memory_clear(c.llama_get_memory(self.context), True)
        started = time.perf_counter_ns()
        for start in range(0, count, self.num_batch):
            part = room[start : min(start + self.num_batch, count)]
            # The batch only points at the tokens, so they stay named until it is decoded.
            tokens_of_part = (c.llama_token * len(part))(*part)
            self._decode(c.llama_batch_get_one(tokens_of_part, len(part)))
        token = c.llama_sampler_sample(sampler, self.context, -1)
        first = time.perf_counter_ns()
        one = (c.llama_token * 1)(token)
        for _ in range(tokens - 1):
            self._decode(c.llama_batch_get_one(one, 1))
            one[0] = c.llama_sampler_sample(sampler, self.context, -1)
        ended = time.perf_counter_ns()
        c.llama_sampler_free(sampler)
        return {
            "prompt_tokens": count,
            "prefill_ns": first - started,
            "tokens": tokens,
            "decode_ns": ended - first,
        }

    def _decode(self, batch: Any) -> None:  # noqa: ANN401 — a ctypes structure
        code = c.llama_decode(self.context, batch)
        if code:
            raise SystemExit(f"llama_decode returned {code}")


def main() -> None:
    """Serve requests until stdin ends."""
    quiet = c.llama_log_callback(lambda _level, _text, _data: None)
    c.llama_log_set(quiet, None)
    setting = json.loads(sys.stdin.readline())
    loop = Loop.load(setting.pop("path"), **setting)
    for line in sys.stdin:
        request = json.loads(line)
        print(json.dumps(loop.run(request["prompt"], request["tokens"])), flush=True)


if __name__ == "__main__":
    main()
