"""Unsloth's real code on a machine without a GPU. Import this before transformers, trl and peft.

UNSLOTH_ALLOW_CPU is Unsloth's own switch for machines without a GPU. Under it, `import unsloth` asks CUDA a few
questions that are answered here, and leaves TRL unpatched: the three functions that patch it are called as
unsloth/models/rl.py `PatchFastRL` would. Everything else is Unsloth's own: loader, LoRA, generated trainer, loss.
"""

from __future__ import annotations

import functools
import os
from types import SimpleNamespace

MEMORY_BYTES = 16 * 2**30


def install(compile_location: str) -> None:
    """Import Unsloth and let it generate its trainers into that folder. Done once in a process and its forks."""
    os.environ |= {
        "UNSLOTH_ALLOW_CPU": "1",
        "UNSLOTH_DISABLE_STATISTICS": "1",
        "UNSLOTH_COMPILE_DISABLE": "1",
        "UNSLOTH_COMPILE_LOCATION": compile_location,
        "HF_HUB_OFFLINE": "1",  # without it Unsloth asks the Hub about a local folder for half a minute
        "CUDA_VISIBLE_DEVICES": "",  # also on a machine that has a GPU
    }
    _import_and_patch()


@functools.cache
def _import_and_patch() -> None:
    answer_cuda_questions()
    import unsloth  # noqa: F401
    from unsloth.models import rl

    rl.patch_trl_disable_gradient_checkpointing()
    rl.patch_trl_rl_trainers()
    rl.patch_trl_vllm_generation()


def answer_cuda_questions() -> None:
    """What Unsloth wants to know of the device while it is imported."""
    import torch

    properties = SimpleNamespace(name="no GPU", total_memory=MEMORY_BYTES, major=8, minor=0, multi_processor_count=1)
    answers = {
        "get_device_properties": properties,
        "get_device_capability": (8, 0),
        "get_device_name": "no GPU",
        "current_device": 0,
        "mem_get_info": (MEMORY_BYTES, MEMORY_BYTES),
        "empty_cache": None,
        "synchronize": None,
    }
    for name, answer in answers.items():
        setattr(torch.cuda, name, lambda *args, answer=answer, **kwargs: answer)
