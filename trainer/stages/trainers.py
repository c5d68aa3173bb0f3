"""TRL's SFTTrainer and DPOTrainer with the hooks of every run: spans, steps, checkpoints.

    CustomSFTTrainer = make_trainer_class("sft")

Hooked in TRL 1.14.2 (sft_trainer.py, dpo_trainer.py): `compute_loss`, and of DPOTrainer `_prepare_dataset`, because the
examples are tokens already.
"""

from __future__ import annotations

from typing import Any

from trl import DPOTrainer, SFTTrainer

from trainer.grpo.watched import Watched
from trainer.spec import Method


class Supervised(Watched):
    """Shapes: B examples of a micro-batch, T tokens of the longest, right-padded."""

    def compute_loss(self, *args: Any, **kwargs: Any) -> Any:
        """Of a micro-batch, a scalar."""
        with self.spans("compute_loss"):
            return super().compute_loss(*args, **kwargs)

    def tokens_before(self, count: int) -> None:
        """Tokens that were trained on before a resume: TRL counts from 0 again."""
        self._total_train_tokens = count


class _Paired(Supervised):
    def _prepare_dataset(self, dataset: Any, *args: Any, **kwargs: Any) -> Any:
        return dataset


def make_trainer_class(method: Method) -> type:
    """TRL's class, or the one Unsloth has put in its place, as CustomSFTTrainer or CustomDPOTrainer."""
    if method == "dpo":
        return type("CustomDPOTrainer", (_Paired, DPOTrainer), {})
    return type("CustomSFTTrainer", (Supervised, SFTTrainer), {})
