"""A run whose reward model learns, killed while it trains and while it saves: both models end as they would have."""

from __future__ import annotations

import hashlib
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.builders import until
from tests.killed import finish, small_preset
from tests.records import log_lines
from trainer import launch
from trainer.run import checkpoints
from trainer.run.rundir import RunDir

pytestmark = [pytest.mark.usefixtures("warm"), pytest.mark.slow, pytest.mark.timeout(900)]

PRESET = """
[model]
name = "builtin/tiny-qwen3"
device = "cpu"
cpu_threads = 1
gradient_checkpointing = false
[lora]
enabled = false
[data]
path = "rows.jsonl"
[[reward.components]]
function = "reward_model"
name = "judge"
params = { model = "builtin/tiny-qwen3", device = "cpu", max_length = 64 }
[[reward.components]]
function = "format_regex"
name = "half"
weight = 0.0
params = { pattern = "(?s).*[A-Za-m]" }
[reward.learning]
component = "judge"
rule = "half"
every_steps = 3
replay = 0.5
pairs_per_prompt = 4
learning_rate = 1e-3
batch_size = 4
[generation]
num_generations = 16
max_completion_length = 40
[grpo]
beta = 0.02
ref_update_steps = 4
[optim]
per_device_train_batch_size = 32
max_steps = 10
learning_rate = 1e-3
[checkpoint]
save_steps = 2
[eval]
at_start = false
at_end = false
"""


@pytest.fixture
def preset(tmp_path: Path) -> Path:
    return small_preset(tmp_path, PRESET)


def made(preset: Path, name: str) -> RunDir:
    spec, plan = launch.prepare(str(preset), [])
    return launch.create(str(preset), spec, plan, name)


def reached(run: RunDir, step: int) -> bool:
    return run.events.exists() and any(event["step"] >= step for event in log_lines(run.events, "step"))


def facts(run: RunDir) -> dict[str, Any]:
    newest, skipped = checkpoints.newest_verified(run.checkpoints)
    assert newest is not None and skipped == []
    names = ["model.safetensors", "optimizer.pt", "rng_state.pth", checkpoints.REFERENCE, checkpoints.JUDGE_STATE]
    names += [f"{checkpoints.JUDGE}/model.safetensors"]
    metrics = {event["step"]: event["metrics"] for event in log_lines(run.events, "step")}
    kept = ("train/loss", "train/reward", "train/reward_model/loss", "train/reward_model/pairs_new")
    return {
        "step": newest.step,
        "files": {name: hashlib.sha256((newest.path / name).read_bytes()).hexdigest() for name in names},
        "metrics": {step: {name: found.get(name) for name in kept} for step, found in sorted(metrics.items())},
    }


def test_killed_at_several_moments(preset: Path, workers: list[Any]) -> None:
    whole = made(preset, "whole")
    workers.append(launch.start(whole))
    finish(whole, workers[-1])
    rounds = [alert for alert in log_lines(whole.events, "alert") if alert["key"] == "reward_model_round"]
    assert [alert["values"]["step"] for alert in rounds] == [3, 6, 9] and rounds[-1]["values"]["replayed"]
    run = made(preset, "killed")
    worker = launch.start(run)
    for moment in (
        lambda: any(run.path.rglob("*checkpoint-2")),
        lambda: reached(run, 5),
        lambda: reached(run, 9),
    ):
        workers.append(worker)
        until(lambda moment=moment, worker=worker: moment() or worker.poll() is not None, 120)  # type: ignore[misc]
        assert worker.poll() is None, run.log_file(worker.attempt).read_text()[-3000:]
        os.killpg(worker.pid, signal.SIGKILL)
        worker.process.wait()
        worker = launch.resume(run)
    workers.append(worker)
    finish(run, worker)
    assert facts(run) == facts(whole)
