"""Events folded into columns: aligned, no step doubled or missing after a resume."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest

from tests.records import event_of
from trainer.run.rundir import RunDir
from trainer.run.state import RunFollower, RunState, fold, state_of
from trainer.run.summary import edges, summary

MakeRun = Callable[..., RunDir]


def folded(*events: dict[str, Any]) -> RunState:
    state = RunState()
    for n, said in enumerate(events):
        fold(state, event_of(said, 100.0 + n))
    return state


def step(number: int, reward: float | None = None, attempt: int = 1, **more: Any) -> dict[str, Any]:
    metrics = {} if reward is None else {"train/reward": reward}
    return {
        "kind": "step",
        "attempt": attempt,
        "step": number,
        "of": 30,
        "seconds": 2.0,
        "metrics": metrics,
        "tokens": 10 * number,
    } | more


def test_columns_stay_aligned_when_metrics_come_and_go() -> None:
    state = folded(step(1), step(2, 0.5, groups={"dead_frac": 1.0}), step(3, metrics={"x": 1.0}))
    assert state.steps == [1, 2, 3]
    assert state.metrics == {"train/reward": [None, 0.5, None], "x": [None, None, 1.0]}
    assert state.groups == {"dead_frac": [None, 1.0, None]}
    assert (state.steps_total, state.tokens, state.train_seconds) == (30, 30, 6.0)


def test_a_resume_takes_back_what_is_newer_than_its_checkpoint() -> None:
    state = folded(
        {"kind": "run_started", "resumed_from_step": 0},
        {"kind": "eval", "at": "before", "step": 0, "reward": 0.1},
        *(step(n, float(n)) for n in range(1, 6)),
        {"kind": "rollouts", "step": 2},
        {"kind": "rollouts", "step": 5},
        {"kind": "checkpoint", "step": 3, "name": "checkpoint-3"},
        {"kind": "checkpoint", "step": 5, "name": "checkpoint-5"},
        {"kind": "run_failed", "step": 5},
        {"kind": "run_started", "attempt": 2, "resumed_from_step": 3, "resumed_from": "c"},
        *(step(n, n + 0.5, attempt=2) for n in range(4, 8)),
    )
    assert state.steps == [1, 2, 3, 4, 5, 6, 7]
    assert state.metrics["train/reward"] == [1.0, 2.0, 3.0, 4.5, 5.5, 6.5, 7.5]
    assert [saved.name for saved in state.checkpoints] == ["checkpoint-3"]
    assert [written.step for written in state.rollouts] == [2]
    assert [found.at for found in state.evals] == ["before"]
    assert (state.attempts, state.final, len(state.resumes)) == (2, None, 1)
    assert state.train_seconds == 18.0


def test_an_attempt_without_a_checkpoint_starts_over() -> None:
    state = folded(
        {"kind": "eval", "at": "before", "step": 0},
        step(1),
        step(2),
        {"kind": "run_started", "attempt": 2, "resumed_from_step": 0},
        step(1, attempt=2),
    )
    assert (state.steps, state.evals) == ([1], [])


def test_a_step_said_twice_counts_once() -> None:
    state = folded(step(1, 1.0), step(2, 2.0), step(2, 3.0))
    assert state.steps == [1, 2]
    assert state.metrics["train/reward"] == [1.0, 3.0]


def test_every_kind_of_event_is_taken(make_run: MakeRun) -> None:
    state = folded(
        {"kind": "plan", "plan": {"a": 1}},
        {"kind": "phase", "name": "train", "state": "start"},
        {"kind": "gpu", "used_gib": 1.0},
        {"kind": "heartbeat", "peak_gib": 2.0},
        {"kind": "heartbeat", "peak_gib": 1.0},
        {"kind": "alert", "level": "warn"},
        {"kind": "span", "step": 1},
    )
    assert (state.plan, state.phase, state.peak_memory_gib) == ({"a": 1}, "train", 2.0)
    assert len(state.alerts) == 1


def test_a_pause_is_the_last_word_of_its_attempt() -> None:
    state = folded({"kind": "phase", "name": "train", "state": "start"}, {"kind": "run_paused", "step": 1})
    assert state.final is not None
    assert (state.final.kind, state.phase) == ("run_paused", "")


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        ([], (None, None)),
        ([1.0], (None, None)),
        ([1.0, 3.0], (1.0, 3.0)),
        ([1.0, None, 2.0, 3.0], (1.0, 3.0)),
        ([0.0] * 10 + [1.0] * 5, (0.0, 5 / 7)),
        ([0.0] * 10 + [9.0] * 30 + [1.0] * 10, (0.0, 1.0)),
    ],
)
def test_first_and_last_never_share_a_step(
    column: list[float | None], expected: tuple[float | None, float | None]
) -> None:
    assert edges(column) == pytest.approx(expected)


def test_the_summary_has_null_for_what_is_not_known(make_run: MakeRun) -> None:
    run = make_run("tiny-1", step(1, 1.0), {"kind": "run_stopped", "step": 1})
    found = summary(state_of(run), run)
    assert (found["run"], found["status"], found["steps"]) == ("tiny-1", "stopped", 1)
    for name in ("reward_first", "reward_last", "eval_before", "eval_after", "peak_memory_gib"):
        assert found[name] is None


def test_the_summary_of_a_finished_run(make_run: MakeRun) -> None:
    run = make_run(
        "tiny-1",
        {"kind": "run_started", "resumed_from_step": 0},
        {"kind": "eval", "at": "before", "step": 0, "reward": 0.1, "correct_frac": 0.0},
        *(step(n, float(n)) for n in range(1, 31)),
        {"kind": "eval", "at": "after", "step": 30, "reward": 0.9, "correct_frac": 0.5},
        {"kind": "run_finished", "step": 30, "seconds": 99.0, "peak_memory_gib": 4.5},
    )
    found = summary(state_of(run), run)
    assert (found["status"], found["steps"], found["steps_total"]) == ("finished", 30, 30)
    assert (found["reward_first"], found["reward_last"]) == (5.5, 25.5)
    assert (found["eval_before"], found["eval_after"]) == (0.1, 0.9)
    assert (found["correct_before"], found["correct_after"]) == (0.0, 0.5)
    assert (found["seconds"], found["tokens"], found["peak_memory_gib"]) == (60.0, 300, 4.5)
    assert found["wall_seconds"] == 33.0


def test_the_newest_evaluation_counts_also_of_a_run_that_goes_on_or_broke_off(make_run: MakeRun) -> None:
    before = {"kind": "eval", "at": "before", "step": 0, "reward": 0.1, "correct_frac": 0.0}
    during = {"kind": "eval", "at": "during", "step": 2, "reward": 0.4, "correct_frac": 0.25}
    alone, later = make_run("tiny-1", before, step(1)), make_run("tiny-2", before, step(1), step(2), during)
    assert summary(state_of(alone), alone)["eval_after"] is None
    found = summary(state_of(later), later)
    assert (found["eval_before"], found["eval_after"], found["correct_after"]) == (0.1, 0.4, 0.25)


def test_a_follower_reads_each_event_once(make_run: MakeRun) -> None:
    run = make_run("tiny-1", step(1), {"kind": "dance"}, step(2))
    follower = RunFollower(run)
    assert follower.tick().steps == [1, 2]
    assert follower.tick().steps == [1, 2]
    assert follower.read() == []
    assert follower.state.skipped == 1


def test_seconds_of_spans_are_columns_of_their_steps() -> None:
    spans = [{"name": "a", "self_s": 1.0}, {"name": "a", "self_s": 0.5}, {"name": "b", "self_s": 2.0}]
    state = folded(
        step(1),
        {"kind": "span", "step": 1, "spans": spans, "warmup": True},
        step(2),
        {"kind": "span", "step": 2, "spans": spans[:1], "warmup": False},
        {"kind": "span", "step": 3, "spans": spans},  # of a step that failed
    )
    assert state.self_s == {"a": [1.5, 1.0], "b": [2.0, None]}
    assert state.warmup == {1}


def test_memory_of_a_step_is_the_newest_reading_and_is_taken_back_with_it() -> None:
    state = folded(
        {"kind": "heartbeat", "rss_gib": 1.0},
        step(1),
        {"kind": "gpu", "used_gib": 5.0, "utilization_frac": 0.5},
        {"kind": "heartbeat", "rss_gib": 2.0},
        step(2),
        {"kind": "run_started", "attempt": 2, "resumed_from_step": 1, "resumed_from": "checkpoint-1"},
    )
    assert state.memory == {"rss_gib": [1.0], "used_gib": [None], "utilization_frac": [None]}


# ---- against a fold that knows only rows


def plain_fold(events: list[dict[str, Any]]) -> dict[str, Any]:
    """What the columns must be, the slow way: a row for each step, thrown away when it is made again."""
    rows: list[dict[str, Any]] = []
    names: dict[str, set[str]] = {"metrics": set(), "groups": set(), "self_s": set(), "memory": set()}
    gpu: dict[str, Any] = {}
    heartbeat: dict[str, Any] = {}
    for event in events:
        if event["kind"] == "run_started":
            rows = [row for row in rows if row["step"] <= event["resumed_from_step"]]
        elif event["kind"] == "gpu":
            gpu = {name: event.get(name) for name in ("used_gib", "utilization_frac")}
        elif event["kind"] == "heartbeat":
            heartbeat = event
        elif event["kind"] == "step":
            row = event | {"self_s": {}, "memory": {"rss_gib": heartbeat.get("rss_gib")} | gpu, "warmup": False}
            rows = [*(row for row in rows if row["step"] < event["step"]), row]
        elif event["kind"] == "span" and rows and rows[-1]["step"] == event["step"]:
            rows[-1]["warmup"] |= event["warmup"]
            for span in event["spans"]:
                rows[-1]["self_s"][span["name"]] = rows[-1]["self_s"].get(span["name"], 0.0) + span["self_s"]
        for kind in names if rows else ():
            names[kind] |= rows[-1].get(kind, {}).keys()
    found: dict[str, Any] = {
        kind: {name: [row.get(kind, {}).get(name) for row in rows] for name in known} for kind, known in names.items()
    }
    found |= {"steps": [row["step"] for row in rows], "warmup": {row["step"] for row in rows if row["warmup"]}}
    for column, field in {"seconds": "seconds", "epochs": "epoch", "tokens_at": "tokens"}.items():
        found[column] = [row.get(field) for row in rows]
    return found


def some_events(chance: random.Random) -> list[dict[str, Any]]:
    """A run with anything a log may hold: gaps, steps said twice, resumes, metrics that come and go."""
    events: list[dict[str, Any]] = []
    attempt, number = 1, 0
    for _ in range(chance.randint(1, 120)):
        kind = chance.choices(("step", "span", "gpu", "heartbeat", "run_started"), (60, 40, 8, 8, 4))[0]
        event: dict[str, Any] = {"kind": kind}
        if kind == "step":
            number = max(1, number + chance.choice((1, 1, 1, 1, 1, 1, 3, 0, -2)))
            names = ["a", "b", "c"] if chance.random() < 0.7 else chance.sample("abcdef", chance.randint(0, 6))
            metrics = {name: chance.choice((chance.gauss(0, 1), 2, None)) for name in names}
            groups = {"dead_frac": chance.random()} if chance.random() < 0.8 else {}
            event |= {"step": number, "seconds": 1.5, "metrics": metrics, "groups": groups, "tokens": 7 * number}
            event |= {"epoch": 0.5} if chance.random() < 0.5 else {}
        elif kind == "span":
            spans = [
                {"name": chance.choice("xyz"), "self_s": chance.randint(0, 9) / 8} for _ in range(chance.randint(0, 4))
            ]
            event |= {"step": number + chance.choice((0, 0, 0, 1)), "spans": spans, "warmup": chance.random() < 0.1}
        elif kind == "gpu":
            event |= {"used_gib": chance.random(), "utilization_frac": 0.5}
        elif kind == "heartbeat":
            event |= {"rss_gib": chance.random()}
        else:
            attempt, number = attempt + 1, chance.choice((0, max(0, number - chance.randint(0, 10))))
            event |= {"resumed_from_step": number}
        events.append(event | {"attempt": attempt})
    return events


@pytest.mark.parametrize("seed", range(100))
def test_columns_hold_what_a_fold_of_plain_rows_holds(seed: int) -> None:
    events = some_events(random.Random(seed))
    state, expected = folded(*events), plain_fold(events)
    for name, value in expected.items():
        assert getattr(state, name) == value, name
