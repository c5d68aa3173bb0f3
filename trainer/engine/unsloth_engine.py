"""Unsloth: 4-bit and 16-bit LoRA with its own kernels and checkpointing, on an NVIDIA GPU.

`import unsloth` rewrites TRL's trainers: trl.GRPOTrainer becomes UnslothGRPOTrainer, generated from TRL's source
(unsloth/models/rl.py `patch_trl_rl_trainers`). When the rewriting fails Unsloth only warns and stock TRL would be
trained, so the class is checked. Unsloth's own code is called, never copied: parts of it are AGPL.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import torch

from trainer.engine import weights
from trainer.engine.interface import Choice, Loaded, Trying, checked, unloadable, without_routers
from trainer.errors import EngineError, Problem
from trainer.machine.environment import package_version
from trainer.memory.families import from_config
from trainer.spec import RunSpec

PATCHED = "UnslothGRPOTrainer"
# "all-linear" in Unsloth's words, for the models its kernels are written for: no layer of a vision tower.
LINEAR = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def cache_dir() -> Path:
    """Where Unsloth writes the trainers it generates: the user's cache, one folder for each set of versions."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    versions = "-".join(str(package_version(name)) for name in ("unsloth", "unsloth_zoo", "trl", "transformers"))
    return Path(os.environ.get("ONEGRPO_CACHE") or Path(home) / "onegrpo").resolve() / f"unsloth-{versions}"


def prepare(spec: RunSpec) -> None:
    """Import Unsloth, before trl, transformers and peft. Raises EngineError when TRL is not patched afterwards."""
    os.environ.setdefault("UNSLOTH_DISABLE_STATISTICS", "1")  # it would ask the Hub for a file at every load
    os.environ.setdefault("UNSLOTH_COMPILE_LOCATION", str(cache_dir()))
    if spec.model.fast_inference:
        os.environ.setdefault("UNSLOTH_VLLM_STANDBY", "1" if spec.model.standby else "0")
    Path(os.environ["UNSLOTH_COMPILE_LOCATION"]).mkdir(parents=True, exist_ok=True)
    first = [name for name in ("trl", "transformers", "peft") if name in sys.modules]
    if first and "unsloth" not in sys.modules:
        raise EngineError(Problem("engine.import_order", "model.engine", first=first))
    try:
        import unsloth  # noqa: F401
    except Exception as error:  # ImportError, NotImplementedError without a GPU, whatever a broken package raises
        said = " ".join(str(error).split())[:300]
        raise EngineError(Problem("engine.import_failed", "model.engine", said=said)) from error
    import trl

    # `from trl import GRPOTrainer` elsewhere takes the class that is bound now: this is the last moment to look.
    if trl.GRPOTrainer.__name__ != PATCHED:
        versions = [f"{name} {package_version(name)}" for name in ("unsloth", "unsloth_zoo", "trl")]
        left = trl.GRPOTrainer.__name__
        raise EngineError(Problem("engine.not_patched", "model.engine", versions=versions, trainer=left))


def load(spec: RunSpec, choice: Choice, trying: Trying | None = None) -> Loaded:
    """The model with its adapter, ready for UnslothGRPOTrainer.

    Raises EngineError when it cannot be loaded, and what `trying` raises.
    """
    from unsloth import FastLanguageModel

    if trying is not None and (early := _tokenizer(spec)) is not None:
        trying(early)
    try:
        with weights.watched_quantising(spec):
            model, processor = FastLanguageModel.from_pretrained(**_load_options(spec, choice))
    except torch.OutOfMemoryError:
        raise
    except (OSError, ValueError, RuntimeError, NotImplementedError) as error:
        raise unloadable(spec, error) from error
    _refuse_unquantised(model, spec)
    # Of a model that sees, Unsloth gives the processor; prompts here are text.
    tokenizer = checked(getattr(processor, "tokenizer", processor), spec)
    if trying is not None:  # Unsloth may have mended its template
        trying(tokenizer)
    weights.refuse_unfinite(model, spec)
    without_routers(model)
    source = _source(model)
    if spec.lora.enabled:
        # Attached here and not by TRL: this call puts Unsloth's own LoRA kernels and checkpointing in as well.
        model = FastLanguageModel.get_peft_model(model, **_lora_options(spec, model))
    return Loaded(model, tokenizer, None, source, facts())


