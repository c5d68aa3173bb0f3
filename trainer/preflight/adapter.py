"""The adapter that training is to start from: is it there, is it of the shape that [lora] makes, and of this model?

What lies in its weights is seen at the load. Of one on the Hub the worker asks the same when it has fetched it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from trainer.errors import Problem, RunError
from trainer.machine.json_files import read_json
from trainer.machine.project import PROJECT
from trainer.run import start_adapter
from trainer.run.checkpoints import ADAPTER_CONFIG
from trainer.run.start_files import PLACE, Origin
from trainer.spec import RunSpec

# Of PEFT's LoraConfig: what makes another adapter of it than [lora] does, where it is set.
_OTHERS = ("use_dora", "use_rslora", "use_qalora", "lora_bias", "rank_pattern", "alpha_pattern", "modules_to_save",
           "target_parameters", "trainable_token_indices", "alora_invocation_tokens", "layer_replication")  # fmt: skip
_PEFT_DEFAULT = 8  # of r and of lora_alpha


def problems(spec: RunSpec) -> Iterator[Problem]:
    if spec.model.adapter is None:
        return
    try:
        origin = start_adapter.resolve(spec.model.adapter)
    except RunError as error:
        yield from error.problems
        return
    if origin.folder is not None:
        yield from of_config(spec, origin.folder)
        yield from _of_base(spec, origin)


def of_config(spec: RunSpec, folder: Path) -> Iterator[Problem]:
    """What its configuration says otherwise than [lora]."""
    config: dict[str, Any] = read_json(folder / ADAPTER_CONFIG) or {}
    kind = config.get("peft_type")
    others = [name for name in _OTHERS if config.get(name)]
    others += [] if config.get("bias") in (None, "none") else ["bias"]
    if kind != "LORA":
        yield Problem("preflight.adapter_kind", PLACE, folder=str(folder), seen=str(kind))
        return
    if others:
        yield Problem("preflight.adapter_other", PLACE, folder=str(folder), names=others)
    rank, alpha = config.get("r", _PEFT_DEFAULT), config.get("lora_alpha", _PEFT_DEFAULT)
    if rank != spec.lora.r:
        yield Problem("preflight.adapter_rank", "lora.r", seen=spec.lora.r, r=rank)
    if alpha != spec.lora.alpha:
        yield Problem("preflight.adapter_alpha", "lora.alpha", seen=f"{spec.lora.alpha:g}", alpha=_plain(alpha))


def _of_base(spec: RunSpec, origin: Origin) -> Iterator[Problem]:
    """Another base model by its name; whether the very weights are the same is known when they are loaded."""
    name, said = spec.model.name, origin.base
    loaded = (origin.trained_on or "").rpartition("@")[0]  # Unsloth may have loaded a repository of its own
    if said is None or name in (said, loaded) or (PROJECT / name).resolve() == (PROJECT / said).resolve():
        return
    yield Problem("preflight.adapter_base", "model.name", seen=name, base=said)


def _plain(alpha: Any) -> str:
    return f"{alpha:g}" if isinstance(alpha, int | float) else str(alpha)
