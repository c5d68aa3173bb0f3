"""Order of the prompts: a permutation of (seed, epoch), so that a resumed run sees what it would have seen.

TRL 1.14.2's RepeatSampler (trl/trainer/utils.py) draws every epoch's permutation from one generator that is not
saved: a run resumed in epoch 2 repeats the order of epoch 1.

What it yields for `mini_repeat_count` G (num_generations), `batch_size` Q (prompts of a generation batch) and
`repeat_count` R (steps_per_generation x num_iterations): Q prompts, each G times in a row, all of that R times, then
the next Q; an incomplete last batch of an epoch is left out. Only the first of the R passes is generated from
(`_prepare_inputs`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from trl.trainer.utils import RepeatSampler


class EpochSampler(RepeatSampler):
    """RepeatSampler whose order in epoch e does not depend on how many epochs this process has iterated."""

    epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Called before each epoch, of a resumed run with the epoch it goes on in: by transformers 5.17
        (trainer.py `_run_epoch`) through accelerate's DataLoaderShard, which passes it on to the sampler."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[int]:
        if self.shuffle:
            # Hashed to the 32 bits torch's CPU generator reads of a seed: (seed << 32 | epoch) would not differ.
            mixed = hashlib.sha256(f"{self.seed}:{self.epoch}".encode()).digest()[:4]
            self.generator.manual_seed(int.from_bytes(mixed))
        yield from super().__iter__()  # type: ignore[no-untyped-call]  # of TRL
