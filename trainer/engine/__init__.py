"""Models behind one small interface. Imported by the worker only, in this order:

choice = resolve(spec)      engine, device and precision, and why
prepare(spec, choice)       the engine's packages: Unsloth must come before trl, transformers and peft
loaded = load(spec, choice) weights and tokenizer
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import torch

from trainer.engine.interface import Choice, Loaded, Trying
from trainer.errors import EngineError, Problem
from trainer.machine.environment import package_version
from trainer.memory.embedded import BUILTIN, knows_nothing
from trainer.presets.engines import why_not_unsloth
from trainer.spec import RunSpec
from trainer.text import Message


def resolve(spec: RunSpec) -> Choice:
    """Engine, device and precision of this run. Raises EngineError when what was asked for is not there."""
    has_gpu = torch.cuda.is_available()
    device = spec.model.device if spec.model.device != "auto" else ("cuda" if has_gpu else "cpu")
    if device == "cuda" and not has_gpu:
        raise EngineError(Problem("engine.no_gpu", "model.device"))
    dtype = spec.model.dtype
    if dtype == "auto":
        # Not float16 on older GPUs: neither whole weights nor QLoRA train in it (trainer/presets/rules/model.py).
        native = device == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
        dtype = "bfloat16" if native else "float32"
    engine, why = _engine(spec, device)
    return Choice(engine, device, dtype, Message("engine.why", reason=why, dtype=dtype, device=_device_name(device)))


def _engine(spec: RunSpec, device: str) -> tuple[str, Message]:
    """(engine, why). Unsloth where `auto` can have it; what it cannot do is said."""
    unsloth = package_version("unsloth")
    if spec.model.engine == "transformers":
        return "transformers", Message("engine.as_preset")
    missing = why_not_unsloth(spec, device == "cuda", unsloth is not None)
    if missing is None:
        key = "engine.unsloth_as_preset" if spec.model.engine == "unsloth" else "engine.unsloth_auto"
        return "unsloth", Message(key, version=unsloth)
    if spec.model.engine == "unsloth":
        raise EngineError(Problem("engine.no_unsloth", "model.engine", missing=missing))
    return "transformers", Message("engine.auto", missing=missing)


def _device_name(device: str) -> str:
    return torch.cuda.get_device_name() if device == "cuda" else device


def prepare(spec: RunSpec, choice: Choice) -> None:
    """Import what must be imported before trl, transformers and peft. Raises EngineError when it does not work."""
    if choice.engine == "unsloth":
        from trainer.engine import unsloth_engine

        unsloth_engine.prepare(spec)


def load(
    spec: RunSpec,
    choice: Choice,
    making: Callable[[], AbstractContextManager[None]] = nullcontext,
    trying: Trying | None = None,
) -> Loaded:
    """Weights and tokenizer of `spec.model` on the chosen device.

    making: entered while a built-in model is made because the cache does not have it. trying: given the tokenizer of
    a model that was not made here before the weights are loaded; what it raises ends the load. Raises EngineError for
    weights that cannot be loaded or are no numbers.
    """
    if spec.model.cpu_threads:
        torch.set_num_threads(spec.model.cpu_threads)
    if choice.engine == "unsloth":
        from trainer.engine import unsloth_engine

        return unsloth_engine.load(spec, choice, trying)
    from trainer.engine import builtin, transformers_engine

    if spec.model.name.startswith(BUILTIN):
        folder, tried = str(builtin.ensure(spec, making)), None if knows_nothing(spec.model.name) else trying
        return transformers_engine.load(spec, choice, folder, tried)
    return transformers_engine.load(spec, choice, spec.model.name, trying)
