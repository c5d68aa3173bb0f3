"""RunSpec -> SFTConfig, DPOConfig or RewardConfig of TRL 1.14.2: what every training has as in GRPO's config, and the
method's own.

`correct` and `differences` of trainer.grpo.config hold for these as well.
"""

from __future__ import annotations

from typing import Any

from trl import DPOConfig, RewardConfig, SFTConfig

from trainer.spec import RunSpec, training_arguments


def config_class(spec: RunSpec) -> type:
    """The one that is bound now: Unsloth puts its own in place of TRL's."""
    found: type = {"dpo": DPOConfig, "reward_model": RewardConfig}.get(spec.run.method, SFTConfig)
    return found


def choose(spec: RunSpec, of_grpo: dict[str, Any], defaults: dict[str, Any]) -> dict[str, Any]:
    """Every init argument with the value this run wants. of_grpo: as trainer.grpo.config.choose has it. defaults: those
    of the method's class."""
    chosen = defaults | {name: value for name, value in of_grpo.items() if name in training_arguments()}
    chosen["max_length"] = None  # the rows were fitted, and a cut one would have no end
    if not spec.data.shuffle_dataset:
        chosen["train_sampling_strategy"] = "sequential"
    if spec.run.method == "dpo":
        return chosen | {"beta": spec.dpo.beta, "loss_type": [spec.dpo.loss_type]} | _reference(spec)
    if spec.is_reward_model:
        return chosen
    return chosen | {"completion_only_loss": True, "loss_type": "nll"}


def _reference(spec: RunSpec) -> dict[str, Any]:
    """TRL loads that of whole weights by the model's name (dpo_trainer.py `__init__`): it must be the same model. With
    an adapter it is the model without."""
    if spec.lora.enabled:
        return {}
    model = spec.model
    options = {"dtype": "float32", "revision": model.revision, "trust_remote_code": model.trust_remote_code}
    if model.attn_implementation:
        options["attn_implementation"] = model.attn_implementation
    return {"model_init_kwargs": options}
