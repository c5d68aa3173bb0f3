"""A mirror started by hand on a run that is over: what a secret would look like in its files, and a hanging end."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.mirrors import offline
from tests.mirrors.conftest import KEY
from trainer.machine.json_files import read_json
from trainer.run.rundir import RunDir, outputs_dir
from trainer.spec import Data, RunSpec

PLANTED = {
    "MY_API_KEY": "planted-api-key-1",
    "HF_TOKEN": "planted-token-22",
    "APP_SECRET": "planted-secret-3",
    "db_password": "planted-password-4",
    "SMTP_PASSWD": "planted-passwd-5",
    "WANDB_API_KEY": KEY,
}
IN_NETRC = "planted-netrc-66"
IN_ADDRESS = "me:planted-7"
ALL = [*PLANTED.values(), IN_NETRC, IN_ADDRESS]
TEXT = " ".join([*PLANTED.values(), IN_NETRC, f"http://{IN_ADDRESS}@host/x"])


def by_hand(rundir: RunDir, module: str = "trainer.mirrors") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", module, str(rundir.path), "1"]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture
def over(spec: RunSpec, tmp_path: Path) -> RunDir:
    """A run that failed, with secrets in everything a person or a model can write into it."""
    plan: Any = {"optimizer_steps": 2, "notes": [TEXT]}
    secretive = spec.model_copy(update={"title": TEXT, "data": Data(path=f"rows-{TEXT}.jsonl")})
    rundir = RunDir.create(outputs_dir(), "over-1", secretive, plan, {"packages": {"trl": TEXT}, "gpus": []})
    dead = subprocess.Popen(["true"])
    dead.wait()
    identity = {"pid": dead.pid, "pid_started": "1", "boot_id": "none"}
    problem = {"where": TEXT, "what": TEXT, "fix": TEXT}
    events: list[dict[str, Any]] = [
        {"kind": "run_started", "resumed_from_step": 0, **identity},
        {"kind": "plan", "plan": plan, "engine": TEXT, "why": TEXT, "data": {TEXT: TEXT}},
        {"kind": "eval", "at": TEXT, "step": 0, "reward": 0.5, "components": {TEXT: 1.0}},
        {"kind": "rollouts", "step": 1, "file": "step_000001.jsonl", "groups": 1, "completions": 1},
        {"kind": "step", "step": 1, "of": 2, "seconds": 1.0, "metrics": {"train/reward": 0.5, f"train/{TEXT}": 1.0}},
        {"kind": "span", "step": 1, "spans": [{"name": TEXT, "self_s": 1.0}]},
        {"kind": "alert", "level": "warn", "title": TEXT, "text": TEXT},
        {"kind": "run_failed", "step": 1, "error": "X", "problems": [problem], "traceback_tail": TEXT},
    ]
    lines = [json.dumps({"t": 1000.0 + number, "attempt": 1} | event) for number, event in enumerate(events)]
    rundir.events.write_text("".join(f"{line}\n" for line in lines))
    completion = {"text": TEXT, "components": {TEXT: 1.0}, "tokens": 1, "truncated": False, "reward": 0.5}
    group = {"step": 1, "group": 0, "prompt": [{"role": "user", "content": TEXT}], "outcome": "spread"}
    paid = {**group, "completions": [{**completion, "advantage": 0.0, "correct": None}]}
    rundir.rollouts_file(1).write_text(json.dumps(paid) + "\n")
    (tmp_path / "netrc").write_text(f"machine a.example login me password {IN_NETRC}\n")
    return rundir


def test_no_byte_of_a_secret_is_in_wandbs_files(over: RunDir, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in PLANTED.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("WANDB_MODE", "offline")
    done = by_hand(over)
    assert done.returncode == 0, done.stderr
    (folder,) = offline.folders(over.wandb)
    recorded = offline.read(folder)
    assert recorded.config["spec"]["title"].startswith("[secret] [secret]")
    assert recorded.table(recorded.history[1])[0]["completion"].startswith("[secret] [secret]")
    assert recorded.summary["run/error"].startswith("X / [secret]")
    files = [path for path in over.wandb.rglob("*") if path.is_file()]
    assert len(files) >= 5
    for path in files:
        data = path.read_bytes()
        assert [secret for secret in ALL if secret.encode() in data] == [], path


def test_nothing_of_the_machine_or_the_command_is_sent(over: RunDir, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    assert by_hand(over).returncode == 0
    (folder,) = offline.folders(over.wandb)
    recorded = offline.read(folder)
    assert recorded.run.host == ""
    assert not {"output", "output_raw", "stats", "environment", "artifact"} & recorded.kinds
    sent = [path for path in (folder / "files").rglob("*") if path.is_file()]
    assert {path.suffixes[-2:] == [".table", ".json"] for path in sent} == {True}
    (log,) = folder.glob("run-*.wandb")
    for word in (socket.gethostname(), os.getcwd(), sys.executable, str(outputs_dir())):
        assert not any(word.encode() in path.read_bytes() for path in [log, *sent]), word


def test_a_run_that_had_no_mirror_can_be_sent_afterwards_and_once(over: RunDir) -> None:
    assert over.read_spec().log.mirrors == []
    assert by_hand(over).returncode == 0
    again = by_hand(over)
    assert again.returncode == 0
    rows = [row for folder in offline.folders(over.wandb) for row in offline.read(folder).history]
    assert [row["_step"] for row in rows] == [0, 1]
    assert [row["_timestamp"] for row in rows] == [1002.0, 1005.0]


def test_a_failed_run_is_failed_there_too(over: RunDir) -> None:
    by_hand(over)
    (folder,) = offline.folders(over.wandb)
    recorded = offline.read(folder)
    assert (recorded.exit_code, recorded.summary["run/status"]) == (1, "failed")


def test_a_finish_that_hangs_ends_by_itself_and_can_be_sent_again(
    over: RunDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HANGS", "finish")
    began = time.monotonic()
    done = by_hand(over, "tests.mirrors.hanging")
    assert done.returncode == 1
    assert "does not come to an end" in done.stdout
    assert time.monotonic() - began < 20
    assert by_hand(over).returncode == 0
    rows = [row for folder in offline.folders(over.wandb) for row in offline.read(folder).history]
    assert [row["_step"] for row in rows] == [0, 1]
    assert (read_json(over.mirror) or {})["ended"] is True


@pytest.mark.usefixtures("pretender")
def test_a_beginning_that_hangs_is_given_up_and_made_offline(over: RunDir, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HANGS", "__init__")
    done = by_hand(over, "tests.mirrors.hanging")
    assert done.returncode == 0, done.stderr
    note = read_json(over.mirror) or {}
    assert (note["mode"], note["level"], note["sent"]) == ("offline", "warn", 1)
    assert "W&B did not begin in time" in note["text"]


def test_a_copied_run_is_another_run(over: RunDir) -> None:
    by_hand(over)
    other = RunDir(outputs_dir() / "over-2")
    shutil.copytree(over.path, other.path)
    by_hand(other)
    first, second = ((read_json(run.mirror) or {})["run_id"] for run in (over, other))
    assert first != second
