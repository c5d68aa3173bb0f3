"""A run as a person starts it: python app.py --headless."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests import warm as warming
from tests.records import log_lines
from trainer.machine import notes
from trainer.run import checkpoints
from trainer.run.rundir import RunDir

PROJECT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("outputs")


def start(outputs: Path, *arguments: str) -> subprocess.Popen[str]:
    """With the fixture `warm` its worker is forked from a process that has imported the libraries."""
    environment = {**os.environ, "ONEGRPO_OUTPUTS": str(outputs)}
    pipe = subprocess.PIPE
    command = warming.app(environment, *arguments)
    return subprocess.Popen(command, cwd=PROJECT, env=environment, text=True, stdout=pipe, stderr=pipe)


def finish(process: subprocess.Popen[str]) -> tuple[int, dict[str, Any], str]:
    """(exit code, the JSON object of the last line, everything printed)."""
    out, errors = process.communicate(timeout=240)
    last = json.loads(out.splitlines()[-1])
    return process.returncode, last, out + errors


def weights_hash(run: RunDir) -> str:
    newest, skipped = checkpoints.newest_verified(run.checkpoints)
    assert newest is not None
    assert skipped == []
    assert newest.step == 12
    return hashlib.sha256((newest.path / "model.safetensors").read_bytes()).hexdigest()


def steps_seen(run: RunDir) -> list[int]:
    return [event["step"] for event in log_lines(run.events, "step")]


def wait_for_step(run: RunDir, step: int) -> None:
    end = time.monotonic() + 120
    while time.monotonic() < end:
        if run.events.exists() and step in steps_seen(run):
            return
        time.sleep(0.02)
    raise AssertionError(f"step {step} was not reached")


def kill_at(step: int, run: RunDir, command: subprocess.Popen[str]) -> None:
    """As kill -9 does it, once the run that the command has started is there."""
    wait_for_step(run, step)
    worker = notes.process(run.identity)
    assert worker is not None and worker.kill_group()
    assert finish(command)[0] != 0


def resume(outputs: Path, name: str) -> dict[str, Any]:
    """The summary of the run that went on to its end."""
    code, summary, printed = finish(start(outputs, "--headless", "--resume", name))
    assert code == 0, printed
    return summary


def whole_and_cut(outputs: Path, begin: Callable[[Path, str], subprocess.Popen[str]]) -> tuple[RunDir, RunDir]:
    """A run of 12 steps, and the same one killed after 5 and resumed: with the same weights and rollouts."""
    code, _, printed = finish(begin(outputs, "whole"))
    assert code == 0, printed
    whole, cut = RunDir(outputs / "whole"), RunDir(outputs / "cut")
    kill_at(5, cut, begin(outputs, "cut"))
    assert resume(outputs, "cut")["attempts"] == 2
    assert weights_hash(cut) == weights_hash(whole)
    same_rollouts(cut, whole, 4, 12)
    return whole, cut


def same_rollouts(one: RunDir, other: RunDir, *steps: int) -> None:
    for step in steps:
        assert one.rollouts_file(step).read_bytes() == other.rollouts_file(step).read_bytes(), step
