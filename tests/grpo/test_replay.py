"""Groups that come again, on the real TRL trainer: whose ratios they have, and what they do to loss and records."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from tests.builders import HALF, Recorder, rows, tiny_trainer
from trainer.grpo.replay import OLD, _outside
from trainer.run.rollouts import groups
from trainer.sampling.replay import Remembered, Replay

SOME = HALF.components[0].model_copy(update={"params": {"pattern": ".*[a-d]"}})
RARE = HALF.model_copy(update={"components": [SOME]})
"""Some of the groups have spread, others have none."""


class Policies:
    """The weights after each optimizer step, and what each micro-batch gave the loss."""

    def __init__(self, trainer: Any) -> None:
        self.trainer = trainer
        self.weights: list[dict[str, torch.Tensor]] = []
        self.given: list[tuple[int, dict[str, Any], float]] = []
        loss, step = trainer.compute_loss, trainer.training_step

        def compute_loss(model: Any, inputs: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
            found = loss(model, inputs, *args, **kwargs)
            self.given.append((trainer.state.global_step, inputs, float(found.detach())))
            return found

        def training_step(*args: Any, **kwargs: Any) -> Any:
            if len(self.weights) == trainer.state.global_step:
                self.weights.append(self._copy())
            return step(*args, **kwargs)

        trainer.compute_loss, trainer.training_step = compute_loss, training_step

    def _copy(self) -> dict[str, torch.Tensor]:
        return {name: weight.clone() for name, weight in self.trainer.model.state_dict().items()}

    def logps(self, step: int, inputs: dict[str, Any], row: int) -> torch.Tensor:
        """Of the completion in that row, by the policy after so many steps: without anything of the trainer's."""
        from torch.func import functional_call

        kept = inputs["prompt_mask"][row].bool()
        prompt, mask = inputs["prompt_ids"][row][kept], inputs["completion_mask"][row].bool()
        completion = inputs["completion_ids"][row][mask]
        ids = torch.cat([prompt, completion])[None]
        with torch.no_grad():
            found = functional_call(self.trainer.model, self.weights[step], (ids,), tie_weights=False)
            logits = found.logits[0, len(prompt) - 1 : -1]
        scores = torch.log_softmax(logits / self.trainer.temperature, dim=-1)
        return scores.gather(1, completion[:, None])[:, 0]


def replaying(folder: Path, **changes: Any) -> tuple[Any, Recorder, Policies]:
    options: dict[str, Any] = {"data": rows(64), "max_steps": 7, "per_device_train_batch_size": 16}
    options |= {"sampling": {"replay": 16}, "reward": RARE, "learning_rate": 2e-3, "warmup_steps": 0}
    trainer, recorder = tiny_trainer(folder, **options | changes)
    return trainer, recorder, Policies(trainer)


@pytest.mark.parametrize("fast", ["auto", "off"])
@pytest.mark.parametrize("steps", [{}, {"gradient_accumulation_steps": 2, "per_device_train_batch_size": 8}], ids=str)
def test_the_ratio_of_a_group_is_that_of_the_policy_that_wrote_it(
    tmp_path: Path, fast: str, steps: dict[str, Any]
) -> None:
    """Of every row that the loss is given: its old log-probabilities are those of exactly one policy there was."""
    trainer, recorder, policies = replaying(tmp_path, fast=fast, **steps)
    buffer = trainer.rounds.replayed.buffer
    take = buffer.take
    buffer.take = lambda missing, step, rows: take(missing, step, rows) if step % 3 == 0 else []  # some wait for it
    trainer.train()
    written: dict[tuple[str, str], int] = {}  # completion -> the step it was written in
    for step, batch in recorder.batches:
        for prompt, text in zip(batch.prompts, batch.completions, strict=True):
            written.setdefault((str(prompt), text), step - 1)
    ages = []
    for now, inputs, _ in policies.given:
        for row in range(len(inputs["advantages"])):
            mask = inputs["completion_mask"][row].bool()
            old = inputs[OLD][row][mask]
            if not inputs["advantages"][row]:
                continue
            distances = [float((policies.logps(step, inputs, row) - old).abs().max()) for step in range(now + 1)]
            wrote = min(range(now + 1), key=distances.__getitem__)
            assert distances[wrote] < 1e-4
            text = trainer.processing_class.decode(inputs["completion_ids"][row][mask], skip_special_tokens=True)
            asked = [p for (p, t), step in written.items() if t == text and step == wrote]
            assert asked, "written in the step whose policy it has"
            ages.append(now - wrote)
            if now - wrote:
                assert distances[now] > 1e-3, "another one than that of now"
    assert 0 in ages
    assert max(ages) >= 2
    assert any(logs.get("sampler/replayed_frac", 0) > 0 for _, logs, _ in recorder.steps)


def test_loss_and_gradient_are_the_clipped_ones_by_hand(tmp_path: Path) -> None:
    """min(r A, clip(r) A), a mean over all tokens of the batch: r of the weights now and then."""
    trainer, _, policies = replaying(tmp_path, loss_type="dapo", learning_rate=1e-2)
    trainer.train()
    clipped = 0
    for now, inputs, loss in policies.given:
        total, count = 0.0, 0
        for row, advantage in enumerate(inputs["advantages"].tolist()):
            there = policies.logps(now, inputs, row)
            ratio = (there - inputs[OLD][row][: len(there)]).exp()
            bounded = ratio.clamp(0.8, 1.2)
            clipped += int((bounded != ratio).sum())
            total -= float(torch.minimum(ratio * advantage, bounded * advantage).sum())
            count += len(there)
        assert loss == pytest.approx(total / count, abs=2e-5)
    assert clipped, "the policies are so far apart that the clip acts"


