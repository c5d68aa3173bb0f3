"""An adapter that is trained further: the reference is the model with that adapter as it was, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import TrainerCallback

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


# ---- a reference that moves


def moving(folder: Path, kind: str, base: Path, **changes: Any) -> tuple[Any, Recorder]:
    """A trainer whose reference becomes the policy after steps 2 and 4 of 5."""
    from transformers import AutoModelForCausalLM

    settings: dict[str, Any] = {
        "model": AutoModelForCausalLM.from_pretrained(base),
        "peft_config": lora() if kind == "lora" else None,
        "reward": HALF,
        "beta": 0.1,
        "learning_rate": 1e-2 if kind == "lora" else 1e-3,
        "temperature": TEMPERATURE,
        "max_steps": 5,
        "ref_update_steps": 2,
    }
    if kind == "whole":  # TRL loads the reference by the model's name
        settings["model_init_kwargs"] = {"dtype": "float32"}
    return tiny_trainer(folder, **settings | changes)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("base")
    tiny_model()[0].save_pretrained(folder)
    return folder


class Keeping(TrainerCallback):
    """The policy's weights at the start and at the end of each step."""

    def __init__(self, model: Any) -> None:
        self.kept = [self.now(model)]

    def now(self, model: Any) -> dict[str, torch.Tensor]:
        names = {name for name, p in model.named_parameters() if f".{REF}." not in name}
        return {name: value.clone() for name, value in model.state_dict().items() if name in names}

    def on_step_end(self, *args: Any, model: Any, **kwargs: Any) -> None:
        self.kept.append(self.now(model))


@pytest.mark.parametrize("kind", ["lora", "whole"])
def test_the_reference_becomes_the_policy_of_the_boundary(tmp_path: Path, kind: str, base: Path) -> None:
    """Against the weights kept there, put into a model of its own."""
    trainer, recorder = moving(tmp_path, kind, base)
    keeping = Keeping(trainer.model)
    trainer.add_callback(keeping)
    given = watched(trainer)
    trainer.train()
    other = moving(tmp_path / "other", kind, base, ref_update_steps=None)[0].model
    for number, inputs in enumerate(given, 1):
        moved = (number - 1) // 2 * 2
        other.load_state_dict(keeping.kept[moved], strict=False)
        mask = inputs["completion_mask"].bool()
        seen = inputs["ref_per_token_logps"][mask]
        assert (seen - logps(other, inputs)[mask]).abs().max() < 1e-5, number
        if moved:
            other.load_state_dict(keeping.kept[0], strict=False)
            assert (seen - logps(other, inputs)[mask]).abs().max() > 1e-3, number
        assert recorder.steps[number - 1][1]["reference_step"] == moved
    kl = [logs["kl"] for _, logs, _ in recorder.steps]
    assert kl[0] == kl[2] == kl[4] == 0 and kl[1] > 0 and kl[3] > 0


@pytest.mark.parametrize("kind", ["lora", "whole"])
def test_a_resumed_run_has_the_reference_where_it_was(tmp_path: Path, kind: str, base: Path) -> None:
    saving = {"save_strategy": "steps", "save_steps": 1}
    whole, _ = moving(tmp_path, kind, base, **saving)
    whole.train()
    for step in (2, 3):
        resumed, recorder = moving(tmp_path / f"from-{step}", kind, base, **saving)
        resumed.train(resume_from_checkpoint=str(tmp_path / f"checkpoint-{step}"))
        assert recorder.steps[0][0] == step + 1
        models = [(whole.model, resumed.model)]
        models += [(whole.ref_model, resumed.ref_model)] if kind == "whole" else []
        for one, another in models:
            assert same(one.state_dict(), another.state_dict())


def test_a_new_adapter_starts_with_a_reference_that_is_the_base(tmp_path: Path, base: Path) -> None:
    trainer, _ = moving(tmp_path, "lora", base)
    assert all(not value.any() for name, value in weights(trainer.model, REF).items() if "lora_B" in name)
