"""What the observer writes, as far as no trainer is needed for it."""

from dataclasses import replace
from pathlib import Path

import pytest

from tests.builders import batch, publish, staged
from trainer import presets
from trainer.run import checkpoints
from trainer.run.events import EventReader, EventWriter
from trainer.run.groups import read_groups
from trainer.run.records import AlertEvent, CheckpointEvent, StepEvent
from trainer.run.rundir import RunDir
from trainer.text import Message, words
from trainer.worker.observer import RunObserver


def test_why_a_row_could_not_be_judged_is_said_in_the_readers_language(tmp_path: Path) -> None:
    run = RunDir(tmp_path / "run")
    run.rollouts.mkdir(parents=True)
    spec = presets.load("tiny", ["generation.num_generations=2", "optim.max_steps=4"])
    why = Message("rewards.failed.hung")
    with EventWriter(run.events, 1) as events:
        observer = RunObserver(run, events, spec, 4, lambda *seen: None, lambda *seen: None, {})
        observer.rollouts(1, replace(batch(), failures=[{"correct": why}, {}, {}, {}]))
    (alert,) = [event for event in EventReader(run.events).read() if isinstance(event, AlertEvent)]
    korean, english = words("ko").said(why), str(why)
    assert (korean in alert.said(words("ko")).text, english in alert.said(words("en")).text) == (True, True)
    failed = read_groups(run.rollouts_file(1)).groups[0].completions[0].failed
    assert failed == {"correct": english}, "rollout files keep it in English"


def test_the_advantages_of_a_step_are_among_its_metrics(tmp_path: Path) -> None:
    run = RunDir(tmp_path / "run")
    run.rollouts.mkdir(parents=True)
    spec = presets.load("tiny", ["generation.num_generations=2", "optim.max_steps=4"])
    with EventWriter(run.events, 1) as events:
        observer = RunObserver(run, events, spec, 4, lambda *seen: None, lambda *seen: None, {})
        observer.rollouts(1, replace(batch(), advantages=[1.0, -1.0, 0.5, -0.5]))
        observer.step(1, {"loss": 0.1, "reward": 0.5}, [])
    (step,) = [event for event in EventReader(run.events).read() if isinstance(event, StepEvent)]
    found = step.metrics or {}
    assert (found["train/advantage_mean"], round(found["train/advantage_std"], 4)) == (0, 0.9129)


def test_of_a_step_that_trains_on_earlier_completions_alone_the_advantages_are_theirs(tmp_path: Path) -> None:
    run = RunDir(tmp_path / "run")
    run.rollouts.mkdir(parents=True)
    spec = presets.load("tiny", ["generation.num_generations=2", "optim.max_steps=40"])
    dead = replace(batch(), rewards=[1.0] * 4, advantages=[0.0] * 4, trained=[False] * 4, again=[1.5, -1.5])
    with EventWriter(run.events, 1) as events:
        observer = RunObserver(run, events, spec, 40, lambda *seen: None, lambda *seen: None, {})
        for step in range(1, 21):
            observer.rollouts(step, dead)
            observer.step(step, {"loss": 0.1, "reward": 0.5}, [])
    found = EventReader(run.events).read()
    steps = [event.metrics or {} for event in found if isinstance(event, StepEvent)]
    assert all(each["train/advantage_std"] > 2 and each["train/advantage_mean"] == 0 for each in steps)
    assert not [event for event in found if isinstance(event, AlertEvent)], "there was a gradient in each of them"


def test_what_cannot_be_deleted_costs_room_and_not_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = RunDir(tmp_path / "run")
    run.checkpoints.mkdir(parents=True)
    spec = presets.load("tiny", ["checkpoint.save_total_limit=1"])
    publish(run, 1)

    def refuse(path: Path) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(checkpoints, "_remove", refuse)
    saved: list[int] = []
    with EventWriter(run.events, 1) as events:
        observer = RunObserver(run, events, spec, 4, lambda *seen: None, lambda step, _: saved.append(step), {})
        observer.checkpoint(2, staged(run, 2))
    said, alert = EventReader(run.events).read()
    assert isinstance(said, CheckpointEvent) and isinstance(alert, AlertEvent)
    assert (said.step, said.verified, saved) == (2, True, [2])
    assert "checkpoint-1: Permission denied" in alert.text
