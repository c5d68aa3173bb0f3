"""One real training with an unreachable W&B, then its offline files read back: every number is the event log's."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.mirrors import offline
from tests.mirrors.conftest import KEY
from tests.records import log_lines
from trainer.mirrors.completions import as_text
from trainer.run.rundir import RunDir

pytestmark = pytest.mark.slow

PROJECT = Path(__file__).parents[2]
SHORT = [
    "optim.max_steps=6",
    "optim.per_device_train_batch_size=32",
    "data.max_rows=20",
    "eval.max_rows=16",
    "eval.eval_steps=3",
    "eval.pass_at=[1,2]",
    "log.heartbeat_s=0.5",
    'log.mirrors=["wandb"]',
]
REFERENCE_NAMES = {
    "train/reward",
    "train/reward_std",
    "train/rewards/ComponentRewardWrapper/mean",
    "train/rewards/ComponentRewardWrapper/std",
    "train/loss",
    "train/num_tokens",
    "profiling/Time taken: CustomGRPOTrainer.transformers.generate",
    "profiling/Time taken: CustomGRPOTrainer._prepare_inputs",
    "profiling/Time taken: CustomGRPOTrainer._calculate_rewards",
    "profiling/Time taken: CustomGRPOTrainer.ComponentRewardWrapper",
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[RunDir, list[dict[str, Any]], offline.Recorded]:
    """(run, events, what W&B has)."""
    home = tmp_path_factory.mktemp("real")
    changed = {
        "ONEGRPO_OUTPUTS": str(home / "outputs"),
        "ONEGRPO_STATE": str(home / "state"),
        "WANDB_API_KEY": KEY,
        "WANDB_BASE_URL": "http://127.0.0.1:9",
        "HF_HUB_OFFLINE": "1",
    }
    environment = {name: value for name, value in os.environ.items() if name != "WANDB_MODE"} | changed
    sets = [flag for value in SHORT for flag in ("--set", value)]
    command = [sys.executable, str(PROJECT / "app.py"), "--headless", "--preset", "tiny", "--name", "real", *sets]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "cannot be reached" in done.stdout
    run = RunDir(home / "outputs" / "real")
    # The console waited for the mirror: what is not written now never will be.
    (folder,) = offline.folders(run.wandb)
    return run, log_lines(run.events), offline.read(folder)


def by_step(events: list[dict[str, Any]], kind: str) -> dict[int, dict[str, Any]]:
    return {event["step"]: event for event in events if event["kind"] == kind}


def test_the_history_has_every_step_once_and_the_untrained_model(trained: Any) -> None:
    _, _, recorded = trained
    assert [row["_step"] for row in recorded.history] == [0, 1, 2, 3, 4, 5, 6]
    assert [row["train/global_step"] for row in recorded.history] == [0, 1, 2, 3, 4, 5, 6]
    assert recorded.exit_code == 0


def test_every_metric_of_every_step_is_there_under_its_reference_name(trained: Any) -> None:
    _, events, recorded = trained
    for step, event in by_step(events, "step").items():
        row = recorded.history[step]
        assert event["metrics"].keys() >= REFERENCE_NAMES
        assert {name: row[name] for name in event["metrics"]} == event["metrics"]
        named = {"group/std": "group_std", "group/dead_frac": "dead_frac", "group/all_wrong_frac": "all_wrong_frac"}
        assert {key: row[key] for key in named} == {key: event["groups"][name] for key, name in named.items()}
        assert row["time/step_seconds"] == event["seconds"]


def test_the_seconds_of_a_step_are_where_they_were_spent_and_add_up(trained: Any) -> None:
    _, events, recorded = trained
    spans = by_step(events, "span")
    for step, event in by_step(events, "step").items():
        names = {f"time/{span['name']}" for span in spans[step]["spans"]}
        assert sum(recorded.history[step][name] for name in names) == pytest.approx(event["seconds"], rel=0.01)


def test_a_row_has_the_time_at_which_it_happened(trained: Any) -> None:
    """At which the last of what it holds happened: a step, its spans, its rollouts or its evaluation."""
    _, events, recorded = trained
    kinds = ("step", "span", "rollouts", "eval")
    for step, row in enumerate(recorded.history):
        happened = [event["t"] for event in events if event["kind"] in kinds and event["step"] == step]
        assert row["_timestamp"] == pytest.approx(max(happened), abs=1e-3)


def test_evaluations_are_with_their_steps(trained: Any) -> None:
    _, events, recorded = trained
    evals = by_step(events, "eval")
    assert [row["_step"] for row in recorded.history if "eval/reward" in row] == list(evals) == [0, 3, 6]
    for step, event in evals.items():
        row = recorded.history[step]
        assert (row["eval/at"], row["eval/global_step"]) == (event["at"], step)
        assert row["eval/reward"] == event["reward"]
        assert row["eval/correct"] == event["components"]["correct"]
        if "sampled" in event:
            assert row["eval/pass@2"] == event["sampled"]["pass_at"]["2"]


def test_every_step_keeps_its_completions_with_what_they_were_paid(trained: Any) -> None:
    run, _, recorded = trained
    for step in range(1, 7):
        groups = [json.loads(line) for line in run.rollouts_file(step).read_text().splitlines()]
        wanted = [
            {
                "step": step,
                "group": group["group"],
                "prompt": as_text(group["prompt"]),
                "completion": completion["text"],
                **{name: completion[name] for name in ("reward", "advantage", "tokens", "truncated")},
                **{f"rewards/{name}": value for name, value in completion["components"].items()},
                "outcome": group["outcome"],
            }
            for group in groups
            for completion in group["completions"]
        ]
        assert len(wanted) == 32
        assert recorded.table(recorded.history[step]) == wanted


def test_the_config_is_the_spec_and_the_plan_that_trained(trained: Any) -> None:
    run, events, recorded = trained
    (plan,) = [event for event in events if event["kind"] == "plan"]
    assert recorded.config["spec"] == json.loads(run.spec.read_text().replace(f"{PROJECT}/", ""))
    assert recorded.config["spec"]["data"]["max_rows"] == 20
    assert recorded.config["plan"] == plan["plan"]
    assert recorded.config["trainer_class"] == "CustomGRPOTrainer"
    assert recorded.config["versions"]["trl"]
    assert str(PROJECT) not in json.dumps(recorded.config)


def test_the_summary_says_how_it_ended(trained: Any) -> None:
    _, events, recorded = trained
    assert recorded.summary["run/status"] == "finished"
    assert recorded.summary["run/steps"] == 6
    assert recorded.summary["run/eval_after"] == by_step(events, "eval")[6]["reward"]


def test_the_folder_is_one_that_wandb_sync_takes(trained: Any) -> None:
    run, _, recorded = trained
    command = [str(Path(sys.executable).with_name("wandb")), "sync", "--dry-run", str(recorded.folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=run.path, check=False)
    assert done.returncode == 0, done.stderr
    assert recorded.run.run_id in done.stdout + done.stderr
