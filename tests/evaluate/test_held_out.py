"""trainer.evaluate.held_out: what a run writes of its held-out rows, also after it was stopped or killed in between.

The model is real and writes random text; checkpoints are files, of two steps an epoch.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from tests.builders import HALF, publish, rows, tiny_model
from tests.records import event_of, log_lines
from trainer.console import lines
from trainer.evaluate.held_out import HeldOut
from trainer.grpo.spans import Spans
from trainer.rewards.wrapper import ComponentRewardWrapper
from trainer.run import held_out_texts
from trainer.run.events import EventWriter
from trainer.run.rundir import RunDir
from trainer.spec import Component, Eval, Generation, Reward, RunSpec
from trainer.text import words

ROWS, SAMPLES, BATCH = 6, 4, 5


class Counting(ComponentRewardWrapper):
    """Keeps how many completions came in each batch."""

    def __init__(self, reward: Reward, spans: Spans) -> None:
        super().__init__(reward, spans)
        self.batches: list[int] = []

    def score(self, prompts: Any, completions: Any, **columns: Any) -> list[float | None]:
        self.batches.append(len(completions))
        return super().score(prompts, completions, **columns)


Attempt = Callable[..., HeldOut]


@pytest.fixture(scope="module")
def tiny() -> tuple[Any, Any]:
    return tiny_model()


@pytest.fixture
def run(make_run: Callable[..., RunDir]) -> RunDir:
    return make_run()


@pytest.fixture
def attempt(run: RunDir, spec: RunSpec, tiny: tuple[Any, Any]) -> Attempt:
    """attempt(): the held-out rows as a worker has them. stopped: somebody asked it to stop."""

    def begin(reward: Reward = HALF, stopped: Callable[[], bool] = lambda: False, **settings: Any) -> HeldOut:
        chosen = spec.model_copy(
            update={
                "eval": Eval(**{"answers": True, "batch_size": 8} | settings),
                "generation": Generation(max_completion_length=4, temperature=1.5, num_generations=SAMPLES),
            }
        )
        spans, events = Spans(), EventWriter(run.events, 1)
        wrapper = Counting(reward, spans)
        held_out = HeldOut(run, events, chosen, rows(ROWS), tiny[1], wrapper, BATCH, spans, stopped)
        held_out.attach(tiny[0], nullcontext)
        return held_out

    return begin


def events(run: RunDir, kind: str) -> list[dict[str, Any]]:
    return [event for event in log_lines(run.events) if event["kind"] == kind]


def batches(held_out: HeldOut) -> list[int]:
    wrapper = held_out.wrapper
    assert isinstance(wrapper, Counting)
    return wrapper.batches


def written(run: RunDir, label: str) -> list[str]:
    return [entry["answer"] for entry in json.loads(run.inference_file(label).read_text(encoding="utf-8"))]


def test_a_step_is_answered_and_sampled_once(run: RunDir, attempt: Attempt) -> None:
    """An evaluation, a save and the end may fall on it; batches are no larger than those of the training."""
    held_out = attempt(pass_at=[1])
    publish(run, 2)
    held_out.evaluate("during", 2)
    held_out.save(2, run.checkpoint(2))
    held_out.evaluate("after", 2)
    during, after = events(run, "eval")
    assert (during["at"], after["at"]) == ("during", "after")
    said = [{name: event[name] for name in event if name not in ("t", "at", "seconds")} for event in (during, after)]
    assert said[0] == said[1]
    assert said[0]["sampled"]["samples"] == SAMPLES
    assert "not judged" not in lines.event_line(event_of(after), words("en"))
    assert batches(held_out) == [5, 1, 5, 5, 5, 5, 4]
    held_out.evaluate("during", 3)
    assert len(batches(held_out)) == 14
    assert len(events(run, "eval")) == 3


def test_what_was_answered_is_kept_for_a_few_rows_with_its_reward(run: RunDir, attempt: Attempt) -> None:
    held_out = attempt(answers=False)
    held_out.evaluate("before", 0)
    held_out.evaluate("during", 2)
    asked = held_out_texts.read(run, [event["step"] for event in events(run, "eval")])
    assert len(asked) == min(ROWS, held_out_texts.MOST_ROWS)
    measured = held_out._newest
    assert measured is not None
    assert [one.answers[2].text for one in asked] == measured.score.texts
    assert [one.answers[2].reward for one in asked] == measured.score.rewards
    assert all(list(one.answers) == [0, 2] and one.question for one in asked)


def test_texts_that_cannot_be_kept_cost_no_evaluation(run: RunDir, attempt: Attempt) -> None:
    run.held_out.mkdir()
    attempt(answers=False).evaluate("before", 0)
    assert len(events(run, "eval")) == 1


def test_a_save_is_the_adapter_and_the_answers_of_its_epoch(run: RunDir, attempt: Attempt) -> None:
    publish(run, 2, 3)
    held_out = attempt()
    held_out.save(2, run.checkpoint(2))
    held_out.save(3, run.checkpoint(3))
    assert [event["step"] for event in events(run, "eval")] == [2, 3]
    for label in ("1", "1.5"):
        assert [path.name for path in run.epoch_folder(label).iterdir()] == ["model.safetensors"]
        assert len(written(run, label)) == ROWS
    assert written(run, "1") == written(run, "1.5")  # the same weights


def test_without_answers_a_save_writes_nothing(run: RunDir, attempt: Attempt) -> None:
    publish(run, 2)
    held_out = attempt(answers=False)
    held_out.save(2, run.checkpoint(2))
    held_out.catch_up(2, run.checkpoint(2))
    assert not run.epoch_folder("1").exists()
    assert events(run, "eval") == []


def test_an_evaluation_leaves_no_spans_to_the_step_after_it(run: RunDir, attempt: Attempt) -> None:
    publish(run, 2, 3)
    held_out = attempt(pass_at=[1])
    for act in (
        lambda: held_out.evaluate("before", 0),
        lambda: held_out.save(2, run.checkpoint(2)),
        lambda: held_out.catch_up(3, run.checkpoint(3)),
    ):
        count = len(batches(held_out))
        act()
        assert len(batches(held_out)) > count
        assert held_out.spans.drain() == []


def test_what_a_kill_after_the_checkpoint_left_out_is_caught_up_once(run: RunDir, attempt: Attempt) -> None:
    publish(run, 2)
    attempt().save(2, run.checkpoint(2))
    wanted = written(run, "1")
    run.inference_file("1").unlink()
    held_out = attempt()
    held_out.catch_up(2, run.checkpoint(2))
    assert written(run, "1") == wanted
    assert batches(held_out) == [5, 1]
    held_out = attempt()
    held_out.catch_up(2, run.checkpoint(2))
    assert batches(held_out) == []


def test_a_stop_during_a_save_is_caught_up_after_the_resume(run: RunDir, attempt: Attempt) -> None:
    publish(run, 2)
    attempt(stopped=lambda: True).save(2, run.checkpoint(2))
    assert run.epoch_folder("1").is_dir()
    assert not run.inference_file("1").exists()
    assert events(run, "eval") == []
    held_out = attempt()
    held_out.catch_up(2, run.checkpoint(2))
    assert len(written(run, "1")) == ROWS
    held_out.evaluate("after", 2)
    assert batches(held_out) == [5, 1]
    assert [event["at"] for event in events(run, "eval")] == ["during", "after"]


def test_answers_of_another_attempt_are_not_left_beside_a_new_adapter(run: RunDir, attempt: Attempt) -> None:
    """They were written later than the checkpoint that the run went back to; the same epoch is reached again."""
    publish(run, 2)
    run.epoch_folder("1").mkdir()
    run.inference_file("1").write_text('[{"id": 0, "answer": "of other weights"}]', encoding="utf-8")
    attempt(stopped=lambda: True).save(2, run.checkpoint(2))
    assert not run.inference_file("1").exists()
    attempt().catch_up(2, run.checkpoint(2))
    assert len(written(run, "1")) == ROWS


def own_reward(folder: Path, says: str) -> Reward:
    own = folder / "own.py"
    own.write_text(f"def own(completions, answer, **_):\n    {says}\n", encoding="utf-8")
    return Reward(components=[Component(function="own", file=str(own))])


def test_what_could_not_be_judged_is_said_with_the_first_reason(run: RunDir, attempt: Attempt, tmp_path: Path) -> None:
    says = "return [1.0 / (gold[0] != 'b') for gold in answer]"  # two rows of six
    held_out = attempt(own_reward(tmp_path, says), pass_at=[1], answers=False)
    held_out.evaluate("before", 0)
    held_out.evaluate("after", 0)
    for event in events(run, "eval"):
        assert (event["rows"], event["failed"], event["sampled"]["failed"]) == (ROWS, 2, 8)
    shown = lines.event_line(event_of(event), words("en"))
    assert ", 2 answers not judged" in shown.splitlines()[0]
    assert shown.endswith(", 8 answers not judged")
    first, second = events(run, "alert")
    assert (first["level"], first["title"]) == ("warn", "evaluation")
    reason = "could not be judged. own: it raised ZeroDivisionError: "
    assert first["text"].startswith(f"2 of 6 answers after step 0 {reason}")
    assert second["text"].startswith(f"8 of 24 sampled answers after step 0 {reason}")


def test_when_no_sample_could_be_judged_that_is_said(run: RunDir, attempt: Attempt, tmp_path: Path) -> None:
    held_out = attempt(own_reward(tmp_path, "return [None] * len(answer)"), pass_at=[1], answers=False)
    held_out.evaluate("before", 0)
    (event,) = events(run, "eval")
    assert event["sampled"] is None
    assert event["reward"] is None
    (alert,) = events(run, "alert")
    assert alert["text"] == "none of the sampled answers after step 0 could be judged: there is no pass@k"


def test_without_held_out_rows_nothing_is_written(run: RunDir, attempt: Attempt) -> None:
    held_out = attempt(answers=False)
    held_out.rows = []
    held_out.evaluate("before", 0)
    assert events(run, "eval") == []
