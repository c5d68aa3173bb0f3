"""Runs that are stages of one another: NAME.1-sft, NAME.2-grpo. The next one starts where the one before has finished.

A run carries the settings of all that come after it (RunSpec.chain), so nothing else has to be kept, and whoever looks
can go on: the process that a worker leaves behind (STARTER), the console that follows, a resume by the name of the
whole. Only one of them makes the next run, under the start lock of the one before. Torch-free.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path

from trainer.errors import Problem, RunError, TrainerError
from trainer.launch.attempts import may_be_beside, more_is_asked, start
from trainer.launch.control import status_of
from trainer.launch.preparation import create, planned
from trainer.machine import spawn
from trainer.machine.process import Lock
from trainer.run.best import LATEST, resolve_checkpoint
from trainer.run.rundir import RunDir, list_runs
from trainer.run.state import RunFollower, RunState
from trainer.spec import Chain, RunSpec

STARTER = "trainer.console.stage_starter"
_TURN_S = 60.0  # whoever is at it has files to hash and a process to start


def name_of_stage(whole: str, chain: Chain) -> str:
    """Of its run: NAME.2-grpo."""
    return f"{whole}.{chain.number}-{chain.name}"


def whole(rundir: RunDir, chain: Chain) -> str:
    """The name that all stages have in common."""
    return rundir.name.removesuffix(f".{chain.number}-{chain.name}")


def newest(outputs: Path, name: str) -> RunDir | None:
    """The last stage of that name that has a run; None where there is none."""
    found: dict[int, RunDir] = {}
    for rundir in list_runs(outputs):
        if rundir.name.startswith(f"{name}."):
            try:
                chain = rundir.read_spec().chain
            except (TrainerError, OSError):
                continue
            if chain is not None and rundir.name == name_of_stage(name, chain):
                found[chain.number] = rundir
    return found[max(found)] if found else None


def following(rundir: RunDir) -> RunDir | None:
    """The run of the next stage, whether it is there or not; None after the last, and for a run alone."""
    chain = rundir.read_spec().chain
    if chain is None or not chain.following:
        return None
    after = chain.model_copy(update={"name": chain.following[0].name, "number": chain.number + 1})
    return RunDir(rundir.path.with_name(name_of_stage(whole(rundir, chain), after)))


def go_on(rundir: RunDir) -> RunDir | None:
    """The run of the next stage, made and started where this one has finished and nobody has done it yet.

    None while it has not finished, and where there is no other stage. Raises what prepare, create and start raise.
    """
    after = following(rundir)
    if after is None:
        return None
    with Lock(rundir.start_lock) as turn:
        if not turn.take(f"pid {os.getpid()}", _TURN_S):
            raise RunError(Problem("launch.being_started", name=after.name))
        if not after.spec.is_file():
            follower = RunFollower(rundir)
            if status_of(rundir, follower) != "finished" or more_is_asked(rundir, follower.state):
                return None
            spec, plan = planned(_settings(rundir, follower.state))
            after = create(after.name, spec, plan, after.name)
        if not after.newest_attempt() and not after.events.exists():
            start(after, beside=may_be_beside(rundir))
    return after


def waits(rundir: RunDir) -> bool:
    """Its next stage is still to be made and started: nobody has begun it."""
    after = following(rundir)
    return after is not None and not after.newest_attempt()


def tend(rundir: RunDir, environment: Mapping[str, str] = os.environ) -> None:
    """Leave a process behind that goes on. Raises OSError."""
    after = following(rundir)
    if after is not None and not after.spec.is_file():
        spawn.detached([STARTER, str(rundir.path)], rundir.logs / "next_stage.log", environment)


def _settings(rundir: RunDir, state: RunState) -> RunSpec:
    """Of the next stage, which starts with the weights of this one."""
    spec = rundir.read_spec()
    assert spec.chain is not None
    after, *rest = spec.chain.following
    chosen = resolve_checkpoint(rundir, state, None if after.start == "best" else LATEST, lambda _: None)
    settings = RunSpec.model_validate_json(json.dumps(after.settings))
    chain = Chain(name=after.name, number=spec.chain.number + 1, count=spec.chain.count, following=rest)
    if settings.lora.enabled:
        start: dict[str, str | None] = {"adapter": f"run:{rundir.name}@{chosen.step}"}
    else:
        start = {"name": str(chosen.path), "revision": None}
    model = settings.model.model_copy(update=start)
    return settings.model_copy(update={"model": model, "chain": chain})
