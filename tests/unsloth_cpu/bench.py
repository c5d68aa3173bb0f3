"""Prints what the benchmark measures of Unsloth's own trainer: python -m tests.unsloth_cpu.bench CACHE"""

from __future__ import annotations

import json
import sys

from tests.unsloth_cpu import stand_in


def main(cache: str) -> dict[str, float]:
    stand_in.install(cache)
    from benchmarks import fast
    from benchmarks.random_models import Sizes

    cell = fast.Cell(16, 4, 2, 2, "gemma3", lora=True, spread=True)  # Llama's kernels would need Triton
    return fast.alone(cell, "unsloth", Sizes(layers=2, hidden=128, vocabulary=200), "cpu")


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1])))
