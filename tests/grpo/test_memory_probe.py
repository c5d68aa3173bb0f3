"""trainer.grpo.memory_probe: the largest step is really run, and nothing of it is left."""

from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig

from tests.builders import HALF, steps_in_backward, tiny_trainer
from trainer.fast import update
from trainer.grpo import memory_probe
from trainer.grpo.memory_probe import Probe, ProbeMemory

LORA = LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM")
PROMPT = [1, 4, 70, 71, 72, 2, 5]


@pytest.fixture(autouse=True)
def prompts_are_shared(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also such short ones: what the probe opens it has to close."""
    monkeypatch.setitem(update.CALL, "cpu", 1)


def training(folder: Path, **changes: Any) -> tuple[Any, Any]:
    return tiny_trainer(folder, reward=HALF, **changes)


def probing(folder: Path, **changes: Any) -> tuple[Any, list[Probe | Exception], Any]:
    """(trainer with the probe, what it reported in the end, the recorder)."""
    trainer, recorder = training(folder, **changes)
    found: list[Probe | Exception] = []
    trainer.add_callback(ProbeMemory(trainer, PROMPT, lambda result: found.append(result) if result else None))
    return trainer, found, recorder


# Each costs two runs. What shares its way with one of OFTEN is left to CI.
OFTEN: list[dict[str, Any]] = [
    {"loss_type": "dapo"},
    {"loss_type": "luspo", "importance_sampling_level": "sequence"},
    {"beta": 0.1, "peft_config": LORA},
    {"use_adaptive_entropy": True, "entropy_target": 0.5},
    {"gradient_accumulation_steps": 2, "steps_per_generation": 4, "max_steps": 2},
]
SELDOM: list[dict[str, Any]] = [
    *({"loss_type": name} for name in ("grpo", "dr_grpo", "bnpo", "cispo", "sapo", "vespo")),
    {"top_entropy_quantile": 0.5},
    {"delta": 4.0, "loss_type": "grpo"},
    {"off_policy_mask_threshold": 0.5, "loss_type": "grpo"},
]


@pytest.mark.parametrize("changes", [*OFTEN, *(pytest.param(changes, marks=pytest.mark.slow) for changes in SELDOM)])
def test_a_run_with_the_probe_is_the_run_without_it(tmp_path: Path, changes: dict[str, Any]) -> None:
    plain, recorder = training(tmp_path / "plain", **changes)
    plain.train()
    probed, found, probed_recorder = probing(tmp_path / "probed", **changes)
    probed.train()
    (probe,) = found
    assert isinstance(probe, Probe), probe
    assert probe.update_gib > 0
    assert any(logs["grad_norm"] > 0 for _, logs, _ in recorder.steps)
    for (_, logs, _), (_, other, _) in zip(recorder.steps, probed_recorder.steps, strict=True):
        assert logs["loss"] == other["loss"]
        assert logs.get("reward") == other.get("reward")  # none where nothing was generated
    weights, others = plain.model.state_dict(), probed.model.state_dict()
    assert all(torch.equal(weights[name], others[name]) for name in weights)


def test_an_optimizer_that_steps_inside_the_backward_pass_is_held_back_and_its_schedule_too(tmp_path: Path) -> None:
    changes: dict[str, Any] = {"optim": "galore_adamw_layerwise", "lr_scheduler_type": "linear", "max_steps": 3}
    plain, _ = training(tmp_path / "plain", **changes)
    steps_in_backward(plain, 1e-3)
    plain.train()
    probed, found, _ = probing(tmp_path / "probed", **changes)
    steps_in_backward(probed, 1e-3)
    probed.train()
    assert isinstance(found[0], Probe), found
    weights, others = plain.model.state_dict(), probed.model.state_dict()
    assert all(torch.equal(weights[name], others[name]) for name in weights)
    begun, _ = training(tmp_path / "begun", **changes)
    assert not any(torch.equal(weights[name], value) for name, value in begun.model.state_dict().items())


def test_both_halves_have_their_full_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trainer, found, _ = probing(tmp_path, gradient_accumulation_steps=2)
    generated: list[torch.Size] = []
    losses: list[tuple[torch.Size, torch.Size]] = []
    generate, loss = trainer.model.generate, trainer.compute_loss

    def watch_generate(*args: Any, **kwargs: Any) -> Any:
        output = generate(*args, **kwargs)
        generated.append(output.shape)
        return output

    def watch_loss(model: Any, inputs: Any, **kwargs: Any) -> Any:
        losses.append((inputs["prompt_ids"].shape, inputs["completion_ids"].shape))
        return loss(model, inputs, **kwargs)

    monkeypatch.setattr(trainer.model, "generate", watch_generate)
    monkeypatch.setattr(trainer, "compute_loss", watch_loss)
    trainer.train()
    assert isinstance(found[0], Probe)
    assert generated[0] == (16, len(PROMPT) + 8)  # the whole generation batch, to the last token
    assert losses[:2] == [((8, len(PROMPT)), (8, 8))] * 2  # two micro-batches: the second beside the first's gradients


@pytest.mark.parametrize(("fast", "different"), [("auto", 2), ("off", 7)])  # of 8 rows; the prompt has 7 tokens to turn
def test_a_micro_batch_has_as_many_prompts_as_it_can_have(
    fast: str, different: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer, found, _ = probing(tmp_path, fast=fast, max_steps=1)
    seen: list[int] = []
    loss = trainer.compute_loss

    def watch(model: Any, inputs: Any, **kwargs: Any) -> Any:
        seen.append(len({tuple(row) for row in inputs["prompt_ids"].tolist()}))
        return loss(model, inputs, **kwargs)

    monkeypatch.setattr(trainer, "compute_loss", watch)
    trainer.train()
    assert isinstance(found[0], Probe)
    assert seen[0] == different


def test_running_out_of_memory_ends_the_attempt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trainer, found, _ = probing(tmp_path)
    error = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
    monkeypatch.setattr(memory_probe, "_update", lambda *_: (_ for _ in ()).throw(error))
    with pytest.raises(torch.OutOfMemoryError):
        trainer.train()
    assert found == []


def test_a_stop_that_was_asked_for_ends_it_before_the_first_step(tmp_path: Path) -> None:
    class Asked(Exception):
        pass

    def check() -> None:
        raise Asked

    trainer, recorder = training(tmp_path)
    said: list[Any] = []
    trainer.add_callback(ProbeMemory(trainer, PROMPT, said.append, check))
    with pytest.raises(Asked):
        trainer.train()
    assert said == [None]  # it had said that it begins
    assert recorder.steps == []


def test_a_shortcoming_of_the_probe_does_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trainer, found, recorder = probing(tmp_path)
    monkeypatch.setattr(memory_probe, "_update", lambda *_: (_ for _ in ()).throw(KeyError("new in TRL")))
    trainer.train()
    assert isinstance(found[0], KeyError)
    assert len(recorder.steps) == 2
