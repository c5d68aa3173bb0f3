"""RunSpec -> GRPOConfig, and the check that what was built is what was chosen.

Every argument is passed, also those left at TRL's default: Unsloth's replacement of the class has other defaults
(learning rate 5e-5, adamw_8bit ...) and changes some values that were passed (scale_rewards with dr_grpo, epsilon_high
with dapo ...). `correct` puts back what the class has changed; `differences` names each field that does not hold what
was asked for, and the worker refuses to train on any.
"""

from __future__ import annotations

import dataclasses
import enum
from pathlib import Path
from typing import Any

from transformers.trainer_pt_utils import AcceleratorConfig
from trl import GRPOConfig

from trainer.plan import RunPlan
from trainer.spec import RunSpec

# What an engine may decide for itself, with the reason.
ENGINE_DECIDES = {
    "gradient_checkpointing_kwargs": "Unsloth's checkpointing is the reentrant one",
    "bf16_full_eval": "transformers' own evaluation is never run",
    "fp16_full_eval": "transformers' own evaluation is never run",
    "vllm_enable_sleep_mode": "model.standby asks for it, Unsloth knows which models can",
}


def choose(
    spec: RunSpec, plan: RunPlan, output_dir: Path, *, device: str, dtype: str, engine: str = "transformers"
) -> dict[str, Any]:
    """Every init argument of GRPOConfig with the value this run wants.

    device: "cpu" or "cuda". dtype: "float32", "bfloat16" or "float16"; engine: "transformers" or "unsloth"; all of
    them already resolved.
    """
    chosen = defaults_of(GRPOConfig) | spec.trl_arguments()
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
    if spec.grpo.multi_objective_aggregation == "normalize_then_sum":  # TRL sees every component, and must weigh them
        chosen["reward_weights"] = [part.weight / spec.reward.divide_by for part in spec.reward.components]
    if spec.model.fast_inference:
        chosen |= {
            "use_vllm": True,
            "vllm_mode": "colocate",
            "top_k": spec.generation.top_k or -1,  # off, in vLLM's words
            "vllm_gpu_memory_utilization": spec.model.gpu_memory_utilization,
        }
    elif chosen["use_vllm"] and chosen["vllm_max_model_length"] is None:
        # None takes all that the model can read, and vLLM's share may not hold the cache of a sequence that long.
        chosen["vllm_max_model_length"] = spec.data.max_prompt_length + spec.generation.max_completion_length
    if chosen["use_vllm"]:
        # The sequence masks of TRL sum over tokens and leave out long completions without a word (issue 4772).
        chosen["vllm_importance_sampling_mode"] = spec.trl.get("vllm_importance_sampling_mode", "token_truncate")
    if engine == "unsloth" and "router_aux_loss_coef" not in spec.trl:
        chosen["router_aux_loss_coef"] = 0.0  # None takes the model's own, and Unsloth cannot compute that loss
    if spec.grpo.beta > 0 and not spec.lora.enabled:  # TRL loads the reference by name; as the policy, under autocast
        chosen["model_init_kwargs"] = {"dtype": "float32", "revision": spec.model.revision} | (
            {"attn_implementation": spec.model.attn_implementation} if spec.model.attn_implementation else {}
        )
    if isinstance(chosen["parallelism_config"], dict):
        from accelerate.parallelism_config import ParallelismConfig

        chosen["parallelism_config"] = ParallelismConfig(**chosen["parallelism_config"])
    return chosen


def build(chosen: dict[str, Any], config_class: type = GRPOConfig) -> Any:
    """Construct the config (TRL's class or Unsloth's)."""
    return config_class(**chosen)


def stock(config_class: type) -> type:
    """TRL's own class: Unsloth rebinds its name to a subclass, so it is the last of that name."""
    name = config_class.__name__.removeprefix("Unsloth")
    return [cls for cls in config_class.__mro__ if cls.__name__ == name][-1]


def expected(chosen: dict[str, Any], config_class: type = GRPOConfig) -> dict[str, Any]:
    """What a config made of `chosen` must hold. Before the trainer: a new config resets accelerate's state.

    What was chosen must be there as it is. What was left at TRL's default must be what TRL's own class makes of it,
    which may follow from another choice (generation_batch_size, torch_compile_backend ...).
    """
    defaults, made = defaults_of(config_class), stock(config_class)(**chosen)
    return {
        name: getattr(made, name) if choice is None or choice == defaults[name] else choice
        for name, choice in chosen.items()
        if not (name in ENGINE_DECIDES and choice == defaults[name])
    }


def differences(config: Any, wanted: dict[str, Any]) -> list[tuple[str, Any, Any]]:
    """(argument, wanted, found) for every argument that `config` does not hold as `expected` says."""
    held = ((name, value, getattr(config, name)) for name, value in wanted.items())
    return [(name, value, found) for name, value, found in held if not _same(found, value)]


def correct(config: Any, wanted: dict[str, Any]) -> list[tuple[str, Any, Any]]:
    """Put back every argument the config's class has changed; (argument, wanted, found) of each."""
    changed = differences(config, wanted)
    for name, value, _ in changed:
        setattr(config, name, value)
    return changed


def accelerate_differences(accelerator: Any, args: Any) -> list[tuple[str, Any, Any]]:
    """(attribute, wanted, found) where accelerate built something else than one process that trains as `args` say.

    What it is not told it reads from the environment (accelerate 1.15, state.py `AcceleratorState`, accelerator.py
    `Accelerator`); args: the config of the trainer that holds it, checked before.
    """
    state = accelerator.state
    wanted = {
        "mixed_precision": "bf16" if args.bf16 else "fp16" if args.fp16 else "no",
        "num_processes": 1,
        "distributed_type": "NO",
        "device": args.device.type,
        "dynamo_backend": (args.torch_compile_backend or "no").upper() if args.torch_compile else "NO",
        "gradient_accumulation_steps": 1,  # transformers counts them itself
        "deepspeed_plugin": bool(args.deepspeed),
        "fsdp_plugin": bool(args.fsdp),
        "megatron_lm_plugin": False,
        "parallelism_config": args.parallelism_config,
    }
    found = {
        "mixed_precision": accelerator.mixed_precision,
        "num_processes": accelerator.num_processes,
        "distributed_type": accelerator.distributed_type.value,
        "device": accelerator.device.type,
        "dynamo_backend": state.dynamo_plugin.backend.value,
        "gradient_accumulation_steps": accelerator.gradient_accumulation_steps,
        "deepspeed_plugin": state.deepspeed_plugins is not None,
        "fsdp_plugin": getattr(state, "fsdp_plugin", None) is not None,
        "megatron_lm_plugin": getattr(state, "megatron_lm_plugin", None) is not None,
        "parallelism_config": accelerator.parallelism_config,
    }
    return [(name, value, found[name]) for name, value in wanted.items() if found[name] != value]


def defaults_of(config_class: type) -> dict[str, Any]:
    """TRL's default of every init argument."""
    return {
        field.name: field.default_factory() if callable(field.default_factory) else field.default
        for field in dataclasses.fields(stock(config_class))
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
