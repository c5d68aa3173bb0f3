"""One real training with all three mirrors: each service's own library reads back the numbers of the event log."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.mirrors import offline, read_back
from tests.mirrors.read_back import from_tensorboard
from tests.records import log_lines
from trainer.mirrors.completions import as_text
from trainer.run.rundir import RunDir

pytestmark = pytest.mark.slow

PROJECT = Path(__file__).parents[2]
SHORT = [
    "optim.max_steps=4",
    "log.heartbeat_s=0.3",
    "optim.per_device_train_batch_size=16",
    "data.max_rows=20",
    "eval.max_rows=16",
    "eval.eval_steps=2",
    "checkpoint.save_steps=2",
    'log.mirrors=["wandb","tensorboard","trackio"]',
]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> RunDir:
    home = tmp_path_factory.mktemp("three")
    changed = {
        "ONEGRPO_OUTPUTS": str(home / "outputs"),
        "ONEGRPO_STATE": str(home / "state"),
        "WANDB_MODE": "offline",
        "HF_HUB_OFFLINE": "1",
    }
    sets = [flag for value in SHORT for flag in ("--set", value)]
    command = [sys.executable, str(PROJECT / "app.py"), "--headless", "--preset", "tiny", "--name", "three", *sets]
    done = subprocess.run(command, env=os.environ | changed, capture_output=True, text=True, timeout=180, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    for said in ("W&B", "TensorBoard", "Trackio"):
        assert said in done.stdout
    return RunDir(home / "outputs" / "three")


def test_where_each_copy_is_is_said_once_and_nothing_else_is(trained: RunDir) -> None:
    alerts = [event for event in log_lines(trained.events) if event["kind"] == "alert"]
    said = [(alert["key"], alert["title"]) for alert in alerts if alert["key"].startswith("mirror_")]
    assert said == [("mirror_offline", "W&B"), ("mirror_local", "TensorBoard"), ("mirror_local", "Trackio")]


@pytest.fixture(scope="module")
def wandb_rows(trained: RunDir) -> dict[int, dict[str, Any]]:
    (folder,) = offline.folders(trained.wandb)
    return {row["_step"]: row for row in offline.read(folder).history}


def numbers(row: dict[str, Any]) -> dict[str, float]:
    return {name: value for name, value in row.items() if isinstance(value, int | float) and "/" in name}


def test_each_has_every_metric_of_every_step_as_the_event_log_has_it(trained: RunDir) -> None:
    boards, tracked = from_tensorboard(trained), read_back.from_trackio(trained)
    steps = {event["step"]: event for event in log_lines(trained.events) if event["kind"] == "step"}
    assert list(steps) == [1, 2, 3, 4]
    assert sorted(boards) == sorted(tracked) == [0, 1, 2, 3, 4]
    for step, event in steps.items():
        metrics = event["metrics"]
        assert {name: tracked[step][name] for name in metrics} == metrics
        assert {name: boards[step][name] for name in metrics} == {k: float(np.float32(v)) for k, v in metrics.items()}


def test_all_three_have_the_same_rows(trained: RunDir, wandb_rows: dict[int, dict[str, Any]]) -> None:
    boards, tracked = from_tensorboard(trained), read_back.from_trackio(trained)
    for step, row in wandb_rows.items():
        sent = numbers(row)
        assert numbers(tracked[step]) == sent
        assert boards[step] == {name: float(np.float32(value)) for name, value in sent.items()}


def test_the_completions_are_there_to_read(trained: RunDir) -> None:
    groups = [json.loads(line) for line in trained.rollouts_file(4).read_text().splitlines()]
    wanted = [(as_text(group["prompt"]), each["text"]) for group in groups for each in group["completions"]]
    table = read_back.from_trackio(trained)[4]["completions"]["_value"]
    assert [(row["prompt"], row["completion"]) for row in table] == wanted
    texts = read_back.tensorboard(trained).Tensors("completions")
    assert [event.step for event in texts] == [1, 2, 3, 4]
    shown = texts[-1].tensor_proto.string_val[0].decode()
    assert shown.count("[completion]") == 16 and all(line in shown for line in wanted[0][1].splitlines())


def test_trackio_knows_the_settings_and_how_it_ended(trained: RunDir) -> None:
    config = read_back.trackio(trained)["config"]
    assert config["spec"]["data"]["max_rows"] == 20
    assert config["summary"]["run/status"] == "finished"
