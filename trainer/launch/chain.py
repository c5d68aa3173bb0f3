"""Runs that are stages of one another: NAME.1-sft, NAME.2-grpo. The next one starts when the one before has finished,
from the newest weights of a policy.

A run carries the settings of all that come after it (RunSpec.chain), so nothing else has to be kept, and whoever looks
can go on: the process that a worker leaves behind (STARTER), the console that follows, a resume by the name of the
whole. Only one of them makes the next run, under the start lock of the one before. Where it cannot be, why is noted
with the one before (RunDir.next_stage) until somebody could. Torch-free.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainer.errors import Problem, RunError, TrainerError
from trainer.launch.attempts import may_be_beside, more_is_asked, start
from trainer.launch.control import status_of
from trainer.launch.preparation import create, planned, planned_later
from trainer.machine import spawn
from trainer.machine.json_files import read_json, write_json
from trainer.machine.process import Lock
from trainer.machine.regular_files import why
from trainer.presets.stages import OF_STAGE
from trainer.run import queue_place
from trainer.run.best import LATEST, resolve_checkpoint
from trainer.run.rundir import RunDir, list_runs
from trainer.run.start_adapter import RUN
from trainer.run.state import RunFollower, RunState, state_of
from trainer.run.status import Status
from trainer.spec import Chain, RunSpec

STARTER = "trainer.console.stage_starter"
STARTED_WITHIN_S = 30.0  # of the end of the stage before, where nothing went wrong
_TURN_S = 60.0  # whoever is at it has files to hash and a process to start


@dataclass(frozen=True)
class Stage:
    """One of several. rundir: of its run, whether it is there or not."""

    number: int
    name: str
    method: str
    rundir: RunDir


@dataclass(frozen=True)
class Held:
    """A stage that nobody has begun although the one before has finished. reasons: why it could not be started; []
    where nobody tried, as after a machine that went down."""

    stage: Stage
    reasons: list[Problem]


def name_of_stage(whole: str, chain: Chain) -> str:
    """Of its run: NAME.2-grpo."""
    return f"{whole}.{chain.number}-{chain.name}"


def whole(rundir: RunDir, chain: Chain) -> str:
    """The name that all stages have in common."""
    return rundir.name.removesuffix(f".{chain.number}-{chain.name}")


def newest(outputs: Path, name: str) -> RunDir | None:
    """The last stage of that name that has a run; None where there is none."""
    found = _there(outputs, name)
    return found[max(found)].rundir if found else None


def _there(outputs: Path, name: str) -> dict[int, Stage]:
    """The stages of that name that have a run, by number."""
    found: dict[int, Stage] = {}
    for rundir in list_runs(outputs):
        if rundir.name.startswith(f"{name}."):
            try:
                spec = rundir.read_spec()
            except (TrainerError, OSError):
                continue
            if spec.chain is not None and rundir.name == name_of_stage(name, spec.chain):
                found[spec.chain.number] = Stage(spec.chain.number, spec.chain.name, spec.run.method, rundir)
    return found


def stages(rundir: RunDir, spec: RunSpec) -> list[Stage]:
    """All stages that this run is one of, in order, whether the later ones have a run or not; those before whose runs
    were deleted are left out. [] of a run alone."""
    if spec.chain is None:
        return []
    name = whole(rundir, spec.chain)
    before = [stage for number, stage in _there(rundir.path.parent, name).items() if number < spec.chain.number]
    own = Stage(spec.chain.number, spec.chain.name, spec.run.method, rundir)
    return [*sorted(before, key=lambda stage: stage.number), own, *_after(rundir, spec.chain)]


def _after(rundir: RunDir, chain: Chain) -> list[Stage]:
    name, found = whole(rundir, chain), []
    for number, each in enumerate(chain.following, chain.number + 1):
        method = each.settings.get("run", {}).get("method", "grpo")
        path = rundir.path.with_name(name_of_stage(name, Chain(name=each.name, number=number)))
        found.append(Stage(number, each.name, method, RunDir(path)))
    return found


def following(rundir: RunDir) -> RunDir | None:
    """The run of the next stage, whether it is there or not; None after the last, and for a run alone."""
    after = _next(rundir)
    return after.rundir if after is not None else None


def _next(rundir: RunDir) -> Stage | None:
    chain = rundir.read_spec().chain
    return next(iter(_after(rundir, chain)), None) if chain is not None else None


def go_on(rundir: RunDir, begin: Callable[[RunDir], object] | None = None) -> RunDir | None:
    """The run of the next stage, made and started where this one has finished and nobody has done it yet.

    begin: in place of starting it. None while this one has not finished, and where there is no other stage. Raises what
    prepare, create and start raise, which is noted for others (`held`).
    """
    after = following(rundir)
    if after is None:
        return None
    with Lock(rundir.start_lock) as turn:
        if not turn.take(f"pid {os.getpid()}", _TURN_S):
            raise RunError(Problem("launch.being_started", name=after.name))
        try:
            found = _begun(rundir, after, begin)
        except (TrainerError, OSError) as error:
            note_refusal(rundir, error)
            raise
        rundir.next_stage.unlink(missing_ok=True)
    return found


def _begun(rundir: RunDir, after: RunDir, begin: Callable[[RunDir], object] | None) -> RunDir | None:
    """The caller holds the start lock."""
    if not after.spec.is_file():
        follower = RunFollower(rundir)
        if status_of(rundir, follower) != "finished" or more_is_asked(rundir, follower.state):
            return None
        spec, plan = planned(_settings(rundir))
        planned_later(spec)  # what has become wrong with those after it, before this one trains
        after = create(after.name, spec, plan, after.name)
    if not after.newest_attempt() and not after.events.exists():
        if begin is not None:
            begin(after)
        else:
            start(after, beside=may_be_beside(rundir))
    return after


def note_refusal(rundir: RunDir, error: TrainerError | OSError) -> None:
    """Why its next stage could not be started, for whoever looks at it later."""
    found = error.problems if isinstance(error, TrainerError) else [Problem.plain(_place(error), str(why(error)))]
    with suppress(OSError):  # the disk that is full may be the reason
        write_json(rundir.next_stage, {"problems": [one.stored() for one in found], "t": round(time.time(), 3)})


def _place(error: OSError) -> str:
    return str(error.filename or "")


def refused(rundir: RunDir) -> list[Problem]:
    """Why its next stage could not be started when that was tried last; [] where it was, or nobody tried."""
    if not rundir.next_stage.is_file():  # of most runs, and asked at every look
        return []
    stored = (read_json(rundir.next_stage) or {}).get("problems")
    return [Problem.read(one) for one in stored] if isinstance(stored, list) else []


def held(rundir: RunDir, status: Status, state: RunState) -> Held | None:
    """None where its next stage is begun, waits in the queue or may still come by itself, and where there is none."""
    after = _next(rundir) if status == "finished" else None
    if after is None or after.rundir.newest_attempt() or after.rundir.events.exists():
        return None
    if more_is_asked(rundir, state) or queue_place.place_of(after.rundir) is not None:
        return None
    reasons = refused(rundir)
    ended = state.final.t if state.final is not None else 0.0
    return Held(after, reasons) if reasons or time.time() - ended > STARTED_WITHIN_S else None


def waits(rundir: RunDir) -> bool:
    """Its next stage is still to be made and started: nobody has begun it."""
    after = following(rundir)
    return after is not None and not after.newest_attempt()


def tend(rundir: RunDir, environment: Mapping[str, str] = os.environ) -> None:
    """Leave a process behind that goes on. Raises OSError."""
    after = following(rundir)
    if after is not None and not after.spec.is_file():
        spawn.detached([STARTER, str(rundir.path)], rundir.logs / "next_stage.log", environment)


def needed_by(rundir: RunDir) -> str | None:
    """Name of the run that later stages wait for, where one of these starts from the weights of `rundir` or is rewarded
    by its reward model; None of a stage that nobody needs any more, and of the newest, with which the rest is given up.
    """
    chain = rundir.read_spec().chain
    last = newest(rundir.path.parent, whole(rundir, chain)) if chain is not None else None
    if chain is None or last is None or last == rundir:
        return None
    then = last.read_spec().chain
    if then is None or not then.following:
        return None
    named = {name for after in then.following for _, name in _later(after.settings).reward.judges()}
    source = _policy(last, then)
    return last.name if f"{OF_STAGE}{chain.name}" in named or rundir == source else None


def _later(settings: Mapping[str, Any]) -> RunSpec:
    return RunSpec.model_validate_json(json.dumps(settings))


def _so_far(rundir: RunDir, chain: Chain) -> dict[str, RunDir]:
    """{name of a stage: its run}, up to this one."""
    name = whole(rundir, chain)
    return {
        each: RunDir(rundir.path.with_name(f"{name}.{number}-{each}"))
        for number, each in enumerate([*chain.earlier, chain.name], 1)
    }


def _policy(rundir: RunDir, chain: Chain) -> RunDir | None:
    """The newest run up to this one that trained a policy; None where there is none."""
    return list(_so_far(rundir, chain).values())[chain.policy - 1] if chain.policy is not None else None


def _settings(rundir: RunDir) -> RunSpec:
    """Of the next stage, which starts with the weights of the newest policy, and is rewarded by the best checkpoints of
    the reward models it names. Raises RunError where one of these runs is gone."""
    spec = rundir.read_spec()
    assert spec.chain is not None
    after, *rest = spec.chain.following
    settings = _later(after.settings)
    model = settings.model
    if (source := _policy(rundir, spec.chain)) is not None:
        source = RunDir.open(source.path.parent, source.name)
        which = None if after.start == "best" else LATEST
        chosen = resolve_checkpoint(source, state_of(source), which, lambda _: None)
        start: dict[str, str | None] = {"name": str(chosen.path), "revision": None}
        if settings.lora.enabled:
            start = {"adapter": f"{RUN}{source.name}@{chosen.step}"}
        model = model.model_copy(update=start)
    judges = {f"{OF_STAGE}{name}": f"{RUN}{run.name}" for name, run in _so_far(rundir, spec.chain).items()}
    number = spec.chain.number + 1
    chain = Chain(
        name=after.name,
        number=number,
        count=spec.chain.count,
        following=rest,
        earlier=[*spec.chain.earlier, spec.chain.name],
        policy=spec.chain.policy if settings.is_reward_model else number,
    )
    return settings.model_copy(update={"model": model, "reward": settings.reward.with_judges(judges), "chain": chain})
