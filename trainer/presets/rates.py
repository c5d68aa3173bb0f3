"""Which learning rates LoRA runs take: for a warning, never a refusal.

From what TRL, Unsloth's notebooks, tinker, prime-rl and verl use for GRPO with adapters (docs/recipes.md has the
numbers): about 2e-5 up to 4 B weights and 1e-5 above, more only with many completions a step. Imports spec and memory.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from trainer.memory import known
from trainer.memory.embedded import BUILTIN
from trainer.spec import RunSpec

SMALL_BILLIONS, LARGE_BILLIONS = 0.5, 5.0
"""Below the first nothing is published; above the second rates are halved."""
FAR = 5.0
"""Times the usual rate, or a part of it: published runs are all nearer."""
MANY_COMPLETIONS = 128
"""A step that averages so many takes twice as much (tinker: 4e-5, prime-rl: 5e-5)."""


@dataclass(frozen=True)
class Usual:
    """Learning rates of AdamW. billions: of weights."""

    billions: float
    completions: int
    rate: float
    lowest: float
    highest: float

    def is_far(self, rate: float) -> int:
        """-1 for one that is far below, 1 for far above, else 0."""
        if rate < self.lowest and not math.isclose(rate, self.lowest):
            return -1
        return int(rate > self.highest and not math.isclose(rate, self.highest))


def usual(spec: RunSpec) -> Usual | None:
    """What LoRA runs of this size and batch take; None for whole weights, and for models that nothing is known of."""
    shape = None if not spec.lora.enabled or spec.model.name.startswith(BUILTIN) else known.of(spec.model.name)
    if shape is None or (billions := shape.params() / 1e9) < SMALL_BILLIONS:
        return None
    completions = spec.optim.per_device_train_batch_size * spec.optim.gradient_accumulation_steps
    rate = 2e-5 if billions <= LARGE_BILLIONS else 1e-5
    room = 2 if completions >= MANY_COMPLETIONS else 1
    return Usual(billions, completions, rate, rate / FAR, rate * FAR * room)
