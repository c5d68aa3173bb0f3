"""trainer.worker.callbacks: what reaches the event log and the disk, and when a run must not go on."""

import json
import math
import shutil
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from tests.builders import batch, publish
from tests.builders import evaluated as measured
from tests.records import event_of, log_lines
from trainer import presets
from trainer.errors import CheckpointError, WorkError
from trainer.evaluate import answers
from trainer.grpo.spans import Span
from trainer.run import checkpoints, stop_requests
from trainer.run.events import EventWriter
from trainer.run.rundir import RunDir
from trainer.worker.callbacks import MakeRoom, SaveWhenAsked, StopWhenAsked
from trainer.worker.heartbeat import Heartbeat
from trainer.worker.observer import DEAD_STEPS, BestStep, RunObserver, profile

LOGS = {"loss": 0.1, "grad_norm": 1.0, "reward": 0.75, "num_tokens": 100.0, "epoch": 0.5}


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    made = RunDir(tmp_path / "run")
    made.rollouts.mkdir(parents=True)
    return made


@pytest.fixture
def evaluated() -> list[tuple[str, int]]:
    return []


@pytest.fixture
def observer(run: RunDir, evaluated: list[tuple[str, int]]) -> RunObserver:
    spec = presets.load("tiny", ["generation.num_generations=2", "eval.eval_steps=2", "optim.max_steps=4"])
    events = EventWriter(run.events, 1)
    return RunObserver(run, events, spec, 4, lambda *seen: evaluated.append(seen), lambda *seen: None, {})


def events(run: RunDir, kind: str) -> list[dict[str, Any]]:
    return [event for event in log_lines(run.events) if event["kind"] == kind]


def test_a_step_event_has_metrics_under_their_wandb_names(run: RunDir, observer: RunObserver) -> None:
    observer.rollouts(1, batch())
    observer.step(1, dict(LOGS), [Span("step", None, 1, 2.0, 0.5), Span("_prepare_inputs", "step", 1, 1.5, 1.5)])
    (step,) = events(run, "step")
    assert (step["step"], step["of"], step["epoch"], step["seconds"], step["tokens"]) == (1, 4, 0.5, 2.0, 100)
    assert step["metrics"]["train/reward"] == 0.75
    assert "train/epoch" not in step["metrics"]
    assert step["metrics"]["profiling/Time taken: CustomGRPOTrainer._prepare_inputs"] == 1.5
    assert step["groups"]["dead_frac"] == 0.5
    (span,) = events(run, "span")
    assert span["warmup"] is True
    assert span["spans"][1] == {
        "name": "_prepare_inputs",
        "parent": "step",
        "calls": 1,
        "total_s": 1.5,
        "self_s": 1.5,
        "ok": True,
    }


def test_two_generations_of_one_step_share_a_file_and_number_their_groups_on(
    run: RunDir, observer: RunObserver
) -> None:
    observer.rollouts(1, batch())
    observer.rollouts(1, batch())
    lines = [json.loads(line) for line in run.rollouts_file(1).read_text().splitlines()]
    assert [line["group"] for line in lines] == [0, 1, 2, 3]
    assert events(run, "rollouts")[-1] | {"t": 0} == {
        "t": 0,
        "kind": "rollouts",
        "attempt": 1,
        "step": 1,
        "file": "step_000001.jsonl",
        "groups": 4,
        "completions": 8,
    }


def test_a_step_made_again_after_a_resume_replaces_its_file(run: RunDir, observer: RunObserver) -> None:
    run.rollouts_file(1).write_text("left by the killed attempt\n")
    observer.rollouts(1, batch())
    assert len(run.rollouts_file(1).read_text().splitlines()) == 2


@pytest.mark.parametrize(("key", "value"), [("loss", math.nan), ("loss", math.inf), ("grad_norm", math.nan)])
def test_a_broken_step_is_written_and_then_ends_the_run(
    run: RunDir, observer: RunObserver, key: str, value: float
) -> None:
    observer.rollouts(1, batch())
    with pytest.raises(WorkError, match=f"step 1: {key} is {value}: the training diverged"):
        observer.step(1, LOGS | {key: value}, [])
    (step,) = events(run, "step")
    assert step["_dropped"] == [f"metrics.train/{key}"]


def test_no_gradient_for_many_steps_is_said_once(run: RunDir, observer: RunObserver) -> None:
    dead = batch()
    dead = type(dead)(**{**dead.__dict__, "rewards": [1.0] * 4, "correct": [True] * 4})
    for step in range(1, DEAD_STEPS + 3):
        observer.rollouts(step, dead)
        observer.step(step, dict(LOGS), [])
    (alert,) = events(run, "alert")
    assert "100 % all right" in alert["text"]
    assert events(run, "step")[DEAD_STEPS - 1]["t"] <= alert["t"]


def test_a_collapse_is_called_so(run: RunDir, observer: RunObserver) -> None:
    one_text = {"rewards": [0.0] * 4, "correct": [False] * 4, "completions": ["x"] * 4}
    for step in range(1, DEAD_STEPS + 3):
        observer.rollouts(step, type(batch())(**batch().__dict__ | (one_text if step > 1 else {})))
        observer.step(step, dict(LOGS), [])
    (alert,) = events(run, "alert")
    assert (alert["key"], alert["values"]["same"], alert["values"]["now"]) == ("collapsed", 1.0, 0.0)
    assert "Lower the learning rate" in alert["text"]


def test_evaluation_comes_after_its_step_and_not_after_the_last(
    observer: RunObserver, evaluated: list[tuple[str, int]]
) -> None:
    for step in range(1, 5):
        observer.rollouts(step, batch())
        observer.step(step, dict(LOGS), [])
    assert evaluated == [("during", 2)]


