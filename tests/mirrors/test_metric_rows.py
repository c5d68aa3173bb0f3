"""Events -> rows: each step once, in order, whole; what a resume took back is not sent."""

from __future__ import annotations

from typing import Any

from tests.records import event_of
from trainer.mirrors.metric_rows import HOLD_S, MetricRow, Rows
from trainer.run.records import Event

LATER = 1e9


def events(attempt: int = 1, **of: Any) -> Any:
    """event("step", step=1): with a time that grows."""
    clock = iter(range(100, 10**6))

    def event(kind: str, **fields: Any) -> Event:
        return event_of({"kind": kind, "attempt": attempt, **of, **fields}, float(next(clock)))

    return event


def take(rows: Rows, *given: Event) -> None:
    for event in given:
        rows.take(event)


def steps(found: Any) -> list[int]:
    return [row.step for row in found]


def begun(sent: int = -1, resumed_from: int = 0, attempt: int = 1, eval_steps: int | None = None) -> tuple[Rows, Any]:
    rows, event = Rows(attempt, sent, eval_steps), events(attempt)
    rows.take(event("run_started", resumed_from_step=resumed_from))
    return rows, event


def test_a_step_carries_its_metrics_groups_spans_readings_and_evaluation() -> None:
    rows, event = begun(eval_steps=1)
    spans = [
        {"name": "step", "parent": None, "calls": 1, "total_s": 3.0, "self_s": 0.5, "ok": True},
        {"name": "generate", "parent": "step", "calls": 1, "total_s": 2.0, "self_s": 1.5, "ok": True},
        {"name": "generate", "parent": "step", "calls": 1, "total_s": 1.0, "self_s": 1.0, "ok": True},
    ]
    take(
        rows,
        event("gpu", used_gib=3.0, total_gib=8.0, utilization_frac=0.5),
        event("gpu", used_gib=2.0, total_gib=8.0, utilization_frac=0.9),
        event("heartbeat", step=0, rss_gib=1.5, peak_gib=2.5),
        event("rollouts", step=1, file="step_000001.jsonl", groups=1, completions=2),
        event(
            "step",
            step=1,
            of=4,
            epoch=0.25,
            seconds=2.0,
            metrics={"train/reward": 1.0, "profiling/Time taken: CustomGRPOTrainer._prepare_inputs": 2.0},
            groups={"count": 1, "dead_frac": 0.0, "group_std": 0.5, "batch_std": 0.7, "truncated_frac": 0.1},
            tokens=100,
        ),
        event("span", step=1, spans=spans, warmup=True),
        event("eval", at="during", step=1, reward=0.5, components={"exact": 0.25}, sampled={"pass_at": {"8": 0.9}}),
    )
    (row,) = rows.ready(LATER)
    assert row.rollouts
    assert row.values == {
        "train/global_step": 1,
        "train/reward": 1.0,
        "train/epoch": 0.25,
        "profiling/Time taken: CustomGRPOTrainer._prepare_inputs": 2.0,
        "group/std": 0.5,
        "group/batch_std": 0.7,
        "group/dead_frac": 0.0,
        "group/truncated_frac": 0.1,
        "time/step": 0.5,
        "time/generate": 2.5,
        "time/step_seconds": 2.0,
        "time/tokens_per_s": 50.0,
        "memory/gpu_used_gib": 3.0,
        "memory/gpu_utilization_frac": 0.9,
        "memory/rss_gib": 1.5,
        "memory/peak_gib": 2.5,
        "eval/at": "during",
        "eval/global_step": 1,
        "eval/reward": 0.5,
        "eval/exact": 0.25,
        "eval/pass@8": 0.9,
    }


def test_a_step_waits_for_what_follows_it_and_no_longer() -> None:
    rows, event = begun()
    step = event("step", step=1, of=4)
    rows.take(step)
    assert steps(rows.ready(step.t + HOLD_S - 0.1)) == []
    assert steps(rows.ready(step.t + HOLD_S)) == [1]


