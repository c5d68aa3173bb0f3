"""More steps for a run that has ended: what is planned, what is kept, what is refused."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.builders import FAKE_WORKER, publish, until_step
from trainer import launch, presets
from trainer.__main__ import main as tool
from trainer.errors import Problem, RunError, TrainerError
from trainer.launch import WorkerHandle
from trainer.machine.json_files import read_json
from trainer.run import spec_file
from trainer.run.records import Event
from trainer.run.rundir import RunDir, outputs_dir
from trainer.run.state import state_of
from trainer.worker.__main__ import _emit_started
from trainer.worker.session import Session

MakeRun = Callable[..., RunDir]
Start = Callable[..., WorkerHandle]
Capture = pytest.CaptureFixture[str]
SHORT = ["optim.max_steps=4", "optim.per_device_train_batch_size=32", "data.max_rows=20"]


def made(*overrides: str, events: str = "") -> RunDir:
    """A tiny run of four steps as it is before its worker starts."""
    spec, plan = launch.prepare("tiny", [*SHORT, *overrides])
    run = launch.create("tiny", spec, plan)
    run.events.write_text(events)
    os.utime(run.spec, (1000, 1000))
    return run


FINISHED = (
    '{"t": 1, "attempt": 1, "kind": "run_started"}\n'
    '{"t": 2, "attempt": 1, "kind": "plan", "plan": {"optimizer_steps": 4, "rows": 20}}\n'
    '{"t": 3, "attempt": 1, "kind": "step", "step": 4, "of": 4}\n'
    '{"t": 4, "attempt": 1, "kind": "run_finished", "step": 4}\n'
)


def test_a_finished_run_is_planned_longer_and_the_old_plan_is_kept() -> None:
    run = made(events=FINISHED)
    spec, plan, created = run.read_spec(), read_json(run.plan), run.spec.stat().st_mtime
    assert launch.extended_total(run, 4) == (4, 8)
    assert run.read_spec() == spec  # nothing was changed by asking
    longer = launch.extend(run, 4)
    assert (longer.optimizer_steps, longer.rows) == (8, 20)
    assert run.read_spec().optim.max_steps == 8
    assert run.read_spec().model_copy(update={"optim": spec.optim}) == spec
    assert (read_json(run.plan) or {})["optimizer_steps"] == 8
    assert spec_file.parse((run.path / "spec.1.json").read_bytes()) == spec
    assert read_json(run.path / "plan.1.json") == plan
    assert run.spec.stat().st_mtime == created  # the list of runs is sorted by it
    assert launch.status_of(run) == "finished"
    assert launch.extend(run, 2).optimizer_steps == 10
    assert {path.name for path in run.path.glob("*.json")} >= {"spec.1.json", "spec.2.json", "plan.2.json"}


def test_warnings_of_the_rows_stay_also_those_of_the_version_before() -> None:
    run = made(events=FINISHED)
    of_rows = Problem("presets.no_data", "rows.jsonl:3").message()
    stored = read_json(run.plan) or {}
    stored["warnings"] = [*stored["warnings"], "rows.jsonl:1: an old sentence", of_rows.stored()]
    run.plan.write_text(json.dumps(stored), encoding="utf-8")
    once = launch.extend(run, 4).warnings
    assert [str(warning) for warning in once[-2:]] == ["rows.jsonl:1: an old sentence", str(of_rows)]
    assert list(map(str, launch.extend(run, 4).warnings)) == list(map(str, once))


def test_only_an_extended_run_that_is_finished_is_resumed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_WORKER", "finish")
    run = made(events=FINISHED)
    publish(run, 4)
    for checkpoint in ("latest", "4"):
        with pytest.raises(RunError, match=r"no steps are left to train  ->  for more steps: python -m trainer extend"):
            launch.resume(run, FAKE_WORKER, checkpoint)
    assert not launch.more_is_asked(run, state_of(run))
    launch.extend(run, 4)
    assert launch.more_is_asked(run, state_of(run))
    handle = launch.resume(run, FAKE_WORKER, "4")
    assert (handle.attempt, handle.process.wait(20)) == (2, 0)
    handle = launch.resume(run, FAKE_WORKER)  # the fake one trains four steps only
    assert (handle.attempt, handle.process.wait(20)) == (3, 0)


def test_steps_are_rounded_up_to_a_whole_rollout_phase() -> None:
    run = made("generation.steps_per_generation=4", events=FINISHED)
    assert launch.extended_total(run, 1) == (4, 8)
    assert launch.extend(run, 5).optimizer_steps == 12


def test_a_run_planned_in_epochs_is_extended_too() -> None:
    run = made("optim.max_steps=", "optim.num_train_epochs=2", events=FINISHED)
    assert launch.extended_total(run, 3) == (10, 13)  # 20 rows, 4 a step
    launch.extend(run, 3)
    assert run.read_spec().optim.max_steps == 13


@pytest.mark.parametrize("steps", [0, -1])
def test_less_than_a_step_is_refused(steps: int, capsys: Capture) -> None:
    run = made(events=FINISHED)
    with pytest.raises(RunError, match=r"--steps: is .*1 or more"):
        launch.extend(run, steps)
    assert tool(["extend", run.name, "--steps", str(steps)]) == launch.EXIT_INPUT
    assert run.read_spec().optim.max_steps == 4


def test_a_run_that_trains_is_not_extended(make_run: MakeRun, start: Start) -> None:
    run = make_run()
    start(run, "obey")
    until_step(run)
    with pytest.raises(RunError, match="is running  ->  end it first: python -m trainer pause tiny-1"):
        launch.extend(run, 4)
    launch.stop(run, grace_s=20)


def test_an_imported_run_and_one_of_unknown_length_are_not_extended(make_run: MakeRun) -> None:
    imported: dict[str, Any] = {"kind": "run_started", "imported": {"from": "wandb", "files": []}}
    with pytest.raises(RunError, match="was imported"):
        launch.extend(make_run("tiny-1", imported), 4)
    unknown = make_run("tiny-2", {"kind": "run_stopped", "step": 0})
    with pytest.raises(RunError, match="has no number of steps yet"):
        launch.extend(unknown, 4)
    assert not (unknown.path / "spec.1.json").exists()


def test_a_plan_that_is_impossible_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    run = made(events=FINISHED)
    text = run.spec.read_text().replace('"num_generations": 8', '"num_generations": 7')
    run.spec.write_text(text)
    with pytest.raises(TrainerError):
        launch.extend(run, 4)
    assert run.spec.read_text() == text
    assert not (run.path / "spec.1.json").exists()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (["optim.lr_scheduler_type=constant", "optim.warmup_steps=0"], None),
        (["optim.lr_scheduler_type=constant_with_warmup", "optim.warmup_steps=5"], None),
        (["optim.lr_scheduler_type=constant_with_warmup", "optim.warmup_steps=0.1"], None),  # over by then
        (["optim.lr_scheduler_type=constant_with_warmup", "optim.warmup_steps=0.9"], "is 8 steps then instead of 4"),
        (["optim.lr_scheduler_type=linear", "optim.warmup_steps=0"], "step 6 38 % of optim.learning_rate"),
        (["optim.lr_scheduler_type=cosine"], "cosine follows the number of steps: planned for 8 instead of 4"),
    ],
)
def test_a_learning_rate_that_follows_the_length_is_said(settings: list[str], said: str | None) -> None:
    notes = launch.extension_notes(presets.load("tiny", [*SHORT, *settings]), 4, 8)
    assert len(notes) == (said is not None)
    assert said is None or said in str(notes[0])


class _Told:
    """Stands for the event log of a worker."""

    attempt = 2

    def __init__(self) -> None:
        self.event: Any = None

    def emit(self, event: Event) -> None:
        self.event = event


def test_the_next_attempt_tells_that_the_run_was_extended() -> None:
    run = made(events=FINISHED)
    for extended_from in (None, 4):
        told: Any = _Told()
        session = Session(run, told, None)  # type: ignore[arg-type]
        _emit_started(session, run.read_spec(), None, [])
        assert told.event.extended_from == extended_from
        if extended_from is None:
            launch.extend(run, 4)


def test_the_command_says_what_is_planned_and_how_to_go_on(capsys: Capture) -> None:
    run = made("optim.lr_scheduler_type=linear", events=FINISHED)
    publish(run, 4)
    assert tool(["extend", run.name, "--steps", "4"]) == 0
    out = capsys.readouterr().out
    assert f"{run.name}: 8 steps are planned instead of 4\n" in out
    assert "note: optim.lr_scheduler_type = linear" in out
    assert f"python app.py --headless --resume {run.name} goes on from checkpoint-4" in out
    assert RunDir.open(outputs_dir(), run.name).read_spec().optim.max_steps == 8


@pytest.mark.parametrize("spoil", [os.mkfifo, lambda path: path.symlink_to("/dev/zero"), lambda path: None])
def test_what_is_no_plan_is_replaced_and_not_kept(spoil: Callable[[Path], None]) -> None:
    run = made(events=FINISHED)
    for path in (run.plan, run.spec_copy):
        path.unlink()
        spoil(path)
    launch.extend(run, 4)
    assert read_json(run.plan) and read_json(run.spec_copy) == read_json(run.spec)
    assert [path.name for path in run.path.glob("*.1.json")] == ["spec.1.json"]
