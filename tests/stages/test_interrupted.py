"""Killed while it samples and while it trains, a run of each method ends with the weights it would have had."""

from __future__ import annotations

import hashlib
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.builders import until
from tests.killed import finish, small_preset
from tests.records import log_lines
from trainer import launch
from trainer.run import checkpoints
from trainer.run.rundir import RunDir

pytestmark = pytest.mark.usefixtures("warm")

PRESET = """
[model]
name = "builtin/tiny-qwen3"
device = "cpu"
cpu_threads = 1
gradient_checkpointing = false
[lora]
enabled = false
target_modules = ["q_proj", "v_proj"]
r = 4
[data]
path = "rows.jsonl"
[reward]
correct = "half"
[[reward.components]]
function = "format_regex"
name = "half"
params = { pattern = "(?s).*[A-Za-m]" }
[generation]
num_generations = 16
max_completion_length = 24
[optim]
per_device_train_batch_size = 2
gradient_accumulation_steps = 2
max_steps = 9
learning_rate = 1e-3
[checkpoint]
save_steps = 2
[eval]
at_start = false
at_end = false
batch_size = 32
"""
ADAPTER = ["lora.enabled=true", "lora.dropout=0.1"]
FOUR_BIT = [*ADAPTER, "model.load_in_4bit=true", "model.double_quant=true", "model.dtype=float32"]
Moment = Callable[[RunDir], bool]


def steps(run: RunDir) -> list[int]:
    return [event["step"] for event in log_lines(run.events, "step")] if run.events.exists() else []


def after_step(step: int) -> Moment:
    return lambda run: step in steps(run)


def while_sampling(run: RunDir) -> bool:
    return run.samples.exists() and len(run.samples.read_bytes().splitlines()) >= 4


def while_saving(step: int) -> Moment:
    """A checkpoint is being written, or has just been."""
    return lambda run: any(run.path.rglob(f"*checkpoint-{step}"))


@pytest.fixture
def preset(tmp_path: Path) -> Path:
    return small_preset(tmp_path, PRESET)


def made(preset: Path, name: str, method: str, *more: str) -> RunDir:
    spec, plan = launch.prepare(str(preset), [f"run.method={method}", *more])
    return launch.create(str(preset), spec, plan, name)


def facts(run: RunDir) -> dict[str, Any]:
    """What must be the same: all that a resume would need, the tokens of every step, and what was sampled."""
    newest, skipped = checkpoints.newest_verified(run.checkpoints)
    assert newest is not None
    assert skipped == []
    names = [path.name for path in sorted(newest.path.glob("*.safetensors"))]
    names += ["optimizer.pt", "scheduler.pt", "rng_state.pth"]
    tokens = {event["step"]: event["tokens"] for event in log_lines(run.events, "step")}
    losses = {event["step"]: event["metrics"]["train/loss"] for event in log_lines(run.events, "step")}
    return {
        "step": newest.step,
        "files": {name: hashlib.sha256((newest.path / name).read_bytes()).hexdigest() for name in names},
        "tokens": tokens,
        "losses": losses,
        "samples": [path.read_bytes() for path in (run.samples, run.held_out_samples) if path.exists()],
        "evals": {e["step"]: (e["correct_frac"], e["correlation"]) for e in log_lines(run.events, "eval")},
    }


def interrupted(preset: Path, workers: list[Any], method: str, moments: list[Moment], *more: str) -> None:
    """A run that is killed at each of these moments against one that is not."""
    whole = made(preset, "whole", method, *more)
    workers.append(launch.start(whole))
    finish(whole, workers[-1])
    run = made(preset, "killed", method, *more)
    worker = launch.start(run)
    for moment in moments:
        workers.append(worker)
        until(lambda moment=moment, worker=worker: moment(run) or worker.poll() is not None, 120)  # type: ignore[misc]
        assert worker.poll() is None, run.log_file(worker.attempt).read_text()[-3000:]
        os.killpg(worker.pid, signal.SIGKILL)
        worker.process.wait()
        worker = launch.resume(run)
    workers.append(worker)
    finish(run, worker)
    assert sorted(set(steps(run))) == list(range(1, 10))
    assert facts(run) == facts(whole)


def test_sft_killed_inside_of_an_epoch(preset: Path, workers: list[Any]) -> None:
    interrupted(preset, workers, "sft", [after_step(3), after_step(6)])


def test_rft_killed_while_it_samples_and_while_it_trains(preset: Path, workers: list[Any]) -> None:
    interrupted(preset, workers, "rft", [while_sampling, after_step(5)])


JUDGE = ["data.eval_fraction=0.2", "eval.eval_steps=3", "generation.num_generations=8"]


@pytest.mark.parametrize("objective", ["pairwise", pytest.param("pointwise", marks=pytest.mark.slow)])
def test_a_reward_model_killed_while_its_policy_writes_and_while_it_trains(
    objective: str, preset: Path, workers: list[Any]
) -> None:
    moments = [while_sampling, after_step(5)]
    interrupted(preset, workers, "reward_model", moments, *JUDGE, f"reward_model.objective={objective}")


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_reward_model_with_an_adapter_killed_at_several_moments(preset: Path, workers: list[Any]) -> None:
    moments = [while_sampling, while_saving(2), after_step(3), after_step(7)]
    interrupted(preset, workers, "reward_model", moments, *JUDGE, *ADAPTER)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["sft", "rft", "dpo"])
@pytest.mark.parametrize("form", [[], ADAPTER, FOUR_BIT], ids=["whole", "adapter", "four bits"])
@pytest.mark.timeout(1200)
def test_killed_at_several_moments(method: str, form: list[str], preset: Path, workers: list[Any]) -> None:
    first = [] if method == "sft" else [while_sampling]
    moments = [*first, while_saving(2), after_step(3), after_step(7)]
    interrupted(preset, workers, method, moments, *form)
