"""Reward models of other runs: what `run:NAME` means in a reward, and the copies that a run keeps of them.

    params.model = "run:NAME@best"     as for model.adapter (start_adapter.py): the best, latest, or a step

Pinned when the run is made: the files that scoring needs lie in judges/ of its folder, with their hashes in env.json,
so that the run starts, resumes and is tried with the same ones whatever becomes of the source. spec.json keeps what was
typed. Torch-free.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from trainer.errors import Problem, RunError, TrainerError, reason
from trainer.machine.json_files import read_json, sync_folder, write_json
from trainer.run import checkpoints, start_adapter
from trainer.run.checkpoints import Checkpoint
from trainer.run.rundir import RunDir
from trainer.run.start_adapter import RUN
from trainer.spec import Reward, RunSpec
from trainer.text import Message

NOTED = "judges"  # in env.json: {what was typed: {run, step, folder, sha256 of each file}}
_NOT_READ = {*checkpoints.REQUIRED, checkpoints.MANIFEST}
_FULL = (errno.ENOSPC, errno.EDQUOT)
_CANNOT_LINK = (errno.EXDEV, errno.EPERM, errno.EACCES, errno.EMLINK, errno.ENOTSUP, errno.ENOSYS)


def typed_in(reward: Reward) -> dict[str, str]:
    """{what was typed: the first key it stands at} of every reward model that is a run's."""
    found: dict[str, str] = {}
    for key, name in reward.judges():
        if name.startswith(RUN):
            found.setdefault(name, key)
    return found


def resolve(typed: str, place: str) -> Checkpoint:
    """The verified checkpoint that is meant. Raises RunError: nothing there, damaged, or no reward model."""
    found = start_adapter.checkpoint_of(typed, place, "run.judge_no_runs")
    source = RunDir(found.path.parents[1])
    spec = source.read_spec()
    if not spec.is_reward_model:
        raise RunError(Problem("run.judge_is_none", place, name=source.name, method=spec.run.method))
    return found


def problems(spec: RunSpec) -> Iterator[Problem]:
    for typed, place in typed_in(spec.reward).items():
        try:
            resolve(typed, place)
        except TrainerError as error:
            yield from error.problems


def resolved(reward: Reward) -> Reward:
    """The reward with the folders that are meant now, for a trial without a run. Raises RunError."""
    return reward.with_judges({typed: str(resolve(typed, at).path) for typed, at in typed_in(reward).items()})


def taken_in(reward: Reward, rundir: RunDir) -> None:
    """Keep every reward model that is a run's in the folder of this one. Raises RunError."""
    noted: dict[str, Any] = {}
    for number, (typed, place) in enumerate(typed_in(reward).items(), 1):
        found = resolve(typed, place)
        target = rundir.judges / str(number)
        noted[typed] = {
            "run": found.path.parents[1].name,
            "step": found.step,
            "folder": target.name,
            "sha256": _kept(found.path, target, place),
        }
    if noted:
        write_json(rundir.env, (read_json(rundir.env) or {}) | {NOTED: noted})


def _kept(source: Path, target: Path, place: str) -> dict[str, str]:
    try:
        target.mkdir(parents=True)
        found = {
            path.name: _linked(path, target / path.name)
            for path in sorted(source.iterdir())
            if path.is_file() and path.name not in _NOT_READ
        }
        sync_folder(target)
    except OSError as error:
        key = "run.judge_disk_full" if error.errno in _FULL else "run.judge_not_copied"
        raise RunError(Problem(key, place, source=str(source), said=reason(error))) from error
    return found


def _linked(source: Path, target: Path) -> str:
    """sha256 of what is at both now. A checkpoint's files are never written again: one on the disk is enough."""
    try:
        os.link(source, target)
    except OSError as error:
        if error.errno not in _CANNOT_LINK:
            raise
        shutil.copyfile(source, target)
        with target.open("rb+") as file:
            os.fsync(file.fileno())
    return _hash(target)


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def noted(rundir: RunDir) -> dict[str, dict[str, Any]]:
    """What env.json says of those that are kept."""
    found = (read_json(rundir.env) or {}).get(NOTED)
    return found if isinstance(found, dict) else {}


def in_run(reward: Reward, rundir: RunDir) -> Reward:
    """The reward with the copies that the run keeps."""
    return reward.with_judges({typed: str(rundir.judges / said["folder"]) for typed, said in noted(rundir).items()})


def messages(rundir: RunDir) -> list[Message]:
    """Which checkpoints they are."""
    return [
        Message("run.start.judge", typed=typed, run=said["run"], step=said["step"])
        for typed, said in noted(rundir).items()
    ]


def refuse_damaged(rundir: RunDir) -> None:
    """Raises RunError naming the first file that is not as it was taken in."""
    for typed, said in noted(rundir).items():
        for name, digest in said["sha256"].items():
            path = rundir.judges / said["folder"] / name
            try:
                whole = _hash(path) == digest
            except OSError:
                whole = False
            if not whole:
                raise RunError(Problem("run.judge_damaged", file=str(path), typed=typed))