def test_seconds_under_two_parents_are_one_metric() -> None:
    spans = [Span("logps", "a", 1, 1.0, 1.0), Span("logps", "b", 1, 2.0, 2.0)]
    assert profile(spans) == {"profiling/Time taken: CustomGRPOTrainer.logps": 3.0}


@pytest.mark.parametrize(("step", "stops"), [(3, False), (4, True), (5, False)])
def test_a_stop_waits_for_the_end_of_the_rollout_phase(step: int, stops: bool) -> None:
    class Thing:
        global_step = step
        should_save = False
        should_training_stop = False

    control = Thing()
    StopWhenAsked(lambda: True, updates_per_phase=4).on_step_end(None, Thing(), control)
    assert (control.should_save, control.should_training_stop) == (stops, stops)


def test_a_save_waits_for_the_end_of_the_rollout_phase_and_clears_the_request(run: RunDir) -> None:
    class Thing:
        global_step = 0
        should_save = False
        should_training_stop = False

    def ended(step: int) -> bool:
        state, control = Thing(), Thing()
        state.global_step = step
        asked.on_step_end(None, state, control)
        assert not control.should_training_stop
        return control.should_save

    run.control.mkdir()
    asked = SaveWhenAsked(run, 2, lambda: 4, updates_per_phase=4)
    assert not ended(4)
    stop_requests.ask_to_save(run, 1)  # of the attempt before
    assert not ended(4)
    stop_requests.ask_to_save(run, 2)
    assert [ended(step) for step in (5, 6, 7, 8)] == [False, False, False, True]
    assert run.save_request.exists()  # not saved yet
    asked.on_save(None, None, None)
    assert not run.save_request.exists()


@pytest.mark.parametrize(("done", "waits"), [(2, False), (3, True)])
def test_a_request_to_save_what_is_saved_is_met_already(run: RunDir, done: int, waits: bool) -> None:
    publish(run, 2)
    run.control.mkdir()
    stop_requests.ask_to_save(run, 1)
    SaveWhenAsked(run, 1, lambda: done, updates_per_phase=1).look()
    assert run.save_request.exists() is waits


def wait_for(looks: list[int], count: int) -> None:
    end = time.monotonic() + 20
    while len(looks) < count and time.monotonic() < end:
        time.sleep(0.005)
    assert len(looks) >= count


def test_signs_of_life_carry_memory_and_look_for_requests(run: RunDir) -> None:
    looks: list[int] = []
    heart = Heartbeat(EventWriter(run.events, 1), 0.01, lambda: 7, lambda: looks.append(1))
    heart.start()
    wait_for(looks, 3)
    heart.stop()
    beats = events(run, "heartbeat")
    assert len(beats) >= 2
    assert beats[0]["step"] == 7
    assert 0 < beats[0]["rss_gib"] <= beats[0]["peak_gib"] + 0.1


def test_a_failed_reading_does_not_end_the_signs_of_life(run: RunDir, capsys: pytest.CaptureFixture[str]) -> None:
    looks: list[int] = []

    def look() -> None:
        looks.append(1)
        if len(looks) < 3:
            raise OSError("no such device")

    heart = Heartbeat(EventWriter(run.events, 1), 0.01, lambda: 7, look)
    heart.start()
    wait_for(looks, 5)
    heart.stop()
    assert events(run, "heartbeat")
    assert "heartbeat: OSError: no such device" in capsys.readouterr().err


def test_a_failed_step_leaves_its_spans(run: RunDir, observer: RunObserver) -> None:
    observer.failed_step([])
    observer.failed_step([Span("_prepare_inputs", "step", 1, 1.0, 1.0, ok=False)])
    (span,) = events(run, "span")
    assert (span["step"], span["spans"][0]["ok"]) == (1, False)


def test_the_best_step_follows_the_log_and_a_resume_takes_it_back(run: RunDir) -> None:
    def tell(attempt: int, *said: dict[str, Any]) -> None:
        with EventWriter(run.events, attempt) as log:
            for line in said:
                log.emit(event_of(line))

    publish(run, 2, 4, 6)
    of_the_first, started = BestStep(run), {"kind": "run_started", "resumed_from_step": 0, "resumed_from": None}
    assert of_the_first() is None
    tell(1, started, measured(2, 0.5), measured(4, 0.4))
    assert of_the_first() == 2
    tell(1, measured(6, 0.9))
    assert of_the_first() == of_the_first() == 6
    resumed = started | {"resumed_from_step": 4, "resumed_from": "checkpoint-4"}
    tell(2, resumed)
    assert BestStep(run)() == 2  # step 6 is measured again
    of_the_second = BestStep(run)
    assert of_the_second() == 2
    tell(2, measured(6, 0.6))
    assert of_the_second() == BestStep(run)() == 6


@pytest.mark.parametrize(("with_answers", "enough"), [(False, True), (True, False)])
def test_room_for_a_save_counts_the_copy_that_is_answered_with(
    run: RunDir, monkeypatch: pytest.MonkeyPatch, with_answers: bool, enough: bool
) -> None:
    publish(run, 2)
    saved = run.checkpoint(2)
    assert answers.copied_size(saved) == (saved / "model.safetensors").stat().st_size > 0
    free = round(1.2 * checkpoints.size(saved)) + checkpoints.SPARE_BYTES
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(1, 1, free))  # type: ignore[attr-defined]

    class Thing:
        should_save = True

    overrides = [f"eval.answers={json.dumps(with_answers)}"]
    observer = RunObserver(
        run, EventWriter(run.events, 1), presets.load("tiny", overrides), 4, lambda *_: None, lambda *_: None, {}
    )
    with nullcontext() if enough else pytest.raises(CheckpointError, match="then resume the run"):
        MakeRoom(observer).on_step_end(None, None, Thing())
