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


ANEW = "restart_adapter"
"""Advice that starts from the beginning, and says why it does not start from the checkpoint."""


def restarts(m: Material, before: int, setting: str, value: Any) -> list[Advice]:
    """[] where there is no such checkpoint. One that holds an adapter only is no model to start from: the run begins
    anew with the change, and it is said how that checkpoint could be started from."""
    step, adapter = good_checkpoint(m, before), m.setting("lora.enabled")
    if step is None or m.rundir is None or adapter is None:
        return []
    values = {"step": step, "setting": setting, "value": value}
    if adapter:
        return [Advice(ANEW, setting, value, values)]
    path = str(m.rundir.checkpoint(step)).removeprefix(f"{PROJECT}{os.sep}")
    also: list[tuple[str, Any]] = [("model.name", path)]
    if m.setting("model.warm_start") is not None:  # the checkpoint has it behind it
        also.append(("model.warm_start", ""))
    return [Advice("restart", setting, value, values, tuple(also))]
