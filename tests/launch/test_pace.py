"""What is expected of a run here: from runs that took as long, from the preset's own figure, else counted."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from trainer import launch, presets
from trainer.launch import pace
from trainer.machine import environment, gpu
from trainer.machine.gpu import GPU
from trainer.plan.duration import Duration
from trainer.run.rundir import RunDir
from trainer.text import words


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONEGRPO_OUTPUTS", str(tmp_path / "outputs"))
    monkeypatch.setattr(gpu, "list_gpus", lambda: [])
    monkeypatch.setattr(os, "cpu_count", lambda: 2)


def expected(*changes: str, preset: str | None = "tiny") -> Duration:
    spec = presets.load("tiny", changes)
    found = launch.expected(spec, launch.plan_here(spec, 1024), preset)
    assert found is not None
    return found


def ran(name: str, seconds: float, *changes: str, **env: Any) -> RunDir:
    """A run of 40 steps that took so long each and 20 s around them."""
    spec = presets.load("tiny", changes)
    here = {"cpu_count": 2, "ram_gib": environment.ram_gib(), "gpus": []}
    outputs = Path(os.environ["ONEGRPO_OUTPUTS"])
    rundir = RunDir.create(outputs, name, spec, launch.plan_here(spec, 1024), here | env)
    steps: list[dict[str, Any]] = [{"kind": "step", "step": n, "seconds": seconds} for n in range(1, 41)]
    events = [{"kind": "run_started"}, *steps, {"kind": "run_finished", "step": 40, "seconds": 40 * seconds + 20}]
    rundir.events.write_text("".join(json.dumps({"t": 1.0, "attempt": 1} | event) + "\n" for event in events))
    return rundir


def test_the_presets_own_figure_counts_on_such_a_machine() -> None:
    found = expected()
    assert (found.kind, found.step_s, found.steps) == ("preset", 0.18, 150)
    assert words("en").said(found.source) == "measured: preset tiny on 2 CPU cores, 2026-11-30"


def test_on_another_machine_it_is_counted_from_that_ones_speed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    assert expected().kind == "cpu"


def test_a_run_that_was_here_counts_more_than_the_preset() -> None:
    ran("mine", 0.8)
    found = expected("optim.max_steps=10")
    assert found.kind == "run" and found.is_measured
    assert found.step_s == pytest.approx(0.8)
    assert found.total_s == pytest.approx(10 * 0.8 + 20)
    assert words("en").said(found.source) == "measured: run mine on this machine"


def test_of_three_runs_the_one_in_the_middle_counts() -> None:
    for name, seconds in (("first", 0.7), ("second", 0.8), ("disturbed", 5.0)):
        ran(name, seconds)
    assert expected().step_s == pytest.approx(0.8)


def test_a_run_of_another_machine_does_not_count() -> None:
    ran("theirs", 0.8, cpu_count=96)
    assert expected().kind == "preset"


def test_other_sizes_are_worked_out_from_what_was_measured() -> None:
    ran("mine", 0.8)
    found = expected("optim.per_device_train_batch_size=512")
    assert found.kind == "scaled" and not found.is_measured
    assert 1.2 < found.step_s < 2.0  # about twice
    assert expected("generation.max_completion_length=24").step_s > 0.8


def spent(rundir: RunDir, **seconds: float) -> None:
    """Of every step in the rewards, of a checkpoint every ten steps, of an evaluation before and after."""
    lines = []
    for line in rundir.events.read_text().splitlines():
        event = json.loads(line)
        if event["kind"] == "step":
            event["metrics"] = {pace.REWARDS: seconds["rewards"]}
        if event["kind"] == "run_finished":
            event["seconds"] += 4 * seconds["save"] + 2 * seconds["eval"]
            lines += [{"kind": "checkpoint", "step": step, "seconds": seconds["save"]} for step in (10, 20, 30, 40)]
            lines += [{"kind": "eval", "step": step, "seconds": seconds["eval"]} for step in (0, 40)]
        lines.append(event)
    rundir.events.write_text("".join(json.dumps({"t": 1.0, "attempt": 1} | line) + "\n" for line in lines))


def test_checkpoints_and_evaluations_of_a_run_count_as_often_as_there_will_be_some() -> None:
    spent(ran("mine", 0.8, "checkpoint.save_steps=10"), rewards=0.1, save=3.0, eval=5.0)
    ten = expected("checkpoint.save_steps=10", "optim.max_steps=10")
    assert ten.total_s == pytest.approx(10 * 0.8 + 20 + 3 + 2 * 5)
    hundred = expected("checkpoint.save_steps=10", "optim.max_steps=100", "eval.eval_steps=50")
    assert hundred.total_s == pytest.approx(100 * 0.8 + 20 + 10 * 3 + 3 * 5)
    assert expected("optim.max_steps=10", "data.eval_path=").total_s is not None


def test_what_rewards_took_goes_with_the_completions_and_not_with_their_length() -> None:
    longer, more = "generation.max_completion_length=48", "optim.per_device_train_batch_size=512"
    ran("mine", 0.8)
    of_model = expected(longer).step_s
    shutil.rmtree(Path(os.environ["ONEGRPO_OUTPUTS"]))
    spent(ran("mine", 0.8), rewards=0.5, save=0.0, eval=0.0)
    assert expected(longer).step_s == pytest.approx(0.5 + 0.3 * of_model / 0.8)
    assert expected(more).step_s > 1.0  # twice the completions: their rewards alone


def test_a_run_with_another_fast_path_is_no_measure() -> None:
    ran("mine", 0.8, "run.fast=off")
    assert expected("run.fast=off").step_s == pytest.approx(0.8)
    assert expected().kind == "preset"
    assert expected("optim.per_device_train_batch_size=512").source.values.get("run") is None


def test_neither_is_one_of_a_version_without_it() -> None:
    older = ran("mine", 0.8)
    written = json.loads(older.spec.read_text(encoding="utf-8"))
    del written["run"]["fast"]
    older.spec.write_text(json.dumps(written), encoding="utf-8")
    assert expected().kind == "preset"


def test_a_run_that_has_hardly_begun_or_cannot_be_read_is_passed_over() -> None:
    begun = ran("begun", 0.8)
    begun.events.write_text('{"t":1,"attempt":1,"kind":"step","step":1,"seconds":9}\n')
    ran("torn", 0.8).spec.write_text("{")
    assert expected().kind == "preset"


def test_a_gpu_that_is_in_no_table_has_no_estimate(monkeypatch: pytest.MonkeyPatch) -> None:
    unknown = GPU(0, "GPU-1", "Somebody's card", 24.0, 0.0, None, None, "")
    monkeypatch.setattr(gpu, "list_gpus", lambda: [unknown])
    spec = presets.load("gemma3-1b")
    made = launch.plan_here(spec, None)
    assert launch.expected(spec, made) is None


def test_a_run_that_finds_no_gpu_is_told_of_the_card_it_needs() -> None:
    spec = presets.load("gemma3-4b")
    found = launch.expected_anywhere(spec, launch.plan_here(spec, None))
    assert found is not None and found.kind == "card" and found.gb == 16


def test_looking_costs_nothing_a_second_time(monkeypatch: pytest.MonkeyPatch) -> None:
    ran("mine", 0.8)
    expected()
    monkeypatch.setattr(pace, "EventReader", None)
    assert expected().kind == "run"


def test_rounds_that_may_be_taken_are_said_beside_what_is_expected() -> None:
    ran("mine", 0.8)
    found = expected("sampling.max_rounds=3")
    assert found.kind == "scaled"
    assert found.step_s == pytest.approx(0.8)
    assert found.at_most is not None and 0.8 < found.at_most.values["step"] < 3 * 0.8
    ran("rounds", 1.1, "sampling.max_rounds=3")
    measured = expected("sampling.max_rounds=3")
    assert (measured.kind, measured.at_most) == ("run", None)
    assert expected("optim.max_steps=10").step_s == pytest.approx(0.8)  # nobody knows how many rounds that run took
