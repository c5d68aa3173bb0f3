"""Order of the prompts: a permutation of (seed, epoch), so that a resumed run sees what it would have seen.

TRL 1.14.2's RepeatSampler (trl/trainer/utils.py) draws every epoch's permutation from one generator that is not
saved: a run resumed in epoch 2 repeats the order of epoch 1.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from trl.trainer.utils import RepeatSampler


class EpochSampler(RepeatSampler):
    """RepeatSampler whose order in epoch e does not depend on how many epochs this process has iterated."""

    epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Called by accelerate's DataLoaderShard before each epoch."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[int]:
        if self.shuffle:
            # Hashed to the 32 bits torch's CPU generator reads of a seed: (seed << 32 | epoch) would not differ.
            mixed = hashlib.sha256(f"{self.seed}:{self.epoch}".encode()).digest()[:4]
            self.generator.manual_seed(int.from_bytes(mixed))
        yield from super().__iter__()  # type: ignore[no-untyped-call]  # of TRL
