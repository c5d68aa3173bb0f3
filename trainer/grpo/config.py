"""RunSpec -> GRPOConfig, and the check that what was built is what was chosen.

Every argument is passed, also those left at TRL's default: Unsloth's replacement of the class has other defaults
(learning rate 5e-5, adamw_8bit ...) and changes some values after construction. `differences` names each field that
does not hold what was asked for; the worker refuses to train on any.
"""

from __future__ import annotations

import dataclasses
import enum
from pathlib import Path
from typing import Any

from transformers.trainer_pt_utils import AcceleratorConfig
from trl import GRPOConfig as TrlGRPOConfig

from trainer.plan import RunPlan
from trainer.spec import RunSpec

# Derived by GRPOConfig from others when left None, so "None was chosen" does not mean "None is there".
DERIVED_WHEN_NONE = {"steps_per_generation", "generation_batch_size", "accelerator_config"}


def choose(spec: RunSpec, plan: RunPlan, output_dir: Path, *, device: str, dtype: str) -> dict[str, Any]:
    """Every init argument of GRPOConfig with the value this run wants.

    device: "cpu" or "cuda". dtype: "float32", "bfloat16" or "float16", already resolved.
    """
    defaults = {
        field.name: field.default_factory() if callable(field.default_factory) else field.default
        for field in dataclasses.fields(TrlGRPOConfig)
        if field.init
    }
    chosen = defaults | spec.trl_arguments()
    chosen |= {
        "output_dir": str(output_dir),
        "max_steps": plan.optimizer_steps,
        "save_steps": plan.save_steps,
        "report_to": "none",  # mirrors are fed from the event log
        "use_cpu": device == "cpu",
        "bf16": dtype == "bfloat16" and device != "cpu",
        "fp16": dtype == "float16",
        "disable_tqdm": True,
        "gradient_checkpointing": bool(spec.model.gradient_checkpointing),
    }
    if device == "cpu":  # pinning needs a GPU; torch warns at every step otherwise
        chosen["dataloader_pin_memory"] = spec.trl.get("dataloader_pin_memory", False)
    if spec.grpo.beta > 0 and not spec.lora.enabled:  # TRL loads the reference model by name, in these terms
        chosen["model_init_kwargs"] = {"dtype": dtype, "revision": spec.model.revision} | (
            {"attn_implementation": spec.model.attn_implementation} if spec.model.attn_implementation else {}
        )
    if isinstance(chosen["parallelism_config"], dict):
        from accelerate.parallelism_config import ParallelismConfig

        chosen["parallelism_config"] = ParallelismConfig(**chosen["parallelism_config"])
    return chosen


def build(chosen: dict[str, Any], config_class: type = TrlGRPOConfig) -> Any:
    """Construct the config (TRL's class or Unsloth's)."""
    return config_class(**chosen)


def differences(config: Any, chosen: dict[str, Any]) -> list[tuple[str, Any, Any]]:
    """(field, chosen, found) for every argument of `chosen` that `config` does not hold."""
    found = []
    for name, wanted in chosen.items():
        value = getattr(config, name)
        if wanted is None and name in DERIVED_WHEN_NONE:
            continue
        if _plain(value) != _plain(wanted):
            found.append((name, wanted, value))
    return found


def _plain(value: Any) -> Any:
    """The value as a preset would write it: enums by name, "none" as an empty list, a string of one as itself."""
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, AcceleratorConfig):
        return value.to_dict()
    if value in ("none", ["none"], None, [], ""):
        return None
    if isinstance(value, list):
        return [_plain(part) for part in value]
    return value
