"""A new run from a checkpoint that was still good, with one setting changed."""

from __future__ import annotations

import os
from typing import Any

from trainer.machine.project import PROJECT
from trainer.report.finding import Advice
from trainer.report.material import Material


def good_checkpoint(m: Material, before: int) -> int | None:
    """Step of the best checkpoint from before that step, else of the newest one; None where none is left."""
    kept = [event.step for event in m.state.checkpoints if event.step < before and m.has_checkpoint(event.step)]
    if not kept:
        return None
    return m.best.step if m.best is not None and m.best.step in kept else max(kept)


def restarts(m: Material, before: int, setting: str, value: Any) -> list[Advice]:
    """[] where there is no such checkpoint. Whole weights are a model to start from; an adapter is taken over."""
    step, adapter = good_checkpoint(m, before), m.setting("lora.enabled")
    if step is None or m.rundir is None or adapter is None:
        return []
    path = str(m.rundir.checkpoint(step)).removeprefix(f"{PROJECT}{os.sep}")
    also: list[tuple[str, Any]] = [("model.adapter" if adapter else "model.name", path)]
    if not adapter and m.setting("model.warm_start") is not None:  # the checkpoint has it behind it
        also.append(("model.warm_start", ""))
    return [Advice("restart", setting, value, {"step": step, "setting": setting, "value": value}, tuple(also))]
