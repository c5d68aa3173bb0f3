"""trainer.grpo.policy_sync: rollouts of the trained weights pass, others are refused, nothing is changed."""

from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig

from tests.builders import rows, tiny_trainer
from trainer.errors import EngineError
from trainer.grpo import policy_sync

LORA = LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM")


def weights(trainer: Any) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in trainer.model.state_dict().items()}


@pytest.mark.parametrize("peft_config", [None, LORA], ids=["whole weights", "LoRA"])
def test_rollouts_of_the_trained_weights_pass_and_nothing_is_changed(tmp_path: Path, peft_config: Any) -> None:
    trainer, _ = tiny_trainer(tmp_path, peft_config=peft_config)
    before, random = weights(trainer), torch.get_rng_state()
    evidence = policy_sync.check(trainer, rows())
    assert evidence > 0.1
    after = weights(trainer)
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert torch.equal(random, torch.get_rng_state())
    assert trainer.generation_config.max_new_tokens == 8


def test_an_engine_that_samples_from_the_base_model_is_refused(tmp_path: Path) -> None:
    """As Unsloth once did: the adapter is trained, the rollouts come from the model without it."""
    trainer, _ = tiny_trainer(tmp_path, peft_config=LORA)
    inner = trainer._generate_single_turn

    def from_base(*args: Any, **kwargs: Any) -> Any:
        with trainer.model.disable_adapter():
            return inner(*args, **kwargs)

    trainer._generate_single_turn = from_base
    with pytest.raises(EngineError, match="do not follow the weights that are trained"):
        policy_sync.check(trainer, rows())


def test_trained_weights_without_any_effect_are_refused(tmp_path: Path) -> None:
    trainer, _ = tiny_trainer(tmp_path, peft_config=LORA)
    trainer.model.base_model.disable_adapter_layers()
    for name, parameter in trainer.model.named_parameters():
        parameter.requires_grad_("lora_" in name)
    with pytest.raises(EngineError, match="does not change when the trained weights do"):
        policy_sync.check(trainer, rows())
