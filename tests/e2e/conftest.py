"""A run as a person starts it: python app.py --headless."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests import warm as warming
from tests.records import log_lines
from trainer.run import checkpoints
from trainer.run.rundir import RunDir

PROJECT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("outputs")


def command(*arguments: str) -> list[str]:
    """With the fixture `warm` the worker it starts is forked from a process that has imported the libraries."""
    program = ["-m", "tests.warm", "app"] if warming.SOCKET in os.environ else [str(PROJECT / "app.py")]
    return [sys.executable, *program, *arguments]


def start(outputs: Path, *arguments: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "ONEGRPO_OUTPUTS": str(outputs)}
    return subprocess.Popen(
        command(*arguments),
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


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
