"""Evidence is what the events say: the numbers in the findings of one whole run, worked out again from its log."""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.report.synthetic import Event, Made, Today, make_run
from trainer.report import material
from trainer.report.finding import Finding
from trainer.report.rules import diagnose

GENERATE = "profiling/Time taken: CustomGRPOTrainer.transformers.generate"
STEPS = 100


def faults(step: int, today: Today) -> None:
    """No spread at every second step, hard prompts at four, one slow step, one fast, gradients that leap."""
    if step % 2 == 0:
        today.noise, today.skill, today.loss = 0.0, 9.0, 0.0
    if step in (15, 37, 59, 81):
        today.skill, today.format = -9.0, 0.0
    if step == 50:
        today.other_s = 60.0
    if step == 70:
        today.token_s = 1e-4
    if step == 33:
        today.grad = 40.0
    if step > 90:
        today.limit = 180


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return make_run(tmp_path_factory.mktemp("numbers"), steps=STEPS, change=faults, evals=[(0, 0.2), (STEPS, 0.8)])


@pytest.fixture(scope="module")
def found(made: Made) -> dict[tuple[str, str], Finding]:
    return {(finding.signal, finding.key): finding for finding in diagnose(material.of(made.rundir))}


@pytest.fixture(scope="module")
def steps(made: Made) -> list[Event]:
    return [event for event in made.events if event["kind"] == "step"]


def column(steps: list[Event], name: str, table: str = "metrics") -> list[float]:
    return [event[table][name] for event in steps]


def test_groups(found: Any, steps: list[Event]) -> None:
    dead, right = column(steps, "dead_frac", "groups"), column(steps, "all_right_frac", "groups")
    said = found["dead_groups", "all_right"]
    assert said.level == "note"
    assert said.values["all_right"] == pytest.approx(statistics.fmean(right[-20:]))
    assert said.values["now"] == pytest.approx(statistics.fmean(dead[-20:]))
    assert said.steps == tuple(event["step"] for event in steps if event["groups"]["dead_frac"] == 1)


def test_losses(found: Any, steps: list[Event]) -> None:
    zero = {e["step"] for e in steps if e["metrics"]["train/loss"] == 0}
    dead = {e["step"] for e in steps if e["groups"]["dead_frac"] == 1 or e["metrics"]["train/grad_norm"] == 0}
    said = found["zero_loss", "dead"]
    assert (said.values["zero"], said.values["both"], said.values["count"]) == (len(zero), len(zero & dead), STEPS)
    assert said.steps == tuple(sorted(zero & dead)) and said.level == "note"


def test_gradients(found: Any, steps: list[Event]) -> None:
    norms = column(steps, "train/grad_norm")
    usual = statistics.median(norm for norm in norms if norm)
    said = found["grad_norm", "spikes_clipped"]
    assert said.steps == (33,) and said.values["usual"] == pytest.approx(usual) and said.values["most"] == 40
    assert found["grad_norm", "none"].values["none"] == norms.count(0)


def test_dips(found: Any, steps: list[Event], made: Made) -> None:
    said = found["reward_dips", "some"]
    assert said.steps == (15, 37, 59, 81)
    rewards = dict(zip(range(1, STEPS + 1), column(steps, "train/reward"), strict=True))
    assert said.values["lowest"] == min(rewards[step] for step in said.steps)
    assert said.values["usual"] == pytest.approx(statistics.median(rewards[s] for s in range(1, 101)), abs=0.3)
    assert [step for step, _, _ in said.values["prompts"]] == [15, 37, 59, 81]
    period = found["dip_period", "other"]
    assert (period.values["period"], period.values["epoch"]) == (22, 128 // 4)


def test_times(found: Any, steps: list[Event], made: Made) -> None:
    assert found["slow_steps", "slow_same_length"].steps == (50,)
    assert found["slow_steps", "fast"].steps == (70,)
    said = found["slow_steps", "slow_same_length"].values
    assert said["part"] == "other" and said["extra"] == pytest.approx(60)
    assert said["most"] == pytest.approx(steps[49]["seconds"])
    share = found["time_share", "one"].values
    warm = [event for event in steps if event["step"] > 2]
    total = sum(event["seconds"] for event in warm)
    assert share["phase"] == "generate"
    assert share["share"] == pytest.approx(sum(event["metrics"][GENERATE] for event in warm) / total)
    assert sum(share["shares"].values()) == pytest.approx(1.0)


def test_truncation(found: Any, steps: list[Event]) -> None:
    cut = column(steps, "truncated_frac", "groups")
    said = found["truncation", "often"]
    assert said.level == "amber" and said.values["now"] == pytest.approx(statistics.fmean(cut[-20:]))
    assert said.values["most"] == max(cut)


def test_generation(found: Any, steps: list[Event]) -> None:
    said = found["generation_floor", "near"].values
    assert said["seconds"] == pytest.approx(statistics.median(column(steps[2:], GENERATE)))
    assert said["new_tokens"] == statistics.median(column(steps[2:], "train/completions/max_length"))
    assert said["factor"] == pytest.approx(said["seconds"] / said["floor"]) and 1 < said["factor"] < 10


def test_held_out_rows(found: Any) -> None:
    said = found["evaluation", "better_correct_frac"].values
    ps = np.array([(0.2 * 200 + 0.5) / 201, (0.8 * 200 + 0.5) / 201])
    assert (said["first"], said["last"]) == (0.2, 0.8)
    assert said["error"] == pytest.approx(1.96 * float(np.sqrt((ps * (1 - ps) / 201).sum())))


def test_without_the_faults_none_of_it_is_said(found: Any, tmp_path: Path) -> None:
    made = make_run(tmp_path, steps=STEPS)
    calm = {(finding.signal, finding.key) for finding in diagnose(material.of(made.rundir))}
    told = {key for key, finding in found.items() if finding.level in ("red", "amber")}
    told |= {("reward_dips", "some"), ("dip_period", "other"), ("slow_steps", "fast"), ("grad_norm", "none")}
    told |= {("slow_steps", "slow_same_length"), ("grad_norm", "spikes_clipped")}
    assert told and not told & calm
