"""A run with plans as a person starts it: killed and resumed it writes the same plans and ways on from them."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.e2e.conftest import start, whole_and_cut
from tests.records import log_lines
from trainer.run.groups import read_groups

SHORT = (
    "optim.max_steps=12", "optim.per_device_train_batch_size=64", "checkpoint.save_steps=3", "eval.max_rows=16",
    "eval.eval_steps=6", "model.warm_start.steps=60", "model.warm_start.batch_size=32", "run.memory_probe=false",
)  # fmt: skip


def begin(outputs: Path, name: str) -> subprocess.Popen[str]:
    sets = [flag for value in SHORT for flag in ("--set", value)]
    return start(outputs, "--headless", "--preset", "tiny-plans", "--name", name, *sets)


@pytest.mark.slow
@pytest.mark.usefixtures("warm")
def test_a_killed_run_goes_on_with_the_same_plans(outputs: Path) -> None:
    whole, _ = whole_and_cut(outputs, begin)
    assert [event["rows"] for event in log_lines(whole.events, "eval")] == [16] * 3
    spec = whole.read_spec().episode
    for group in read_groups(whole.rollouts_file(12)).groups:
        plans = [one.plan for one in group.completions]
        assert [plan.number for plan in plans if plan] == [
            number for number in range(spec.plans or 0) for _ in range(spec.implementations or 0)
        ]
        beginnings = {(one.plan.number, one.text[: one.plan.end]) for one in group.completions if one.plan}
        assert len(beginnings) == spec.plans
    assert all("train/episodes/plan_std" in event["metrics"] for event in log_lines(whole.events, "step"))
