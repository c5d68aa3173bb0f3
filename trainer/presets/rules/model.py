"""Rules of the model, its adapters and the engine."""

from __future__ import annotations

from collections.abc import Iterator

from trainer.errors import Problem
from trainer.memory.shapes import BUILTIN, BUILTIN_CONFIGS
from trainer.presets.explain import shown
from trainer.presets.rules.registry import rule
from trainer.spec import RunSpec


@rule("model.load_in_4bit", "lora.enabled")
def _four_bit_needs_lora(spec: RunSpec) -> Iterator[Problem]:
    if spec.model.load_in_4bit and not spec.lora.enabled:
        what = "is true with lora.enabled = false: only adapters can be trained on 4-bit weights"
        yield Problem.plain("model.load_in_4bit", what, "lora.enabled = true, or model.load_in_4bit = false")


@rule("model.name")
def _builtin_model_exists(spec: RunSpec) -> Iterator[Problem]:
    name = spec.model.name
    if name.startswith(BUILTIN) and name not in BUILTIN_CONFIGS:
        fix = f"one of: {', '.join(BUILTIN_CONFIGS)}"
        yield Problem.plain("model.name", f"there is no built-in model {shown(name)}", fix)


@rule("model.name", "model.warm_start")
def _warm_start_is_for_builtin_models(spec: RunSpec) -> Iterator[Problem]:
    if spec.model.warm_start is not None and not spec.model.name.startswith(BUILTIN):
        what = f"is only for a builtin/ model; model.name is {shown(spec.model.name)}"
        yield Problem.plain("model.warm_start", what, "leave it out; on the command line: --set model.warm_start=")


@rule("model.gradient_checkpointing", "model.engine")
def _unsloth_checkpointing_needs_unsloth(spec: RunSpec) -> Iterator[Problem]:
    if spec.model.gradient_checkpointing == "unsloth" and spec.model.engine != "unsloth":
        what = f'is "unsloth" with model.engine = "{spec.model.engine}"'
        yield Problem.plain("model.gradient_checkpointing", what, "model.gradient_checkpointing = true")


@rule("model.fast_inference", "model.engine", "lora.enabled")
def _fast_inference_serves_the_adapter(spec: RunSpec) -> Iterator[Problem]:
    """Unsloth hands vLLM the adapter by request; without one there is nothing to hand over."""
    if not spec.model.fast_inference:
        return
    if spec.model.engine != "unsloth":
        what = f'is true with model.engine = "{spec.model.engine}": Unsloth shares its weights with vLLM'
        yield Problem.plain("model.fast_inference", what, 'model.engine = "unsloth"')
    if not spec.lora.enabled:
        what = "is true with lora.enabled = false: vLLM would go on with the untrained weights"
        yield Problem.plain("model.fast_inference", what, "lora.enabled = true, or model.fast_inference = false")


@rule("trl", "lora.enabled")
def _adapters_are_not_merged_each_step(spec: RunSpec) -> Iterator[Problem]:
    """TRL 1.14.2 `sync_weights` merges the adapter into the weights and unmerges it, at every generation."""
    if spec.trl.get("use_vllm") is True and spec.lora.enabled:
        what = "is true with LoRA: TRL merges the adapter into the weights each step, which rounds them more and more"
        yield Problem.plain("trl.use_vllm", what, 'model.fast_inference = true with model.engine = "unsloth"')


@rule("trl", "model.engine")
def _unsloth_has_no_router_loss(spec: RunSpec) -> Iterator[Problem]:
    if spec.model.engine == "unsloth" and spec.trl.get("router_aux_loss_coef"):
        what = f"is {shown(spec.trl['router_aux_loss_coef'])}; Unsloth cannot compute the loss of a router"
        yield Problem.plain("trl.router_aux_loss_coef", what, 'leave it out, or model.engine = "transformers"')


@rule("model.dtype", "model.device", "model.load_in_4bit", "lora.enabled")
def _float16_can_be_trained(spec: RunSpec) -> Iterator[Problem]:
    """transformers' gradient scaler unscales float32 gradients only; TRL makes adapters of 4-bit weights bfloat16."""
    if spec.model.dtype == "float16":
        reasons = {
            'with model.device = "cpu": it overflows there within a few steps': spec.model.device == "cpu",
            "with model.load_in_4bit: TRL trains those adapters in bfloat16": spec.model.load_in_4bit,
            "with lora.enabled = false: whole weights cannot be trained in it": not spec.lora.enabled,
        }
        for reason in (reason for reason, applies in reasons.items() if applies):
            yield Problem.plain("model.dtype", f'is "float16" {reason}', 'model.dtype = "auto"')
