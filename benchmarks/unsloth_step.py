"""Unsloth's own trainer in the benchmark of the fast path: its loader, its LoRA kernels, its generated GRPOTrainer.

`import unsloth` rewrites TRL's trainers for the whole process, so a process is Unsloth's or it is not.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any


def is_there() -> bool:
    return importlib.util.find_spec("unsloth") is not None


def prepare() -> None:
    """Before TRL and transformers are imported. Raises EngineError where TRL is not patched afterwards."""
    from trainer import presets
    from trainer.engine import unsloth_engine

    unsloth_engine.prepare(presets.load("gemma3-1b", []))


def taken_over(given: dict[str, Any], folder: Path, checkpointing: bool) -> Any:
    """The model of `given` as Unsloth loads it from a folder, with the adapter that `given` asks for."""
    import torch
    from unsloth import FastLanguageModel

    from trainer.engine import unsloth_engine

    given["model"].save_pretrained(folder / "model")
    given["processing_class"].save_pretrained(folder / "model")
    on_cpu = given["args"].use_cpu
    lora, use = given["peft_config"], "unsloth" if checkpointing and not on_cpu else checkpointing
    loaded, _ = FastLanguageModel.from_pretrained(
        model_name=str(folder / "model"),
        max_seq_length=8192,
        dtype=torch.float32 if on_cpu else torch.bfloat16,
        load_in_4bit=False,
        use_gradient_checkpointing=use,
        **({"device_map": {"": "cpu"}, "attn_implementation": "eager"} if on_cpu else {}),  # flex has no backward there
    )
    return FastLanguageModel.get_peft_model(
        loaded,
        r=lora.r,
        lora_alpha=lora.lora_alpha,
        target_modules=unsloth_engine.LINEAR,
        use_gradient_checkpointing=use,
    )
