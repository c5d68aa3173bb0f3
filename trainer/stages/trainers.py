"""TRL's SFTTrainer and DPOTrainer with the hooks of every run: spans, steps, checkpoints.

    CustomSFTTrainer = make_trainer_class("sft")

Hooked in TRL 1.14.2 (sft_trainer.py, dpo_trainer.py): `compute_loss` with the counter `_total_train_tokens`, and of
DPOTrainer `_prepare_dataset`, because the examples are tokens already.
"""

from __future__ import annotations

from typing import Any

from trl import DPOTrainer, SFTTrainer

from trainer.grpo.watched import Watched
from trainer.spec import Method


class Supervised(Watched):
    """Shapes: B examples of a micro-batch, T tokens of the longest, right-padded."""

    def compute_loss(self, *args: Any, **kwargs: Any) -> Any:
        """Of a micro-batch, a scalar. TRL counts tokens from 0 in every process; as with GRPO, the state keeps them."""
        with self.spans("compute_loss"):
            self._total_train_tokens = self.state.num_input_tokens_seen
            found = super().compute_loss(*args, **kwargs)
            self.state.num_input_tokens_seen = self._total_train_tokens
            return found


class _Paired(Supervised):
    def _prepare_dataset(self, dataset: Any, *args: Any, **kwargs: Any) -> Any:
        return dataset


def make_trainer_class(method: Method) -> type:
    """TRL's class, or the one Unsloth has put in its place, as CustomSFTTrainer or CustomDPOTrainer."""
    if method == "dpo":
        return type("CustomDPOTrainer", (_Paired, DPOTrainer), {})
    return type("CustomSFTTrainer", (Supervised, SFTTrainer), {})
