"""An adapter that is trained further: the reference is the model with that adapter as it was, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.builders import HALF, Recorder, tiny_model, tiny_trainer
from trainer.grpo import reference
from trainer.grpo.reference import REF, TRAINED

TEMPERATURE = 1.5


def lora(**changes: Any) -> Any:
    from peft import LoraConfig

    settings = {"r": 4, "lora_alpha": 8, "target_modules": "all-linear", "task_type": "CAUSAL_LM"}
    return LoraConfig(**settings | changes)


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An adapter of the tiny model that says something else than its base."""
    from peft import get_peft_model

    folder = tmp_path_factory.mktemp("start")
    model = get_peft_model(tiny_model()[0], lora())
    generator = torch.Generator().manual_seed(1)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            parameter.data = 0.1 * torch.randn(parameter.shape, generator=generator)
    model.save_pretrained(folder)
    return folder


def make(folder: Path, start: Path, **changes: Any) -> tuple[Any, Recorder]:
    settings: dict[str, Any] = {
        "peft_config": lora(),
        "reward": HALF,
        "beta": 0.1,
        "learning_rate": 1e-2,
        "temperature": TEMPERATURE,
        "max_steps": 3,
    }
    trainer, recorder = tiny_trainer(folder, **settings | changes)
    assert trainer.take_adapter(start) == ([], [])
    return trainer, recorder


def watched(trainer: Any) -> list[dict[str, Any]]:
    """What the loss is given, from now on."""
    given: list[dict[str, Any]] = []
    inner: Callable[..., Any] = trainer.compute_loss

    def compute_loss(model: Any, inputs: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        given.append({name: value.clone() for name, value in inputs.items() if isinstance(value, torch.Tensor)})
        return inner(model, inputs, *args, **kwargs)

    trainer.compute_loss = compute_loss
    return given


@torch.no_grad()
def logps(model: Any, inputs: dict[str, Any]) -> torch.Tensor:
    """(B, T), one row at a time without padding, 0 where there is no token."""
    model.eval()
    found = torch.zeros(inputs["completion_ids"].shape)
    for row in range(len(found)):
        prompt = inputs["prompt_ids"][row][inputs["prompt_mask"][row].bool()]
        written = inputs["completion_ids"][row][: int(inputs["completion_mask"][row].sum())]
        logits = model(torch.cat([prompt, written])[None]).logits[0, len(prompt) - 1 : -1].float() / TEMPERATURE
        found[row, : len(written)] = logits.log_softmax(-1).gather(-1, written[:, None])[:, 0]
    return found


def weights(model: Any, name: str) -> dict[str, torch.Tensor]:
    from peft import get_peft_model_state_dict

    return {key: value.detach().clone() for key, value in get_peft_model_state_dict(model, adapter_name=name).items()}


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(value, other[key]) for key, value in one.items())


@pytest.mark.parametrize(("fast", "checkpointing"), [("auto", False), ("off", False), ("off", True)])
def test_the_reference_is_the_base_with_the_adapter_as_it_was(
    tmp_path: Path, start: Path, fast: str, checkpointing: bool
) -> None:
    from peft import PeftModel

    trainer, recorder = make(tmp_path, start, fast=fast, gradient_checkpointing=checkpointing)
    given = watched(trainer)
    before = weights(trainer.model, TRAINED)
    assert same(before, weights(trainer.model, REF))
    trainer.train()
    assert recorder.steps[0][1]["kl"] == 0 and recorder.steps[2][1]["kl"] > 0
    base = tiny_model()[0]
    adapted = PeftModel.from_pretrained(tiny_model()[0], start)
    apart = []
    for inputs in given:
        mask = inputs["completion_mask"].bool()
        seen = inputs["ref_per_token_logps"][mask]
        assert (seen - logps(adapted, inputs)[mask]).abs().max() < 1e-5
        apart.append(float((seen - logps(base, inputs)[mask]).abs().max()))
    assert len(given) == 3 and min(apart) > 0.1
    assert same(before, weights(trainer.model, REF)) and not same(before, weights(trainer.model, TRAINED))


