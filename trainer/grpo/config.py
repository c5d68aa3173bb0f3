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


def choose(spec: RunSpec, plan: RunPlan, output_dir: Path, *, device: str, dtype: str) -> dict[str, Any]:
    """Every init argument of GRPOConfig with the value this run wants.

    device: "cpu" or "cuda". dtype: "float32", "bfloat16" or "float16", already resolved.
    """
    chosen = _defaults() | spec.trl_arguments()
    chosen |= {
        "output_dir": str(output_dir),
        "max_steps": plan.optimizer_steps,
        "save_steps": plan.save_steps,
        "report_to": "none",  # mirrors are fed from the event log
        "use_cpu": device == "cpu",
        "bf16": dtype == "bfloat16" and device != "cpu",
        "fp16": dtype == "float16",
        "gradient_checkpointing": bool(spec.model.gradient_checkpointing),
    }
    if spec.grpo.beta > 0 and not spec.lora.enabled:  # TRL loads the reference by name; as the policy, under autocast
        chosen["model_init_kwargs"] = {"dtype": "float32", "revision": spec.model.revision} | (
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
    """(argument, wanted, found) for every argument of `chosen` that `config` does not hold.

    What was chosen must be there as it is. What was left at TRL's default must be what TRL's own class makes of it,
    which may follow from another choice (generation_batch_size, torch_compile_backend ...).
    """
    defaults, stock = _defaults(), TrlGRPOConfig(**chosen)
    found = []
    for name, choice in chosen.items():
        wanted = getattr(stock, name) if choice is None or choice == defaults[name] else choice
        value = getattr(config, name)
        if not _same(value, wanted):
            found.append((name, wanted, value))
    return found


def _defaults() -> dict[str, Any]:
    """TRL's default of every init argument of GRPOConfig."""
    return {
        field.name: field.default_factory() if callable(field.default_factory) else field.default
        for field in dataclasses.fields(TrlGRPOConfig)
        if field.init
    }


def _same(value: Any, wanted: Any) -> bool:
    """Equal, where the config may hold an object or a list for what a preset writes as a table or a name."""
    value, wanted = _plain(value), _plain(wanted)
    if isinstance(value, dict) and isinstance(wanted, dict):
        return all(value.get(key) == part for key, part in wanted.items())
    return bool(value == wanted or value == [wanted])


def _plain(value: Any) -> Any:
    """The value as a preset would write it: enums by name, config objects as tables, "none" and [] as None."""
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, AcceleratorConfig):
        return value.to_dict()
    if value in ("none", ["none"], None, [], ""):
        return None
    if isinstance(value, list):
        return [_plain(part) for part in value]
    return value
