"""Online RFT against its formula: every right completion counts 1, every other 0 (arXiv 2402.03300, A.1.3)."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import TrainerCallback

from tests.builders import HALF, Recorder, tiny_model, tiny_trainer
from trainer.grpo import advantages
from trainer.run.rollouts import groups


class _Gradient(TrainerCallback):  # type: ignore[misc]
    def __init__(self) -> None:
        self.found: dict[str, torch.Tensor] = {}

    def on_pre_optimizer_step(self, *args: Any, model: Any, **kwargs: Any) -> None:
        self.found = {name: each.grad.clone() for name, each in model.named_parameters() if each.grad is not None}


def one_step(folder: Path, fast: str) -> tuple[dict[str, torch.Tensor], Recorder, dict[str, Any]]:
    """(gradient, what it told, the batch as tensors) of one step from the same weights and the same samples."""
    trainer, recorder = tiny_trainer(
        folder,
        reward=HALF.model_copy(update={"correct": "format_regex"}),
        advantage="online_rft",
        loss_type="grpo",
        max_steps=1,
        max_grad_norm=0.0,
        max_completion_length=6,
        per_device_train_batch_size=16,
        fast=fast,
    )
    gradient, seen = _Gradient(), []
    trainer.add_callback(gradient)
    compute = trainer.compute_loss

    def watched(model: Any, inputs: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        seen.append({name: value for name, value in inputs.items() if torch.is_tensor(value)})
        return compute(model, inputs, *args, **kwargs)

    trainer.compute_loss = watched
    trainer.train()
    return gradient.found, recorder, seen[0]


@pytest.mark.parametrize("fast", ["auto", "off"])
def test_the_gradient_is_that_of_the_formula(fast: str, tmp_path: Path) -> None:
    """-1/N sum over right completions of 1/|o| sum over tokens of grad log p: one sequence at a time, no padding.

    On the fast path as well as off it, each with its own samples: both draw them in another order.
    """
    gradient, recorder, inputs = one_step(tmp_path, fast)
    ((_, batch),) = recorder.batches
    assert 0 < sum(map(bool, batch.correct)) < len(batch.correct)
    assert list(batch.advantages) == [1.0 if right else 0.0 for right in batch.correct]
    model, _ = tiny_model()
    loss = torch.zeros(())
    for row in range(16):
        asked = inputs["prompt_ids"][row][inputs["prompt_mask"][row].bool()]
        said = inputs["completion_ids"][row][inputs["completion_mask"][row].bool()]
        if inputs["advantages"][row] == 0:
            continue
        logits = model(input_ids=torch.cat([asked, said])[None]).logits[0, len(asked) - 1 : -1]
        loss = loss - torch.log_softmax(logits, -1).gather(1, said[:, None]).mean() / 16
    assert int((inputs["advantages"] == 1).sum()) == sum(map(bool, batch.correct))
    loss.backward()
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(gradient[name], parameter.grad, atol=2e-6, rtol=1e-3)


def test_a_group_that_is_all_right_teaches_and_one_that_is_all_wrong_does_not(tmp_path: Path) -> None:
    _, recorder, _ = one_step(tmp_path, "auto")
    ((_, batch),) = recorder.batches
    right = [*[True] * 4, *[False] * 4, True, *[False] * 3, None, *[True] * 3]
    rewards = [None if each is None else float(each) for each in right]
    values = advantages.of_right_ones(right).tolist()
    changed = dataclasses.replace(batch, correct=right, rewards=rewards, advantages=values)
    outcomes = [line["outcome"] for line in groups(changed, 4)]
    assert outcomes[0] == "spread"
    assert outcomes[1] == "all_wrong"
    assert outcomes[2:] == ["spread", "spread"]


def test_coefficients() -> None:
    assert advantages.of_right_ones([True, False, None]).tolist() == [1.0, 0.0, 0.0]
