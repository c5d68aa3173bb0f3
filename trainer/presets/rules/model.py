"""Rules of the model, its adapters and the engine."""

from __future__ import annotations

from collections.abc import Iterator

from trainer.errors import Problem
from trainer.memory.embedded import BUILTIN, BUILTIN_CONFIGS, knows_nothing
from trainer.presets.explain import shown
from trainer.presets.rules.registry import rule
from trainer.spec import RunSpec

VLLM_MOST_RANK = 512  # the largest of `MaxLoRARanks` (vllm/config/lora.py, vLLM 0.30)


@rule("model.load_in_4bit", "lora.enabled")
def _four_bit_needs_lora(spec: RunSpec) -> Iterator[Problem]:
    if spec.model.load_in_4bit and not spec.lora.enabled:
        yield Problem("presets.four_bit_without_lora", "model.load_in_4bit")


@rule("model.adapter", "lora.enabled")
def _an_adapter_starts_from_one(spec: RunSpec) -> Iterator[Problem]:
    if spec.model.adapter is not None and not spec.lora.enabled:
        yield Problem("presets.start_without_lora", "model.adapter")


@rule("grpo.ref_update_steps", "grpo.beta")
def _a_reference_that_moves_is_read(spec: RunSpec) -> Iterator[Problem]:
    if spec.grpo.ref_update_steps is not None and spec.grpo.beta == 0:
        yield Problem("presets.reference_without_beta", "grpo.ref_update_steps", seen=spec.grpo.ref_update_steps)


@rule("model.name")
def _builtin_model_exists(spec: RunSpec) -> Iterator[Problem]:
    name = spec.model.name
    if name.startswith(BUILTIN) and name not in BUILTIN_CONFIGS:
        yield Problem("presets.no_builtin_model", "model.name", name=shown(name), known=", ".join(BUILTIN_CONFIGS))


@rule("model.name", "model.warm_start")
def _warm_start_is_for_models_that_know_nothing(spec: RunSpec) -> Iterator[Problem]:
    if spec.model.warm_start is not None and not knows_nothing(spec.model.name):
        yield Problem("presets.warm_start_of_hub_model", "model.warm_start", name=shown(spec.model.name))


@rule("model.gradient_checkpointing", "model.engine")
def _unsloth_checkpointing_needs_unsloth(spec: RunSpec) -> Iterator[Problem]:
    if spec.model.gradient_checkpointing == "unsloth" and spec.model.engine != "unsloth":
        yield Problem("presets.unsloth_checkpointing", "model.gradient_checkpointing", engine=spec.model.engine)


@rule("model.fast_inference", "model.engine", "lora.enabled")
def _fast_inference_serves_the_adapter(spec: RunSpec) -> Iterator[Problem]:
    """Unsloth hands vLLM the adapter by request; without one there is nothing to hand over."""
    if not spec.model.fast_inference:
        return
    if spec.model.engine != "unsloth":
        yield Problem("presets.vllm_without_unsloth", "model.fast_inference", engine=spec.model.engine)
    if not spec.lora.enabled:
        yield Problem("presets.vllm_without_lora", "model.fast_inference")


@rule("trl", "model.engine", "lora.enabled", "lora.r")
def _vllm_serves_the_adapter_by_request(spec: RunSpec) -> Iterator[Problem]:
    """What trainer/grpo/vllm_rollouts.py can do with an adapter, and where TRL 1.14.2 `sync_weights` would merge it."""
    if spec.trl.get("use_vllm") is not True or not spec.lora.enabled:
        return
    if spec.model.engine == "unsloth":
        yield Problem("presets.vllm_of_trl_under_unsloth", "trl.use_vllm")
    if spec.trl.get("vllm_mode", "colocate") == "server":
        yield Problem("presets.adapter_merged_each_step", "trl.vllm_mode")
    if spec.trl.get("vllm_enable_sleep_mode") is True:
        yield Problem("presets.sleep_loses_the_base", "trl.vllm_enable_sleep_mode")
    if spec.lora.r > VLLM_MOST_RANK:
        yield Problem("presets.rank_above_vllms", "lora.r", seen=spec.lora.r, most=VLLM_MOST_RANK)


@rule("trl", "model.engine")
def _unsloth_has_no_router_loss(spec: RunSpec) -> Iterator[Problem]:
    if spec.model.engine == "unsloth" and spec.trl.get("router_aux_loss_coef"):
        seen = shown(spec.trl["router_aux_loss_coef"])
        yield Problem("presets.router_loss_under_unsloth", "trl.router_aux_loss_coef", seen=seen)


@rule("model.dtype", "model.device", "model.load_in_4bit", "lora.enabled")
def _float16_can_be_trained(spec: RunSpec) -> Iterator[Problem]:
    """transformers' gradient scaler unscales float32 gradients only; TRL makes adapters of 4-bit weights bfloat16."""
    if spec.model.dtype == "float16":
        if spec.model.device == "cpu":
            yield Problem("presets.float16_on_cpu", "model.dtype")
        if spec.model.load_in_4bit:
            yield Problem("presets.float16_with_4bit", "model.dtype")
        if not spec.lora.enabled:
            yield Problem("presets.float16_whole_weights", "model.dtype")
