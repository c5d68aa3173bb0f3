"""Before a run starts: find all that can be wrong, plan it on this machine. Torch-free."""

from __future__ import annotations

from collections.abc import Sequence

from trainer import plan as planning
from trainer import presets
from trainer.machine import environment, gpu
from trainer.plan import RunPlan
from trainer.spec import RunSpec


def prepare(preset: str, overrides: Sequence[str], over: Sequence[str] = ()) -> tuple[RunSpec, RunPlan]:
    """Find all that can be wrong, before anything is written or torch is imported. over: recipes."""
    from trainer.data import sources  # with numpy, which not every command shall wait for
    from trainer.preflight import templates

    spec = presets.load(preset, overrides, over)
    found = sources.inspect(spec)
    plan = plan_here(spec, found.rows)
    odd = [*found.warnings, *templates.inspect(spec)]
    return spec, plan.model_copy(update={"warnings": [*plan.warnings, *odd]})


def plan_here(spec: RunSpec, rows: int | None) -> RunPlan:
    """The plan on this machine. Raises PlanError."""
    card = gpu.chosen() if spec.model.device != "cpu" else None
    return planning.make(
        spec,
        rows=rows,
        gpu_total_gib=card.total_gib if card else None,
        gpu_name=card.name if card else None,
        ram_gib=environment.ram_gib(),
        has_unsloth=environment.package_version("unsloth") is not None,
    )
