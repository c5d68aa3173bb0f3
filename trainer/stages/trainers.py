"""TRL's SFTTrainer, DPOTrainer and RewardTrainer with the hooks of every run: spans, steps, checkpoints.

    CustomSFTTrainer = make_trainer_class(spec)

Hooked in TRL 1.14.2 (sft_trainer.py, dpo_trainer.py, reward_trainer.py): `compute_loss` with the counter
`_total_train_tokens`, and of DPOTrainer `_prepare_dataset`, because the examples are tokens already. RewardTrainer
takes tokens as they are; its loss is replaced where the reward itself is learnt.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from peft import set_peft_model_state_dict
from safetensors.torch import load_file
from trl import DPOTrainer, RewardTrainer, SFTTrainer

from trainer.grpo.reference import TRAINED, same_precision
from trainer.grpo.watched import Watched
from trainer.machine.json_files import write_json
from trainer.rewards.library import side_model
from trainer.rewards.library.reward_model import READS
from trainer.run.checkpoints import ADAPTER
from trainer.spec import RunSpec
from trainer.stages.judges import HEAD


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


class Judging(Supervised):
    """reads: how a text becomes tokens (trainer.rewards.library.reward_model); it is kept beside the weights."""

    reads: Mapping[str, Any] = MappingProxyType({})

    def _save_beside(self, folder: Path) -> None:
        super()._save_beside(folder)
        write_json(folder / READS, dict(self.reads))

    def take_adapter(self, folder: Path) -> tuple[list[str], list[str]]:
        """That of a policy, which has no head: the head stays as it is. PEFT takes no file without one."""
        weights = load_file(folder / ADAPTER)
        head = getattr(self.model.base_model.model, HEAD)
        weights[f"base_model.model.{HEAD}.weight"] = head.modules_to_save[TRAINED].weight.detach().clone()
        with same_precision(self.model):
            found = set_peft_model_state_dict(self.model, weights, TRAINED)
        self._refuse_unfinite(folder.name)
        return sorted(name for name in found.missing_keys if ".lora_" in name), sorted(found.unexpected_keys)


class PointwiseCollator:
    """Judged texts -> `input_ids` and `attention_mask` (B, T), padded on the right, and `reward` (B,)."""

    def __init__(self, pad: int) -> None:
        self.pad = pad

    def __call__(self, rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
        batch = side_model.padded([row["input_ids"] for row in rows], self.pad, "cpu")
        return {**batch, "reward": torch.tensor([row["reward"] for row in rows], dtype=torch.float32)}


class _Pointwise(Judging):
    """Goes before RewardTrainer: the mean over a micro-batch of (score - reward)^2 in place of its loss of pairs."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.data_collator = PointwiseCollator(self.processing_class.pad_token_id)

    def _prepare_dataset(self, dataset: Any, *args: Any, **kwargs: Any) -> Any:
        return dataset


class _SquaredError(RewardTrainer):  # type: ignore[misc]  # Any: TRL has no types
    def compute_loss(self, model: Any, inputs: Any, return_outputs: bool = False, **kwargs: Any) -> Any:
        wanted = inputs.pop("reward")
        outputs = model(**inputs, use_cache=False)
        scores = outputs.logits.squeeze(-1).float()
        loss = torch.nn.functional.mse_loss(scores, wanted)
        metrics = self._metrics["train"]
        self._total_train_tokens += int(inputs["attention_mask"].sum())
        metrics["num_tokens"] = [self._total_train_tokens]
        for name, value in (("mean_reward", scores.mean()), ("absolute_error", (scores - wanted).abs().mean())):
            metrics[name].append(value.item())
        return (loss, outputs) if return_outputs else loss


def make_trainer_class(spec: RunSpec) -> type:
    """TRL's class, or the one Unsloth has put in its place, as CustomSFTTrainer, CustomDPOTrainer or
    CustomRewardTrainer."""
    if spec.is_reward_model:
        pairwise = spec.reward_model.objective == "pairwise"
        return type("CustomRewardTrainer", (Judging, RewardTrainer) if pairwise else (_Pointwise, _SquaredError), {})
    if spec.run.method == "dpo":
        return type("CustomDPOTrainer", (_Paired, DPOTrainer), {})
    return type("CustomSFTTrainer", (Supervised, SFTTrainer), {})
