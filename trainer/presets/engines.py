"""What `model.engine = "auto"` becomes: one answer for the estimate, the checks before a run, and the worker.

Imports the spec and the names of built-in models only.
"""

from __future__ import annotations

from trainer.memory.shapes import BUILTIN
from trainer.spec import RunSpec


def why_not_unsloth(spec: RunSpec, on_gpu: bool, has_unsloth: bool) -> str | None:
    """Why Unsloth does not load this model here, as the end of a sentence; None when it does.

    on_gpu: the run uses an NVIDIA GPU. has_unsloth: the package is installed.
    """
    if not on_gpu:
        return "there is no NVIDIA GPU"
    if not has_unsloth:
        return "unsloth is not installed"
    if spec.model.name.startswith(BUILTIN):
        return "the built-in model is too small to gain"
    if spec.model.dtype == "float32":
        return "float32 was asked for and Unsloth trains in bfloat16"
    return None
