"""What recovery after out-of-memory rests on: a step is the same in smaller micro-batches, or known not to be."""

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.builders import HALF, tiny_trainer
from trainer.spec import Component, Data, Grpo, Model, Reward, RunSpec
from trainer.worker import recovery

LOSSES = ("grpo", "dr_grpo", "dapo", "bnpo", "cispo", "sapo", "vespo")


def updated(folder: Path, micro: int, accumulation: int, **changes: Any) -> torch.Tensor:
    """All weights after one plain gradient step."""
    trainer, recorder = tiny_trainer(
        folder,
        per_device_train_batch_size=micro,
        gradient_accumulation_steps=accumulation,
        max_steps=1,
        optim="sgd",
        learning_rate=1.0,
        max_grad_norm=0.0,
        reward=HALF,
        **changes,
    )
    trainer.train()
    assert any(recorder.batches[0][1].advantages)
    return torch.cat([weight.detach().flatten() for weight in trainer.model.parameters()])


def difference(folder: Path, **changes: Any) -> float:
    """Of the step in one micro-batch of 16 and in two of 8, relative to the step."""
    before = torch.cat([weight.detach().flatten() for weight in tiny_trainer(folder / "0")[0].model.parameters()])
    whole, halved = updated(folder / "1", 16, 1, **changes), updated(folder / "2", 8, 2, **changes)
    return float((whole - halved).norm() / (whole - before).norm())


def spec(loss: str, **trl: Any) -> RunSpec:
    return RunSpec(
        model=Model(name="builtin/tiny-qwen3"),
        data=Data(path="rows.jsonl"),
        reward=Reward(components=[Component(function="exact_match")]),
        grpo=Grpo.model_validate({"loss_type": loss}),
        trl=trl,
    )


@pytest.mark.parametrize("loss", LOSSES)
def test_the_step_is_the_same_where_recovery_says_so(tmp_path: Path, loss: str) -> None:
    found = difference(tmp_path, loss_type=loss)
    assert (found < 1e-4) == recovery.same_step(spec(loss)), found


def test_a_mean_over_the_micro_batch_is_not_the_same(tmp_path: Path) -> None:
    assert difference(tmp_path, top_entropy_quantile=0.2) > 1e-2
    assert not recovery.same_step(spec("dapo", top_entropy_quantile=0.2))
