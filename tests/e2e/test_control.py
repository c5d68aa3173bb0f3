"""Pause, save now and extend with the real worker and the real model: no step is lost, none is made twice."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests import warm as warming
from tests.e2e.conftest import PROJECT, finish, start, steps_seen, wait_for_step, weights_hash
from tests.records import log_lines
from trainer import launch
from trainer.run import checkpoints
from trainer.run.rundir import RunDir

pytestmark = pytest.mark.usefixtures("warm")
SMALL = [
    "optim.per_device_train_batch_size=64",  # steps that take long enough to ask for something in between
    "data.max_rows=20",
    "eval.max_rows=16",
    "log.heartbeat_s=0.5",
    "optim.lr_scheduler_type=constant",
    "optim.warmup_steps=0",
]


def train(outputs: Path, name: str, *more: str) -> subprocess.Popen[str]:
    sets = [flag for value in (*SMALL, *more) for flag in ("--set", value)]
    return start(outputs, "--headless", "--preset", "tiny", "--name", name, *sets)


def tool(outputs: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "ONEGRPO_OUTPUTS": str(outputs)}
    command = [sys.executable, "-m", "trainer", *arguments]
    return subprocess.run(command, cwd=PROJECT, env=environment, capture_output=True, text=True, timeout=240)


def wait_for(condition: Callable[[], bool], seconds: float = 120.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "did not happen in time"
        time.sleep(0.02)


def events(run: RunDir, kind: str) -> list[dict[str, Any]]:
    return [event for event in log_lines(run.events) if event["kind"] == kind]


@pytest.fixture(scope="module")
def whole(outputs: Path, warm_process: Path) -> RunDir:
    """An uninterrupted run of 12 steps, with one checkpoint at its end."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(warming.SOCKET, str(warm_process))
        code, _, printed = finish(train(outputs, "whole", "optim.max_steps=12"))
    assert code == 0, printed
    return RunDir(outputs / "whole")


def test_a_run_that_saves_when_asked_is_paused_and_continued_to_the_same_weights(outputs: Path, whole: RunDir) -> None:
    """The last save of the schedule is at step 12: what is saved before was asked for."""
    process = train(outputs, "paused", "optim.max_steps=12")
    run = RunDir(outputs / "paused")
    wait_for_step(run, 1)
    launch.save_now(run)
    wait_for(lambda: launch.save_asked(run) is None)
    (saved,) = events(run, "checkpoint")
    assert saved["step"] < 12
    assert launch.status_of(run) == "running"
    assert launch.pause(run, grace_s=120) == "paused"
    code, summary, printed = finish(process)
    assert (code, summary["status"]) == (130, "paused"), printed
    (final,) = events(run, "run_paused")
    newest, _ = checkpoints.newest_verified(run.checkpoints)
    assert newest is not None
    assert newest.step == final["step"] == summary["steps"] == steps_seen(run)[-1]
    assert final["checkpoint"] == newest.path.name
    assert f"paused at step {newest.step} of 12" in run.report_file("en", "md").read_text(encoding="utf-8")
    code, summary, printed = finish(start(outputs, "--headless", "--resume", "paused"))
    assert (code, summary["status"], summary["steps"]) == (0, "finished", 12), printed
    assert steps_seen(run) == list(range(1, 13))
    assert weights_hash(run) == weights_hash(whole)


def test_a_finished_run_is_extended_to_the_weights_of_one_planned_that_long(outputs: Path, whole: RunDir) -> None:
    code, summary, printed = finish(train(outputs, "extended", "optim.max_steps=4"))
    assert (code, summary["steps"]) == (0, 4), printed
    run = RunDir(outputs / "extended")
    done = tool(outputs, "extend", "extended", "--steps", "8")
    assert "12 steps are planned instead of 4" in done.stdout, done.stderr
    assert "note:" not in done.stdout
    code, summary, printed = finish(start(outputs, "--headless", "--resume", "extended"))
    assert (code, summary["status"], summary["steps"], summary["steps_total"]) == (0, "finished", 12, 12), printed
    assert "extended: 4 steps were planned before; resumed from checkpoint-4" in printed
    assert [event["extended_from"] for event in events(run, "run_started")] == [None, 4]
    assert steps_seen(run) == list(range(1, 13))
    for name in ("model.safetensors", "optimizer.pt", "scheduler.pt", "rng_state.pth"):
        ours, theirs = (hashlib.sha256((made.checkpoint(12) / name).read_bytes()).hexdigest() for made in (run, whole))
        assert ours == theirs, name
    assert summary["eval_after"] == events(whole, "eval")[-1]["reward"]
