"""What `model.engine = "auto"` becomes: one answer for the estimate, the checks before a run, and the worker.

Imports the spec, the names of built-in models and text.
"""

from __future__ import annotations

from trainer.memory.embedded import BUILTIN
from trainer.spec import RunSpec
from trainer.text import Message


def why_not_unsloth(spec: RunSpec, on_gpu: bool, has_unsloth: bool) -> Message | None:
    """Why Unsloth does not load this model here, without a full stop; None when it does.

    on_gpu: the run uses an NVIDIA GPU. has_unsloth: the package is installed.
    """
    if not on_gpu:
        return Message("presets.no_gpu")
    if not has_unsloth:
        return Message("presets.no_unsloth")
    if spec.model.name.startswith(BUILTIN):
        return Message("presets.too_small_for_unsloth")
    if spec.trl.get("use_vllm") is True and spec.lora.enabled:
        return Message("presets.vllm_of_trl")
    if spec.run.method in ("dpo", "reward_model"):
        return Message(f"presets.{spec.run.method}_without_unsloth")
    if spec.reward.learning is not None:
        return Message("presets.learner_without_unsloth")
    if spec.episode.is_on and spec.model.max_seq_length is None:
        return Message("presets.episodes_without_unsloth")
    if spec.episode.has_plans:
        return Message("presets.plans_without_unsloth")
    if spec.model.dtype == "float32":
        return Message("presets.unsloth_has_no_float32")
    return None
