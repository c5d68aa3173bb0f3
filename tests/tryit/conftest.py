"""A run of the preset tiny, trained here for two steps, once; each test has a copy of it and its own processes."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from trainer.machine.project import PROJECT
from trainer.run.rundir import RunDir, outputs_dir
from trainer.tryit import reading
from trainer.tryit.reading import Answered

TRAIN_S = 240.0
WAIT_S = 120.0


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """outputs/short of a finished run with the checkpoints 1 and 2, evaluated before and after."""
    place = tmp_path_factory.mktemp("tried")
    # A warm start of another length would be another base: its weights are made once and shared by all copies.
    settings = (
        "optim.max_steps=2",
        "checkpoint.save_steps=1",
        "eval.max_rows=4",
        "optim.per_device_train_batch_size=32",
    )
    own = {"ONEGRPO_OUTPUTS": str(place / "outputs"), "ONEGRPO_STATE": str(place / "state"), "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "app.py", "--headless", "--preset", "tiny", "--name", "short"]
    command += [part for setting in settings for part in ("--set", setting)]
    done = subprocess.run(command, cwd=PROJECT, env=os.environ | own, capture_output=True, text=True, timeout=TRAIN_S)
    assert done.returncode == 0, done.stderr + done.stdout
    return place / "outputs" / "short"


@pytest.fixture
def run(trained: Path) -> Iterator[RunDir]:
    """A copy of the run under the test's own outputs; what answers for it ends with the test."""
    outputs_dir().mkdir(parents=True, exist_ok=True)
    rundir = RunDir(Path(shutil.copytree(trained, outputs_dir() / "short")))
    yield rundir
    identity = reading.process(rundir).identity
    if identity is not None:
        identity.kill_group()


@pytest.fixture
def until() -> Callable[[Callable[[], bool]], None]:
    """until(condition): wait for it, fail when it does not come true."""

    def wait(condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + WAIT_S
        while not condition():
            assert time.monotonic() < deadline, "nothing happened"
            time.sleep(0.02)

    return wait


def answered(rundir: RunDir, id: str) -> Answered:
    """The question of that id as a reader sees it now."""
    process = reading.process(rundir)
    return next(one for one in reading.newest(rundir, 50, process) if one.request.id == id)