def test_dead_groups_give_their_place_and_nothing_that_teaches_does(tmp_path: Path) -> None:
    trainer, recorder, _ = replaying(tmp_path, max_steps=8)
    trainer.train()
    replayed = 0
    for (step, batch), (_, logs, _) in zip(recorder.batches, recorder.steps, strict=True):
        lines = groups(batch, 4)
        thrown = [line for line in lines if line.get("thrown")]
        assert all(line["outcome"] != "spread" for line in thrown)
        assert logs["sampler/replayed_frac"] == pytest.approx(4 * len(thrown) / 16), "as many as came again"
        replayed += len(thrown)
        if thrown:
            assert 1 <= logs["sampler/replay_age"] <= step
            assert 0 <= logs["sampler/replay_outside_frac"] <= 1
        rewards = [one["reward"] for line in lines for one in line["completions"]]
        assert logs["reward"] == pytest.approx(sum(rewards) / len(rewards)), "of what was written in this step"
        tokens = [one["tokens"] for line in lines for one in line["completions"]]
        assert logs["completions/mean_length"] == pytest.approx(sum(tokens) / len(tokens))
    assert replayed


def test_a_phase_may_be_made_of_nothing_but_what_comes_again(tmp_path: Path) -> None:
    trainer, recorder, _ = replaying(tmp_path, max_steps=24, per_device_train_batch_size=8)
    buffer = trainer.rounds.replayed.buffer
    take = buffer.take
    buffer.take = lambda missing, step, rows: take(missing, step, rows) if missing == 8 else []  # or few are left then
    trainer.train()
    whole = [batch for _, batch in recorder.batches if batch.trained and not any(batch.trained)]
    assert whole, "both groups of a phase were dead and two were remembered"
    for batch in whole:
        assert len(batch.again) == 8
        assert sum(batch.again) == pytest.approx(0, abs=1e-5)
        assert any(batch.again)
    for _, batch in recorder.batches:
        assert len(batch.again) + sum(batch.trained or [True] * 8) == 8


def test_groups_that_are_made_otherwise_do_not_come_again(tmp_path: Path) -> None:
    trainer, _, _ = replaying(tmp_path, max_steps=2)
    trainer.train()
    trainer.rounds.save(tmp_path)
    assert trainer.rounds.replayed.buffer.remembered
    for changes in (
        {},
        {"num_generations": 8},
        {"data": rows(60)},
        {"sampling": {"replay": 4, "group_size": "spread"}},
    ):
        other, _, _ = replaying(tmp_path / "other", **changes)
        other.rounds.load(tmp_path)
        assert bool(other.rounds.replayed.buffer.remembered) == (not changes), changes


@pytest.mark.parametrize(
    ("changes", "outside"),
    [
        ({}, 2 / 4),  # 2 and 0.5 of 1.1, 2, 0.5, 1
        ({"importance_sampling_level": "sequence"}, 0.0),
        ({"loss_type": "cispo", "epsilon_high": 1.5}, 1 / 4),
        ({"loss_type": "sapo"}, None),
        ({"loss_type": "vespo"}, None),
    ],
    ids=str,
)
def test_outside_is_what_the_loss_clips(changes: dict[str, Any], outside: float | None) -> None:
    said: dict[str, Any] = {"loss_type": "dapo", "importance_sampling_level": "token"}
    trainer = SimpleNamespace(**said | {"epsilon_low": 0.2, "epsilon_high": 0.2} | changes)
    apart = [torch.tensor([1.1, 2.0]).log(), torch.tensor([0.5, 1.0]).log()]
    if changes.get("importance_sampling_level"):
        apart = [each / 4 for each in apart]
    assert _outside(trainer, apart) == outside


def remembered(row: int, step: int, completions: int = 4) -> Remembered:
    return Remembered(row, step, completions, {"of": row})


def test_a_buffer_gives_the_newest_once_and_forgets_the_old() -> None:
    buffer = Replay(groups=3, steps=2)
    for row, step in ((1, 0), (2, 1), (3, 2), (4, 2)):
        buffer.add(remembered(row, step))
    assert [group.row for group in buffer.remembered] == [2, 3, 4], "the oldest makes room"
    assert buffer.take(8, step=1) == [], "of this step or of later ones"
    assert [group.row for group in buffer.take(8, step=3)] == [4, 3]
    assert [group.row for group in buffer.take(8, step=3)] == [2], "each once"
    buffer.add(remembered(5, 3))
    assert buffer.take(8, step=6) == [], "written more than two steps ago"
    assert buffer.remembered == []


def test_a_buffer_gives_no_more_than_is_missing_and_no_row_twice() -> None:
    buffer = Replay(groups=8, steps=9)
    for row, size in ((1, 4), (2, 6), (1, 3), (3, 2)):
        buffer.add(remembered(row, 0, size))
    assert [(group.row, group.completions) for group in buffer.take(6, step=1, without=[3])] == [(1, 3)]
    assert [(group.row, group.completions) for group in buffer.take(6, step=1)] == [(3, 2), (1, 4)]
    again = Replay(groups=8, steps=9)
    again.load(buffer.state())
    assert again.remembered == buffer.remembered == [remembered(2, 0, 6)]
