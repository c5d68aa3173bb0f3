"""Groups of earlier phases in a generation batch, each with the log-probabilities of the policy that wrote it.

TRL's loss has the ratio pi(now) / pi(old) of every token and clips it; its old policy is that of the generation batch.
Of a group that comes again it has to be the one that wrote it (PPO, arXiv 1707.06347, equation 7), or nothing would
hold a step back that goes too far from what was sampled: TRL's own replay trainer lacked that and was removed (#6804).

Shapes: N completions of a phase, those that come again at its end; T tokens of the longest. Unsloth has its
log-probabilities in more columns, each row moved to the left over the padding before its prompt.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from trl.models.utils import disable_gradient_checkpointing

from trainer.grpo.written import COMPLETION_IDS, Written, part
from trainer.rewards.notes import Notes
from trainer.sampling.replay import Remembered, Replay
from trainer.spec.sampling import Sampling

OLD = "old_per_token_logps"
_NO_NOTES = Notes({}, [], {}, [], [], [], [])  # what was found of these groups was recorded when they were written


class Replayed:
    """trainer: a CustomGRPOTrainer."""

    def __init__(self, trainer: Any, settings: Sampling) -> None:
        self.trainer = trainer
        self.buffer = Replay(settings.replay, settings.replay_steps)
        self._taken: list[Remembered] = []

    def take(self, missing: int, rows: Sequence[int]) -> list[Written]:
        """Groups of at most `missing` completions, as they were written. rows: those in the phase already."""
        self._taken = self.buffer.take(missing, self.trainer.state.global_step, rows)
        return [self._written(group) for group in self._taken]

    def _written(self, group: Remembered) -> Written:
        row, content = self.trainer.train_dataset[group.row], group.content
        inputs = [dict(row) for _ in range(group.completions)]
        return Written(inputs, content["generated"], content["rewards"], _NO_NOTES, [group.completions])

    def scored(self, output: dict[str, Any], kept: Written) -> dict[str, float]:
        """Put the log-probabilities of the policies that wrote them into the batch; remember its new groups.

        kept: the phase. Returns what a chart shows: how old those are that came again, in optimizer steps, and the
        share of their tokens (with ratios of whole completions: of those) whose ratio is outside of the clip range.
        """
        now = _of_policy(self.trainer, output)
        places = _columns(output, now, [len(ids) for ids in kept.generated[COMPLETION_IDS]])
        old = now.clone()
        first = len(places) - sum(group.completions for group in self._taken)
        before = [logps for group in self._taken for logps in group.content[OLD]]
        for row, logps in enumerate(before, first):
            old[row, places[row]] = logps.to(old)
        output[OLD] = old
        found = self._staleness(output, now, old, places, first)
        self._remember(kept, [now[row, place].to("cpu", copy=True) for row, place in enumerate(places[:first])])
        return found

    def _staleness(
        self, output: dict[str, Any], now: Tensor, old: Tensor, places: Sequence[slice], first: int
    ) -> dict[str, float]:
        if not self._taken:
            return {}
        step, completions = self.trainer.state.global_step, len(places) - first
        found = {"replay_age": sum((step - group.step) * group.completions for group in self._taken) / completions}
        mask = output["completion_mask"] * output.get("tool_mask", 1)
        apart = [
            (now - old)[row, places[row]][mask[row, : places[row].stop - places[row].start].bool()]
            for row in range(first, len(places))
        ]
        outside = _outside(self.trainer, [each for each in apart if len(each)])
        return found if outside is None else found | {"replay_outside_frac": outside}

    def _remember(self, kept: Written, logps: Sequence[Tensor]) -> None:
        fresh = kept.rows_of_groups()[: len(kept.picked)]  # behind them those that came again
        for rows, row, judged in zip(fresh, kept.picked, kept.outcomes, strict=True):
            if judged.kind == "spread":
                one = part(kept, rows, [len(rows)])
                content = {"generated": one.generated, "rewards": one.rewards.cpu(), OLD: [logps[i] for i in rows]}
                self.buffer.add(Remembered(row, self.trainer.state.global_step, len(rows), content))

    def save(self, path: Path) -> None:
        torch.save({"of": self._of(), "groups": self.buffer.state()}, path)

    def load(self, path: Path) -> None:
        """Nothing where groups are made otherwise by now: --force goes on with other settings."""
        saved = torch.load(path, weights_only=True)
        if saved["of"] == self._of():
            self.buffer.load(saved["groups"])

    def _of(self) -> list[Any]:
        trainer = self.trainer
        rewards, rows = trainer.reward_func_names, len(trainer.train_dataset)
        return [rows, trainer.num_generations, trainer.rounds.has_several_sizes, list(rewards), trainer.use_vllm]


def _outside(trainer: Any, apart: Sequence[Tensor]) -> float | None:
    """The share of log ratios that the loss clips in one direction or the other; None where it clips none."""
    if trainer.loss_type in ("sapo", "vespo") or not apart:
        return None
    whole = trainer.importance_sampling_level == "sequence"
    ratios = (torch.stack([each.mean() for each in apart]) if whole else torch.cat([*apart])).exp()
    outside = ratios > (trainer.epsilon_high if trainer.loss_type == "cispo" else 1 + trainer.epsilon_high)
    if trainer.loss_type != "cispo":  # its epsilon_high is the cap itself, and there is none below
        outside |= ratios < 1 - trainer.epsilon_low
    return float(outside.float().mean())


def _of_policy(trainer: Any, output: dict[str, Any]) -> Tensor:
    """(N, T), or as Unsloth has them: log-probabilities of the policy as it is; TRL's where it needs them itself."""
    if output.get(OLD) is not None:
        return output[OLD]  # type: ignore[no-any-return]
    ids = torch.cat([output["prompt_ids"], output["completion_ids"]], dim=1)
    mask = torch.cat([output["prompt_mask"], output["completion_mask"]], dim=1)
    checkpointing = trainer.args.gradient_checkpointing_kwargs
    with torch.no_grad(), disable_gradient_checkpointing(trainer.model, checkpointing):
        logps: Tensor = trainer._get_per_token_logps_and_entropies(
            trainer.model,
            ids,
            mask,
            output["completion_ids"].shape[1],
            batch_size=trainer.args.per_device_train_batch_size,
        )[0]
    return logps


def _columns(output: dict[str, Any], logps: Tensor, lengths: Sequence[int]) -> list[slice]:
    """Where the completion of each row is among the columns of its log-probabilities."""
    more = logps.shape[1] - output["completion_ids"].shape[1]
    padding = (output["prompt_mask"] == 0).sum(dim=1).tolist() if more else [0] * len(lengths)
    return [slice(more - before, more - before + length) for before, length in zip(padding, lengths, strict=True)]