def test_a_step_whose_evaluation_is_due_waits_for_it() -> None:
    rows, event = begun(eval_steps=2)
    take(rows, event("step", step=2, of=4))
    assert steps(rows.ready(LATER)) == []
    take(rows, event("eval", at="during", step=2, reward=0.5))
    assert steps(rows.ready(LATER)) == [2]


def test_the_last_step_waits_for_the_evaluation_after_training_or_the_end() -> None:
    rows, event = begun()
    take(rows, event("step", step=4, of=4))
    assert steps(rows.ready(LATER)) == []
    assert steps(rows.ready(LATER, ended=True)) == [4]


def test_the_next_step_ends_the_wait_and_the_order_is_kept() -> None:
    rows, event = begun()
    take(rows, event("eval", at="before", step=0, reward=0.1), event("step", step=1, of=4), event("step", step=2, of=4))
    assert steps(rows.ready(0.0)) == [0, 1]


def test_an_evaluation_that_comes_after_its_row_goes_with_the_next_and_names_its_step() -> None:
    rows, event = begun()
    take(rows, event("step", step=1, of=4))
    assert steps(rows.ready(LATER)) == [1]
    take(rows, event("eval", at="during", step=1, reward=0.5), event("step", step=2, of=4))
    (row,) = rows.ready(LATER)
    assert (row.step, row.values["eval/reward"], row.values["eval/global_step"]) == (2, 0.5, 1)


def test_a_step_that_failed_half_way_is_not_sent() -> None:
    rows, event = begun()
    take(rows, event("step", step=1, of=4), event("rollouts", step=2), event("span", step=2, spans=[]))
    assert steps(rows.ready(LATER, ended=True)) == [1]


def test_steps_that_a_resume_makes_again_are_not_sent_again() -> None:
    first, second = events(1), events(2)
    rows = Rows(attempt=2, sent=3)
    take(rows, first("run_started", resumed_from_step=0))
    take(rows, *[first("step", step=step, of=6, metrics={"train/loss": 1.0}) for step in (1, 2, 3)])
    take(rows, second("run_started", resumed_from_step=2))
    take(rows, *[second("step", step=step, of=6, metrics={"train/loss": 2.0}) for step in (3, 4, 5)])
    found = list(rows.ready(LATER, ended=True))
    assert [(row.step, row.values["train/loss"]) for row in found] == [(4, 2.0), (5, 2.0)]
    assert rows.again == 1


def test_what_an_attempt_left_unsent_is_sent_unless_it_was_taken_back() -> None:
    first, second = events(1), events(2)
    rows = Rows(attempt=2, sent=1)
    take(rows, first("run_started", resumed_from_step=0))
    take(rows, *[first("step", step=step, of=6, metrics={"train/loss": 1.0}) for step in (1, 2, 3)])
    assert steps(rows.ready(LATER)) == []  # whether they stand is not known yet
    take(rows, second("run_started", resumed_from_step=2))
    take(rows, second("step", step=3, of=6, metrics={"train/loss": 2.0}))
    found = list(rows.ready(LATER, ended=True))
    assert [(row.step, row.values["train/loss"]) for row in found] == [(2, 1.0), (3, 2.0)]


def test_text_and_missing_values_of_an_event_are_no_numbers() -> None:
    rows, event = begun()
    take(rows, event("step", step=1, of=4, metrics={"train/loss": None, "train/note": "x"}, groups=None, seconds=None))
    (row,) = rows.ready(LATER, ended=True)
    assert row.values == {"train/global_step": 1}


def test_rows_grow_with_what_is_not_sent_only() -> None:
    rows, event = begun()
    for step in range(1, 200):
        take(rows, event("rollouts", step=step), event("step", step=step, of=1000), event("span", step=step, spans=[]))
        sent: list[MetricRow] = list(rows.ready(0.0))
        assert len(sent) == (step > 1)
    assert len(rows._rows) == 1
