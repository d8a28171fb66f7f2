"""`python -m benchmarks [FILE]`: measures everything in one run and keeps every sample."""

import json
import platform
import sys
from pathlib import Path

from benchmarks import concurrency, single_stream


def main() -> None:
    """Measure, print the ratios, write the file."""
    path = Path(sys.argv[1] if len(sys.argv) > 1 else "benchmarks/result.json")
    single = single_stream.measure()
    for name, ratio in single["ratio_rest_to_bare"].items():
        rest, bare = (single[side]["tokens_per_second"][name] for side in ("rest", "bare"))
        print(f"{name}: REST {rest:.0f} tok/s, bare loop {bare:.0f} tok/s, ratio {ratio:.3f}")
    together = [concurrency.throughput(prompt) for prompt in concurrency.PROMPTS]
    for run in together:
        ratio = run["ratio_together_to_alone"]
        print(f"8 streams at once to 1 alone: ratio {ratio:.2f} ({run['prompt']})")
    shared = concurrency.shared_prefix()
    print(f"8 on a shared prefix to the same apart: ratio {shared['ratio_shared_to_apart']:.3f}")
    result = {
        "machine": platform.machine(),
        "single_stream": single,
        "throughput": together,
        "shared_prefix": shared,
    }
    path.write_text(json.dumps(result, indent=1) + "\n")
    print(f"samples: {path}")


if __name__ == "__main__":
    main()