def _tokenizer(spec: RunSpec) -> Any:
    """The tokenizer of what Unsloth will load, before it does; None where that is not known."""
    from transformers import AutoTokenizer
    from unsloth.models.loader_utils import get_model_name

    name, options = spec.model.name, {"revision": spec.model.revision}
    try:
        taken = name if Path(name).is_dir() else get_model_name(name, load_in_4bit=spec.model.load_in_4bit) or name
        options |= {} if taken == name else {"revision": None}
        return AutoTokenizer.from_pretrained(taken, trust_remote_code=spec.model.trust_remote_code, **options)
    except Exception:  # whatever it is, the load says it better
        return None


def _refuse_unquantised(model: Any, spec: RunSpec) -> None:
    """Where bitsandbytes does not work Unsloth says so in one line of its log and loads 16-bit weights."""
    if spec.model.load_in_4bit and not any("4bit" in type(module).__name__ for module in model.modules()):
        raise EngineError(Problem("engine.not_quantised", "model.load_in_4bit"))


def _load_options(spec: RunSpec, choice: Choice) -> dict[str, Any]:
    model = spec.model
    options: dict[str, Any] = {
        "model_name": model.name,
        "revision": model.revision,
        "max_seq_length": model.max_seq_length or spec.data.max_prompt_length + spec.generation.max_completion_length,
        "dtype": getattr(torch, choice.dtype),
        "load_in_4bit": model.load_in_4bit,
        "full_finetuning": not spec.lora.enabled,
        "trust_remote_code": model.trust_remote_code,
        "use_gradient_checkpointing": model.gradient_checkpointing,
        "random_state": spec.run.seed,
    }
    if choice.device == "cpu":  # on the one GPU the worker sees, Unsloth's own placement
        options["device_map"] = {"": "cpu"}
    if not spec.lora.enabled:  # a bfloat16 weight rounds an update at lr 1e-6 to nothing
        options["float32_mixed_precision"] = True
    if model.attn_implementation:
        options["attn_implementation"] = model.attn_implementation
    if model.fast_inference:
        options |= {
            "fast_inference": True,
            "gpu_memory_utilization": model.gpu_memory_utilization,
            "max_lora_rank": spec.lora.r,
        }
    return options


def all_linear(model: Any) -> list[str]:
    """Names of the decoder's linear layers: of one that has others than Llama's (Granite's MLP, convolutions, a delta
    rule) its own; LINEAR where nothing is known of it."""
    shape = from_config(model.config.to_dict(), source="")
    names = {name for _, name, *_ in shape.linears()} if shape is not None and not shape.experts else set()
    return LINEAR if names <= set(LINEAR) else sorted(names)


def _lora_options(spec: RunSpec, model: Any) -> dict[str, Any]:
    lora = spec.lora
    targets = all_linear(model) if lora.target_modules == "all-linear" else lora.target_modules
    return {
        "r": lora.r,
        "lora_alpha": lora.alpha,
        "lora_dropout": lora.dropout,
        "target_modules": targets,
        "bias": "none",
        "use_gradient_checkpointing": spec.model.gradient_checkpointing,
        "random_state": spec.run.seed,
    }


def _source(model: Any) -> str:
    """What was really loaded: Unsloth takes its own 4-bit copy of a model where it has one."""
    name, commit = model.config._name_or_path, getattr(model.config, "_commit_hash", None)
    return f"{name}@{commit}" if commit else Path(name).name


def facts() -> dict[str, Any]:
    """What Unsloth's banner says, for env.json."""
    from unsloth.models import _utils

    cuda = torch.cuda.is_available()
    return {
        "unsloth": package_version("unsloth"),
        "unsloth_zoo": package_version("unsloth_zoo"),
        "triton": package_version("triton"),
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "gpu": torch.cuda.get_device_name() if cuda else None,
        "compute_capability": list(torch.cuda.get_device_capability()) if cuda else None,
        "bfloat16": bool(getattr(_utils, "SUPPORTS_BFLOAT16", False)),
        "flash_attention": bool(getattr(_utils, "HAS_FLASH_ATTENTION", False)),
        "xformers": str(getattr(_utils, "xformers_version", None)),
        "statistics": os.environ.get("UNSLOTH_DISABLE_STATISTICS") != "1",
        "standby": os.environ.get("UNSLOTH_VLLM_STANDBY") == "1",
    }
