"""GPU, engine, packages and main memory: what the spec asks of the machine, against what is there.

Packages are looked up with importlib's finders and never imported: importing one of them takes seconds.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator

from trainer import plan as planning
from trainer.errors import PlanError, Problem
from trainer.machine.environment import ram_gib
from trainer.memory.shapes import BUILTIN
from trainer.plan import RunPlan
from trainer.plan.checks import gib
from trainer.presets.engines import why_not_unsloth
from trainer.spec import RunSpec

NO_GPU = "no NVIDIA GPU with a working driver"
UNSLOTH = ("unsloth", "unsloth_zoo", "torchvision")
# Optimizers of transformers 5.17 that come from packages of their own (trainer_optimizer.py): {start of name: package}.
OPTIMIZER_PACKAGES = {
    "galore_": "galore_torch",
    "lomo": "lomo_optim",
    "adalomo": "lomo_optim",
    "grokadamw": "grokadamw",
    "schedule_free_": "schedulefree",
    "apollo_": "apollo_torch",
    "stable_adamw": "optimi",
    "adamw_torch_4bit": "torchao",
    "adamw_torch_8bit": "torchao",
    "adamw_anyprecision": "torchdistx",
    "adamw_torch_xla": "torch_xla",
    "adamw_torch_npu_fused": "torch_npu",
}
# Public models with a chat template, the largest first, to offer in place of one that is too large.
SMALLER_MODELS = ("Qwen/Qwen3-8B", "Qwen/Qwen3-4B", "Qwen/Qwen3-1.7B", "Qwen/Qwen3-0.6B")
# A model offered as smaller leaves this share of the memory to everything else.
COMFORT_FRAC = 0.8
SUGGESTIONS = 2  # of the plan's, in the one line of a problem


def problems(spec: RunSpec, plan: RunPlan, has_gpu: bool) -> Iterator[Problem]:
    """What machine and packages lack; one problem a key."""
    yield from _device(spec, has_gpu)
    yield from _unsloth(spec, has_gpu)
    yield from _fast_inference(spec, has_gpu)
    yield from _vllm_through_trl(spec, has_gpu)
    yield from _flash_attention(spec, has_gpu)
    yield from _packages(spec)
    if spec.model.device == "cpu" or (spec.model.device == "auto" and not has_gpu):
        yield from _ram(spec, plan)


def is_unsloth(spec: RunSpec, has_gpu: bool) -> bool:
    """Whether Unsloth would load the model."""
    if spec.model.engine == "auto":
        return why_not_unsloth(spec, has_gpu and spec.model.device != "cpu", not missing(*UNSLOTH)) is None
    return spec.model.engine == "unsloth"


def missing(*names: str) -> list[str]:
    """Those of the packages that cannot be imported, without importing them."""
    return [name for name in names if importlib.util.find_spec(name) is None]


def without_unsloth(spec: RunSpec) -> str:
    """The flags that make the same run train with plain transformers."""
    flags = ["--set model.engine=transformers"]
    if spec.model.gradient_checkpointing == "unsloth":
        flags.append("--set model.gradient_checkpointing=true")
    if spec.model.fast_inference:
        flags.append("--set model.fast_inference=false")
    return " ".join(flags)


def _device(spec: RunSpec, has_gpu: bool) -> Iterator[Problem]:
    if spec.model.device == "cuda" and not has_gpu:
        fix = "--set model.device=cpu for a small model; python -m trainer doctor says what is missing"
        yield Problem.plain("model.device", f'is "cuda" and this machine has {NO_GPU}', fix)


def _unsloth(spec: RunSpec, has_gpu: bool) -> Iterator[Problem]:
    """One line, however much is missing: it is mended in one place."""
    if spec.model.engine != "unsloth":
        return
    flags, absent = without_unsloth(spec), missing(*UNSLOTH)
    if not has_gpu:
        also = f" (and {_not_installed(absent)})" if absent else ""
        fix = f"{flags} trains without it; on a machine with a GPU: make setup"
        yield Problem.plain("model.engine", f'is "unsloth" and this machine has {NO_GPU}{also}', fix)
    elif spec.model.device == "cpu":
        what = 'is "unsloth", which needs a GPU, and model.device is "cpu"'
        yield Problem.plain("model.engine", what, f"{flags}, or --set model.device=cuda")
    elif absent:
        yield Problem.plain("model.engine", f'is "unsloth" and {_not_installed(absent)}', f"make setup, or {flags}")
    elif spec.model.dtype == "float32":
        what = 'is "float32" with model.engine = "unsloth", which trains in bfloat16 where the GPU has it'
        yield Problem.plain("model.dtype", what, f"--set model.dtype=auto, or {flags}")


def _fast_inference(spec: RunSpec, has_gpu: bool) -> Iterator[Problem]:
    if spec.model.fast_inference:
        lacks = _lacks_for_vllm(has_gpu)
        if lacks:
            yield Problem.plain("model.fast_inference", f"is true and {lacks}", "--set model.fast_inference=false")


def _vllm_through_trl(spec: RunSpec, has_gpu: bool) -> Iterator[Problem]:
    if spec.trl.get("use_vllm") is True:
        lacks = _lacks_for_vllm(has_gpu)
        if lacks:
            yield Problem.plain("trl.use_vllm", f"is true and {lacks}", "--set trl.use_vllm=false")


def _lacks_for_vllm(has_gpu: bool) -> str:
    lacks = [] if has_gpu else [f"this machine has {NO_GPU}"]
    lacks += [] if sys.platform.startswith("linux") else ["vLLM runs on Linux only"]
    lacks += [_not_installed(["vllm"])] if missing("vllm") else []
    return " and ".join(lacks)


def _flash_attention(spec: RunSpec, has_gpu: bool) -> Iterator[Problem]:
    """transformers 5.17 takes the kernel from the package `kernels` where `flash_attn` is not installed."""
    if spec.model.attn_implementation != "flash_attention_2":
        return
    where, fix = "model.attn_implementation", "--set model.attn_implementation=sdpa"
    if not has_gpu or spec.model.device == "cpu":
        reason = f"this machine has {NO_GPU}" if not has_gpu else 'model.device is "cpu"'
        yield Problem.plain(where, f'is "flash_attention_2", which needs a GPU, and {reason}', fix)
    elif len(missing("flash_attn", "kernels")) == 2:
        yield Problem.plain(where, f'is "flash_attention_2" and {_not_installed(["flash_attn"])}', fix)


def _packages(spec: RunSpec) -> Iterator[Problem]:
    if spec.model.load_in_4bit and missing("bitsandbytes"):
        yield Problem.plain("model.load_in_4bit", f"is true and {_not_installed(['bitsandbytes'])}", "make setup")
    name = spec.optim.optim
    package = next((of for start, of in OPTIMIZER_PACKAGES.items() if name.startswith(start)), None)
    if package is not None and missing(package):
        what = f'is "{name}" and {_not_installed([package])}'
        yield Problem.plain("optim.optim", what, "--set optim.optim=adamw_torch")


def _not_installed(names: list[str]) -> str:
    if len(names) == 1:
        return f"the package {names[0]} is not installed"
    return f"the packages {', '.join(names)} are not installed"


# ---- main memory


def _ram(spec: RunSpec, plan: RunPlan) -> Iterator[Problem]:
    """Refused only where even the whole memory would not do, also if the estimate is 30 % too high."""
    need, there = plan.memory_total_gib, ram_gib()
    if need is None or need <= 1.3 * there:
        return
    largest = max(plan.memory, key=lambda part: part.gib)
    what = (
        f"the run needs about {gib(need)} on the CPU, {gib(largest.gib)} of it for {largest.name}; "
        f"this machine has {gib(there)} of memory"
    )
    yield Problem.plain("memory", what, _suggested(plan) or _smaller(spec, plan, there))


def _suggested(plan: RunPlan) -> str:
    """The plan's changes as they are typed, the cheapest for the learning first; "" where it has none."""
    return ", or ".join(
        f"{' '.join(each.typed())} (about {gib(each.total_gib)})" for each in plan.suggestions[:SUGGESTIONS]
    )


def _smaller(spec: RunSpec, plan: RunPlan, there: float) -> str:
    revision = " --set model.revision=" if spec.model.revision is not None else ""
    for name in SMALLER_MODELS:
        model = spec.model.model_copy(update={"name": name})
        try:
            need = planning.make(spec.model_copy(update={"model": model}), plan.rows).memory_total_gib
        except PlanError:  # e.g. longer than that model can read
            continue
        if need is not None and need < COMFORT_FRAC * there:
            return f"--set model.name={name}{revision} needs about {gib(need)}, or take --preset tiny"
    lower = "lower optim.per_device_train_batch_size, generation.max_completion_length or generation.num_generations"
    return lower if spec.model.name.startswith(BUILTIN) else f"--preset tiny, or {lower}"
