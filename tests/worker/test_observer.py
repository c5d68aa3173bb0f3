"""What the observer writes, as far as no trainer is needed for it."""

from dataclasses import replace
from pathlib import Path

from tests.builders import batch
from trainer import presets
from trainer.run.events import EventReader, EventWriter
from trainer.run.groups import read_groups
from trainer.run.records import AlertEvent, StepEvent
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