def test_the_frozen_adapter_is_never_trained(tmp_path: Path, start: Path) -> None:
    trainer, _ = make(tmp_path, start, max_steps=1)
    trainer.train()
    frozen = {id(p) for name, p in trainer.model.named_parameters() if f".{REF}." in name}
    trained = {id(p) for name, p in trainer.model.named_parameters() if f".{TRAINED}." in name}
    held = {id(p) for group in trainer.optimizer.param_groups for p in group["params"]}
    assert held == trained and len(frozen) == len(trained)
    assert not any(p.requires_grad or p.grad is not None for p in trainer.model.parameters() if id(p) in frozen)
    assert trainer.model.active_adapter == TRAINED


def test_without_a_reference_there_is_no_second_adapter(tmp_path: Path, start: Path) -> None:
    trainer, _ = make(tmp_path, start, beta=0.0)
    assert set(trainer.model.peft_config) == {TRAINED}


def test_the_second_adapter_draws_nothing_from_the_random_state(tmp_path: Path, start: Path) -> None:
    trainer, _ = make(tmp_path, start, beta=0.0)
    before = torch.get_rng_state()
    reference.freeze_copy(trainer.model)
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("fast", ["auto", "off"])
def test_a_resumed_run_has_both_adapters_and_ends_with_the_same_weights(tmp_path: Path, start: Path, fast: str) -> None:
    saving = {"save_strategy": "steps", "save_steps": 1, "fast": fast}
    whole, _ = make(tmp_path, start, **saving)
    whole.train()
    folder = tmp_path / "checkpoint-1"
    assert reference.is_saved_in(folder) and (folder / "adapter_model.safetensors").is_file()
    resumed, recorder = make(tmp_path / "resumed", start, **saving)
    resumed.train(resume_from_checkpoint=str(folder))
    assert [step for step, _, _ in recorder.steps] == [2, 3]
    for name in (TRAINED, REF):
        assert same(weights(whole.model, name), weights(resumed.model, name)), name
    held = {id(p) for group in resumed.optimizer.param_groups for p in group["params"]}
    assert held == {id(p) for name, p in resumed.model.named_parameters() if f".{TRAINED}." in name}


def test_an_adapter_of_other_layers_is_told_by_the_weights_that_differ(tmp_path: Path, start: Path) -> None:
    few, _ = tiny_trainer(tmp_path, peft_config=lora(target_modules=["q_proj"]))
    missing, unexpected = few.take_adapter(start)
    assert missing == [] and unexpected and all("q_proj" not in name for name in unexpected)
    few.model.save_pretrained(tmp_path / "few")
    every, _ = tiny_trainer(tmp_path, peft_config=lora())
    missing, unexpected = every.take_adapter(tmp_path / "few")
    assert unexpected == [] and missing and all("q_proj" not in name for name in missing)


def test_on_four_bit_weights_it_has_the_precision_of_the_trained_one(tmp_path: Path) -> None:
    from peft import get_peft_model
    from transformers import AutoModelForCausalLM

    from trainer.engine.transformers_engine import keep_nf4_backward_exact, nf4

    model, _ = tiny_model()
    model.save_pretrained(tmp_path / "base")

    def quantised() -> Any:
        config = nf4(torch.float32, True)
        loaded = AutoModelForCausalLM.from_pretrained(
            tmp_path / "base", quantization_config=config, dtype=torch.float32, device_map={"": "cpu"}
        )
        keep_nf4_backward_exact(loaded)
        return loaded

    adapted = get_peft_model(quantised(), lora())
    for name, parameter in adapted.named_parameters():
        if "lora_B" in name:
            parameter.data = 0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1))
    adapted.save_pretrained(tmp_path / "start")
    trainer, recorder = make(tmp_path / "run", tmp_path / "start", model=quantised())
    dtypes = {p.dtype for name, p in trainer.model.named_parameters() if f".{REF}." in name}
    assert dtypes == {p.dtype for name, p in trainer.model.named_parameters() if f".{TRAINED}." in name}
    assert dtypes == {torch.bfloat16}
    trainer.train()
    assert recorder.steps[0][1]["kl"] == 0 and recorder.steps[2][1]["kl"] > 0
