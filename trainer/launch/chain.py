"""Runs that are stages of one another: NAME.1-sft, NAME.2-grpo. The next one starts when the one before has finished,
from the newest weights of a policy.

A run carries the settings of all that come after it (RunSpec.chain), so nothing else has to be kept, and whoever looks
can go on: the process that a worker leaves behind (STARTER), the console that follows, a resume by the name of the
whole. Only one of them makes the next run, under the start lock of the one before. Torch-free.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trainer.errors import Problem, RunError, TrainerError
from trainer.launch.attempts import may_be_beside, more_is_asked, start
from trainer.launch.control import status_of
from trainer.launch.preparation import create, planned
from trainer.machine import spawn
from trainer.machine.process import Lock
from trainer.presets.stages import OF_STAGE
from trainer.run.best import LATEST, resolve_checkpoint
from trainer.run.rundir import RunDir, list_runs
from trainer.run.start_adapter import RUN
from trainer.run.state import RunFollower, state_of
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
            spec, plan = planned(_settings(rundir))
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
    name, stages = whole(rundir, chain), [*chain.earlier, chain.name]
    if not chain.earlier:  # the first, or of a version that did not say: then every stage trained a policy
        return {chain.name: rundir}
    return {each: RunDir(rundir.path.with_name(f"{name}.{n}-{each}")) for n, each in enumerate(stages, 1)}


def _policy(rundir: RunDir, chain: Chain) -> RunDir | None:
    """The newest run up to this one that trained a policy; None where there is none. Raises RunError."""
    for each in reversed(_so_far(rundir, chain).values()):
        if not _opened(each).read_spec().is_reward_model:
            return each
    return None


def _opened(rundir: RunDir) -> RunDir:
    return RunDir.open(rundir.path.parent, rundir.name)


def _settings(rundir: RunDir) -> RunSpec:
    """Of the next stage, which starts with the weights of the newest policy, and is rewarded by the best checkpoints of
    the reward models it names. Raises RunError where one of these runs is gone."""
    spec = rundir.read_spec()
    assert spec.chain is not None
    after, *rest = spec.chain.following
    settings = _later(after.settings)
    model = settings.model
    if (source := _policy(rundir, spec.chain)) is not None:
        which = None if after.start == "best" else LATEST
        chosen = resolve_checkpoint(source, state_of(source), which, lambda _: None)
        start: dict[str, str | None] = {"name": str(chosen.path), "revision": None}
        if settings.lora.enabled:
            start = {"adapter": f"{RUN}{source.name}@{chosen.step}"}
        model = model.model_copy(update=start)
    judges = {f"{OF_STAGE}{name}": f"{RUN}{run.name}" for name, run in _so_far(rundir, spec.chain).items()}
    chain = Chain(
        name=after.name,
        number=spec.chain.number + 1,
        count=spec.chain.count,
        following=rest,
        earlier=[*spec.chain.earlier, spec.chain.name],
    )
    return settings.model_copy(update={"model": model, "reward": settings.reward.with_judges(judges), "chain": chain})
