"""What Live says and draws of a run: RunState -> words, points and lines. No browser, no server."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from tests.builders import began, checkpoint, finished, step
from tests.records import event_of
from trainer import launch
from trainer.console import lines
from trainer.errors import RunError
from trainer.plan.duration import Duration
from trainer.report import material
from trainer.run.records import AlertEvent
from trainer.run.rundir import RunDir, outputs_dir
from trainer.run.state import RunState, fold
from trainer.run.stop_requests import ask_to_end
from trainer.show import charts
from trainer.spec import Component, Data, Model, Reward, RewardModel, Run, RunSpec
from trainer.spec.learning import Learning
from trainer.text import Message, words
from trainer.ui import heading
from trainer.ui.diagnoses import diagnosis
from trainer.ui.known_runs import KnownRuns, Seen
from trainer.ui.live import actions as steering
from trainer.ui.live import board, buttons, cards, drawing, finish, log, pieces, then_now, views
from trainer.ui.live.drawing import BACK

EN, KO = words("en"), words("ko")
MakeRun = Callable[..., RunDir]
SPEC = RunSpec(
    model=Model(name="builtin/tiny-qwen3"),
    data=Data(path="rows.jsonl"),
    reward=Reward(
        components=[
            Component(function="exact_match", name="correct"),
            Component(
                function="sum",
                weight=0.5,
                components=[Component(function="format_regex", name="format", weight=3, params={"pattern": "x"})],
            ),
        ],
        divide_by=3,
    ),
)


def folded(*events: dict[str, Any]) -> RunState:
    state = RunState()
    for n, said in enumerate(events):
        fold(state, event_of(said, 100.0 + n))
    return state


def seen_of(rundir: RunDir, state: RunState, spec: RunSpec | None = SPEC, status: Any = "running") -> Seen:
    return Seen(rundir, spec, state, status, 40)


def drawn(seen: Seen) -> dict[str, cards.ChartCard]:
    """Cards by the key of their title, the whole run."""
    view = drawing.view(seen.state.steps, "auto", "all", "")
    found = {card.chart.title: card for card in (cards.stage(seen, view, EN), *cards.cards(seen, view, EN))}
    return {key.removeprefix("chart."): found[EN(key)] for key in sorted(EN.keys()) if EN(key) in found}


@pytest.fixture
def finished_run(make_run: MakeRun) -> RunDir:
    return make_run("tiny-1", *finished())


# ---- sentences


def test_a_finished_run_says_what_it_came_to(finished_run: RunDir) -> None:
    with KnownRuns().look("tiny-1") as seen:
        said = views.sentences(seen, EN)
        facts = dict(views.facts(seen, EN, now=1e6))
        told = views.told(seen, diagnosis(material.of(finished_run)), EN)
    assert said == ["Finished: 40 steps in 44 s.", "Reward: 0.138 in the first steps, 0.887 in the last ones."]
    assert told == [
        "It has learnt, and what it learnt holds on rows it never saw "
        "(right 25 % \u2192 75 %, change \u00b1 11 points on 128 rows).",
        *said,
        "In the last 10 steps 25 % of the groups taught nothing (12 % all right, 12 % all wrong).",
    ]
    assert (facts["Step"], facts["Phase"], facts["Time left"]) == ("40 / 40", "ended", "-")


def test_a_running_run_says_when_it_is_done_before_and_after_its_first_step(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    lasts = Duration(0.5, 40, 100.0, "run", Message("plan.duration.from_cpu"))
    monkeypatch.setattr(launch, "expected_of", lambda spec, rows: lasts)
    now = time.mktime((2026, 11, 29, 23, 0, 0, 0, 0, -1))
    begun = folded(began() | {"t": now - 50.0})
    run = make_run("tiny-1")
    begins = dict(views.facts(seen_of(run, begun, status="starting"), EN, now))
    assert begins["Time left"] == "about 1 min, done about 23:01 (expected)"
    going = dict(views.facts(seen_of(run, folded(began(), step(10) | {"seconds": 60.0})), EN, now))
    assert going["Time left"] == "30 min, done about 23:30"


def test_the_time_of_a_resumed_run_is_that_of_all_its_attempts(make_run: MakeRun) -> None:
    again = {"kind": "run_started", "attempt": 2, "resumed_from_step": 1, "t": 1000.0}
    ended = {"kind": "run_finished", "attempt": 2, "step": 2, "seconds": 30.0, "peak_memory_gib": 0.5, "t": 1030.0}
    state = folded(began() | {"t": 0.0}, step(1) | {"t": 20.0}, again, step(2) | {"attempt": 2, "t": 1020.0}, ended)
    said = views.sentences(seen_of(make_run("tiny-1"), state, status="finished"), EN)
    assert said[0] == "Finished: 2 steps in 50 s."


def test_a_run_without_spread_is_not_called_learning(make_run: MakeRun) -> None:
    rundir = make_run("dead", began(), *(step(n, n / 40, dead=1.0) for n in range(1, 41)))
    with KnownRuns().look("dead") as seen:
        told = views.told(replace(seen, status="finished"), diagnosis(material.of(rundir)), EN)
    assert told[0].startswith("From most groups nothing was learnt")
    assert any("In the last 10 steps 100 % of the groups taught nothing" in text for text in told)


def test_before_the_first_diagnosis_the_state_is_what_is_said(finished_run: RunDir) -> None:
    with KnownRuns().look("tiny-1") as seen:
        assert views.told(seen, None, EN) == views.sentences(seen, EN)


def test_loading_is_told_with_its_seconds(make_run: MakeRun) -> None:
    state = folded(began(), {"kind": "phase", "name": "load", "state": "start"})
    facts = dict(views.facts(seen_of(make_run("new"), state), EN, now=112.0))
    assert facts["Phase"] == "loading the model, 12 s"
    assert facts["State"] == "running"


def test_a_failed_run_tells_its_cause_and_where(make_run: MakeRun) -> None:
    problem = {"where": "reward.py:3", "what": "division by <b>zero</b>", "fix": "look at row 7"}
    failed = {"kind": "run_failed", "step": 1, "error": "X", "problems": [problem]}
    make_run("tiny-1", began(), step(1), failed | {"traceback_tail": "line 3"})
    with KnownRuns().look("tiny-1") as seen:
        assert views.sentences(seen, EN)[0] == "Failed at step 1 of 40."
        told = views.told(seen, None, EN)
        shown = pieces.cause(seen, EN)
    assert told[0] == "Failed at step 1 of 40: reward.py:3: division by <b>zero</b>"
    assert "look at row 7" in shown and "line 3" in shown
    assert "&lt;b&gt;zero" in shown and "<b>zero" not in shown


def test_a_failure_without_problems_still_has_a_cause(make_run: MakeRun) -> None:
    make_run("tiny-1", began(), {"kind": "run_failed", "step": 0, "error": "MemoryError"})
    with KnownRuns().look("tiny-1") as seen:
        assert "MemoryError" in views.told(seen, None, EN)[0]


def test_a_lost_run_is_not_called_running_and_can_be_resumed(make_run: MakeRun) -> None:
    make_run("tiny-1", began(), step(1), checkpoint(1), step(2))
    with KnownRuns().look("tiny-1") as seen:
        assert seen.status == "lost"
        assert views.told(seen, None, EN)[0].startswith("The worker disappeared")
        can = buttons.actions(seen, EN, time.time())
    assert not can["stop"].on and not can["pause"].on and not can["save"].on
    assert can["resume"].on and "checkpoint-1" in can["resume"].text


def test_the_step_lines_are_those_of_the_console(finished_run: RunDir) -> None:
    with KnownRuns().look("tiny-1") as seen:
        shown = views.step_lines(seen, EN)
        assert shown[0] == lines.step_line(seen.state, 39, 0.0, EN)
        assert len(shown) == 10


# ---- buttons


def test_a_button_that_is_off_says_why(finished_run: RunDir) -> None:
    for say in (EN, KO):
        with KnownRuns().look("tiny-1") as seen:
            can = buttons.actions(seen, say, time.time())
        assert [name for name, action in can.items() if action.on] == ["report"]
        assert all(action.text for action in can.values() if action.shown)
        assert not can["force"].shown


def test_buttons_tell_the_step_and_the_time_they_wait_for(make_run: MakeRun) -> None:
    rundir = make_run("tiny-1")
    plan = {"kind": "plan", "plan": {"updates_per_phase": 4}}
    can = buttons.actions(seen_of(rundir, folded(began(), plan, *(step(n) for n in range(1, 6)))), EN, 0.0)
    for name in ("stop", "pause", "save"):
        assert can[name].on
        assert "step 8" in can[name].text and "about 6.0 s" in can[name].text


def test_a_resumed_attempt_promises_nothing_before_its_first_step(make_run: MakeRun) -> None:
    rundir = make_run("tiny-1")
    again = {"kind": "run_started", "attempt": 2, "resumed_from_step": 15, "resumed_from": "checkpoint-15"}
    events = [began(), *(step(n) for n in range(1, 18)), again]
    loads = {"kind": "phase", "attempt": 2, "name": "load", "state": "start"}
    for more, said in (
        ([loads], "as soon as the model is loaded"),
        ([loads, loads | {"state": "end"}], "Finishes the first step of this attempt"),
        ([step(16) | {"attempt": 2}], "Finishes step 17"),
    ):
        can = buttons.actions(seen_of(rundir, folded(*events, *more)), EN, 0.0)
        assert said in can["stop"].text and said.lower() in can["pause"].text.lower()
        assert can["save"].on == ("step 17" in said)


def test_the_gpu_is_free_only_after_a_run_that_used_one(make_run: MakeRun) -> None:
    for device, said in (("cpu", "its memory is free"), ("cuda", "the GPU is free")):
        events = [began(), {"kind": "plan", "plan": {}, "device": device}, step(1)]
        assert said in buttons.pause(seen_of(make_run(device), folded(*events)), EN).text
        events.append({"kind": "run_paused", "step": 1, "checkpoint": "checkpoint-1"})
        paused = seen_of(make_run(f"paused-{device}"), folded(*events), status="paused")
        assert said in views.sentences(paused, EN)[0]


def test_stop_tells_what_will_happen_while_a_run_is_going(make_run: MakeRun, start: Any) -> None:
    handle = start(make_run("tiny-1"), "obey")
    runs = KnownRuns()
    with_step(runs, handle)
    with runs.look("tiny-1") as seen:
        can = buttons.actions(seen, EN, time.time())
        assert can["stop"].on and "saves a checkpoint" in can["stop"].text
        assert not can["resume"].on
        assert heading.progress(seen, EN)[1] == pytest.approx(0.25)
    assert steering.stop("tiny-1", EN) == "tiny-1 was asked to save and stop."
    handle.process.wait(20)
    with runs.look("tiny-1") as seen:
        assert seen.status == "stopped"


def test_a_paused_run_is_continued(make_run: MakeRun, start: Any) -> None:
    handle = start(make_run("tiny-1"), "obey")
    runs = KnownRuns()
    with_step(runs, handle)
    assert steering.pause("tiny-1", EN).startswith("tiny-1 was asked to pause")
    handle.process.wait(20)
    with runs.look("tiny-1") as seen:
        assert seen.status == "paused"
        assert views.sentences(seen, EN)[0].startswith("Paused at step")
        resume = buttons.resume(seen, EN)
    assert resume.on and resume.label == "live.continue"


def test_a_save_that_was_asked_for_is_not_asked_for_again(make_run: MakeRun, start: Any) -> None:
    runs, handle = KnownRuns(), start(make_run("tiny-1"), "deaf")
    with_step(runs, handle)
    assert steering.save("tiny-1", EN) == "tiny-1 was asked for a checkpoint."
    with runs.look("tiny-1") as seen:
        asked = buttons.save(seen, EN)
    assert not asked.on and "requested already" in asked.text


def test_a_worker_is_ended_at_once_only_after_a_while_and_with_a_second_word(
    make_run: MakeRun, start: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    rundir = make_run("tiny-1")
    runs, handle = KnownRuns(), start(rundir, "deaf")
    with_step(runs, handle)
    with pytest.raises(RunError, match="only 2 min after"):
        steering.force("tiny-1", "tiny-1", EN)
    steering.stop("tiny-1", EN)
    with pytest.raises(RunError, match="only 2 min after"):
        steering.force("tiny-1", "tiny-1", EN)
    with runs.look("tiny-1") as seen:
        assert not buttons.force(seen, EN, time.time()).shown
        later = buttons.force(seen, EN, time.time() + launch.FORCE_AFTER_S + 1)
        question = pieces.question(seen, later.text, EN)
    assert later.on and "loses every step so far (1)" in later.text and "End tiny-1 at once?" in question
    monkeypatch.setattr(launch, "FORCE_AFTER_S", 0.0)
    for other in ("", None, "tiny-2"):
        with pytest.raises(RunError, match="was not confirmed"):
            steering.force("tiny-1", other, EN)
    assert handle.poll() is None
    assert steering.force("tiny-1", "tiny-1", EN) == "tiny-1 was ended at once."
    handle.process.wait(20)


def test_force_says_which_steps_are_lost(make_run: MakeRun) -> None:
    rundir = make_run("tiny-1")
    ask_to_end(rundir, 0)
    for events, words_of_it in (
        ((step(1), checkpoint(1), step(2), step(3)), "loses steps 2 to 3; checkpoint-1 is kept"),
        ((step(1), checkpoint(1)), "no finished step is lost"),
    ):
        seen = seen_of(rundir, folded(began(), *events), status="stopping")
        assert words_of_it in buttons.force(seen, EN, time.time() + launch.FORCE_AFTER_S + 1).text


def with_step(runs: KnownRuns, handle: launch.WorkerHandle) -> None:
    """Waits for the first step."""
    for _ in range(400):
        with runs.look("tiny-1") as seen:
            if seen.state.steps:
                return
        assert handle.poll() is None
        time.sleep(0.05)
    raise AssertionError("no step within 20 s")


# ---- charts


def test_a_board_stays_small_however_long_the_run_is(make_run: MakeRun) -> None:
    state = folded(*(step(n, n % 7, dead=(n % 5) / 5, of=5000) for n in range(1, 5001)))
    found = drawn(seen_of(make_run("long"), state))
    for card in found.values():
        for line in card.chart.drawn:
            assert len(line.points) <= drawing.RAW_POINTS
        begins = [line.points[0][0] for line in card.chart.drawn]
        assert not begins or min(begins) == 1, card.chart.title
        assert all(line.points[-1][0] == 5000 for line in card.chart.drawn), card.chart.title
    assert {line.name for line in found["dead"].chart.drawn} == {"all right", "all wrong"}


@pytest.mark.parametrize("steps", [0, 1, 2, 30])
@pytest.mark.parametrize("smoothing", drawing.SMOOTHINGS)
def test_a_board_is_drawn_for_any_number_of_steps(make_run: MakeRun, steps: int, smoothing: str) -> None:
    state = folded(*(step(n, 0.5) for n in range(1, steps + 1)))
    seen = seen_of(make_run("tiny-1"), state)
    view = drawing.view(state.steps, smoothing, "all", "")
    for say in (EN, KO):
        large, html = board.Boards().of(seen, view, say)
        assert large.count("g-large") == board.empty(say)[0].count("g-large") == 1
        assert html.count('class="g-card"') == html.count("g-cell") == 16
        assert "nan" not in html
        assert html.count("g-cell") == board.empty(say)[1].count("g-cell")


def test_what_can_not_be_there_says_why(make_run: MakeRun) -> None:
    rundir = make_run("tiny-1")
    one = drawn(seen_of(rundir, folded(began(), step(1))))
    assert "beta is 0" in one["kl"].empty
    assert "no ratio can be clipped" in one["clipped"].empty
    assert "no GPU" in one["busy"].empty
    assert one["entropy"].empty == "This run did not record it."
    other = drawn(seen_of(rundir, folded(began(), step(1)), spec=None, status="imported"))
    assert other["kl"].empty == other["busy"].empty == "This run did not record it."
    assert drawn(seen_of(rundir, folded(began())))["entropy"].empty == "Comes with the first step."


def test_what_is_planned_or_held_is_drawn_as_it_was(make_run: MakeRun) -> None:
    events = [step(n) for n in range(1, 41)]
    for event in events:
        event["metrics"] |= {"train/learning_rate": event["step"] / 1e6}
    found = drawn(seen_of(make_run("tiny-1"), folded({"kind": "heartbeat", "rss_gib": 1.5}, *events)))
    assert [line.style for line in found["reward"].chart.drawn] == ["faint", "strong", "dashed"]
    for name in ("rate", "memory_ram", "tokens"):
        (line,) = found[name].chart.drawn
        assert line.style == "strong" and len(line.points) == 40


def test_each_component_has_its_colour_and_its_weight(make_run: MakeRun) -> None:
    events = []
    for n in range(1, 4):
        event = step(n)
        event["metrics"] |= {"train/rewards/format/mean": 0.5, "train/rewards/correct/mean": 0.2}
        events.append(event)
    found = drawn(seen_of(make_run("tiny-1"), folded(*events)))["components"].chart.drawn
    assert [(line.name, line.style) for line in found] == [
        ("correct \u00d7 0.333333", "c1"),
        ("format \u00d7 0.5", "c2"),
    ]


def test_seconds_of_a_step_are_stacked_by_what_took_them(make_run: MakeRun) -> None:
    events: list[dict[str, Any]] = []
    for n in range(1, 301):
        spans = [{"name": "transformers.generate", "self_s": 1.0}, {"name": "backward", "self_s": 0.5}]
        spans += [{"name": "reward.correct", "self_s": 0.25}] if n % 2 else []
        events += [step(n), {"kind": "span", "step": n, "spans": spans}]
    found = drawn(seen_of(make_run("tiny-1"), folded(*events)))["time"].chart
    steps = [[number for number, _ in line.points] for line in found.drawn]
    assert steps[0] == steps[1] == steps[2]
    assert [line.style for line in found.drawn] == ["c1", "c2", "c4"]
    top = sum(line.points[-1][1] for line in found.drawn)
    assert top == pytest.approx(1.5 + 0.25 * 7 / 15, abs=0.02)


def test_tokens_a_second_are_those_between_two_points(make_run: MakeRun) -> None:
    state = folded(*(step(n) for n in range(1, 1001)))  # 100 tokens and 2 s a step
    pen = drawing.Pen(state, drawing.view(state.steps, "auto", "all", ""))
    assert {round(value, 6) for _, value in pen.rate(state.tokens_at, state.seconds)} == {50.0}


def test_an_arrow_looks_ten_steps_back(make_run: MakeRun) -> None:
    state = folded(*(step(n, n / 100) for n in range(1, 31)))
    assert drawn(seen_of(make_run("tiny-1"), state))["reward"].chart.note == "step 30, \u2197 +0.100"
    short = folded(*(step(n, n / 100) for n in range(1, 5)))
    assert drawn(seen_of(make_run("b"), short))["reward"].chart.note == "step 4"


# ---- what is shown of it


@pytest.mark.parametrize(
    ("span", "typed", "first", "last", "wrong"),
    [
        ("all", "", 1, 300, ""),
        ("200", "", 101, 300, ""),
        ("1000", "", 1, 300, ""),
        ("50", "20-90", 20, 90, ""),
        ("all", " 90 - 20 ", 20, 90, ""),
        ("all", "250-9999", 250, 300, ""),
        ("50", "abc", 1, 300, "abc"),
        ("all", "400-500", 1, 300, "400-500"),
        ("<b>", None, 1, 300, ""),
    ],
)
def test_the_steps_shown_are_those_that_were_chosen(
    span: str, typed: str | None, first: int, last: int, wrong: str
) -> None:
    view = drawing.view(range(1, 301), "auto", span, typed)
    assert (view.first, view.last, view.wrong) == (first, last, wrong)
    assert view.whole == ((first, last) == (1, 300))


def test_smoothing_goes_by_what_is_shown() -> None:
    widths = [drawing.view(range(1, 3001), name, "all", "").width for name in drawing.SMOOTHINGS]
    assert widths == [0, charts.window(3000), 500]
    assert drawing.view(range(1, 3001), "auto", "200", "").width == charts.window(200)
    assert drawing.view(range(1, 3001), "anything", "all", "").width == charts.window(3000)


def test_the_reward_has_its_most_drawn_and_says_how_each_was_answered(make_run: MakeRun) -> None:
    share = {"kind": "eval", "at": "before", "rows": 8, "step": 0, "reward": 0.1}
    state = folded(began(), share, *(step(n) for n in range(1, 31)))
    names = {line.style: line for line in drawn(seen_of(make_run("tiny-1"), state))["reward"].chart.drawn}
    assert [round(value, 3) for _, value in names["dashed"].points] == [0.833, 0.833]
    assert "sampled" in names["faint"].name and "greedy" in names["joined"].name
    unknown = seen_of(make_run("other"), state, spec=None)
    assert "dashed" not in [line.style for line in drawn(unknown)["reward"].chart.drawn]


def test_arrows_are_explained_where_there_are_some(make_run: MakeRun) -> None:
    for count, there in ((BACK, False), (BACK + 1, True)):
        state = folded(*(step(n, n / 100) for n in range(1, count + 1)))
        seen = seen_of(make_run(f"run-{count}"), state)
        small = board.Boards().of(seen, drawing.view(state.steps, "auto", "all", ""), EN)[1]
        assert ("Arrows" in small) == there == any(arrow in small for arrow in "\u2192\u2197\u2198")


def test_the_chart_of_dead_groups_has_the_number_of_the_sentence(make_run: MakeRun) -> None:
    state = folded(*(step(n, dead=0.0 if n <= 80 else 0.5) for n in range(1, 101)))
    chart = drawn(seen_of(make_run("tiny-1"), state))["dead"].chart
    assert (chart.value, chart.note) == (0.5, "the last 20 steps")


@pytest.mark.parametrize(
    ("method", "own"), [("sft", {"token_accuracy"}), ("dpo", {"pair_accuracy", "margins", "gained"})]
)
def test_supervised_training_draws_what_it_has_and_no_groups(make_run: MakeRun, method: Any, own: set[str]) -> None:
    names = ("loss", "mean_token_accuracy", "rewards/accuracies", "rewards/margins", "rewards/chosen")
    metrics = {f"train/{name}": 0.5 for name in names}
    share = {"kind": "eval", "rows": 8, "reward": 0.5, "correct_frac": 0.5}
    events = [{"kind": "step", "step": n, "of": 40, "seconds": 1.0, "metrics": metrics} for n in range(1, 31)]
    state = folded(began(), share | {"at": "before", "step": 0}, *events, share | {"at": "during", "step": 30})
    spec = SPEC.model_copy(update={"run": Run(method=method)})
    found = drawn(seen_of(make_run("tiny-1"), state, spec))
    loss = "loss_pairs" if method == "dpo" else "loss_tokens"
    assert own | {loss, "held_out_correct", "held_out_reward", "grad_norm"} <= set(found)
    assert found[loss].large and found["held_out_correct"].chart.drawn[0].points == [(1, 0.5), (30, 0.5)]
    assert not {"reward", "components", "spread", "dead", "kl", "clipped", "lengths", "truncated"} & set(found)
    seen = seen_of(make_run("tiny-2"), state, spec, "finished")
    assert views.sentences(seen, EN)[1] == "Held-out rows answered right: 50 % before, 50 % now."


@pytest.mark.parametrize(
    ("objective", "own"),
    [("pairwise", {"loss_judge", "pair_order", "score_margin"}), ("pointwise", {"loss_scores", "score_error"})],
)
def test_a_reward_model_draws_how_it_orders_and_says_that_it_writes_nothing(
    make_run: MakeRun, objective: Any, own: set[str]
) -> None:
    metrics = {f"train/{name}": 0.5 for name in ("loss", "accuracy", "margin", "absolute_error")}
    share = {"kind": "eval", "rows": 8, "pairs": 40, "correct_frac": 0.75, "correlation": 0.25}
    events = [{"kind": "step", "step": n, "of": 40, "seconds": 1.0, "metrics": metrics} for n in range(1, 31)]
    state = folded(began(), share | {"at": "before", "step": 0}, *events, share | {"at": "during", "step": 30})
    spec = SPEC.model_copy(update={"run": Run(method="reward_model"), "reward_model": RewardModel(objective=objective)})
    found = drawn(seen_of(make_run("tiny-1"), state, spec))
    assert own | {"held_out_ordered", "held_out_correlation", "grad_norm"} <= set(found)
    assert not {"held_out_correct", "held_out_reward", "reward", "token_accuracy", "dead"} & set(found)
    assert found["held_out_ordered"].chart.drawn[0].points == [(1, 0.75), (30, 0.75)]
    assert found["held_out_correlation"].chart.drawn[0].points == [(1, 0.25), (30, 0.25)]
    seen = seen_of(make_run("tiny-2"), state, spec, "finished")
    assert views.sentences(seen, EN)[1] == "Pairs of held-out completions ordered right: 75 % before, 75 % now."
    assert EN("live.then.judge") in then_now.panel(seen, [], EN)
    assert "40" in finish.card(seen, [], EN) and EN("live.finish.on_ordered", rows="40") in finish.card(seen, [], EN)


def test_evaluations_outside_the_steps_shown_are_left_out(make_run: MakeRun) -> None:
    share = {"kind": "eval", "rows": 8}
    before, during = share | {"at": "before", "step": 0, "reward": 0.1}, share | {"at": "during", "reward": 0.3}
    state = folded(began(), before, *(step(n) for n in range(1, 31)), during | {"step": 30})
    seen = seen_of(make_run("tiny-1"), state)
    assert drawn(seen)["reward"].chart.drawn[-1].points == [(1, 0.1), (30, 0.3)]
    view = drawing.view(state.steps, "auto", "all", "5-30")
    assert cards.stage(seen, view, EN).chart.drawn[-1].points == [(30, 0.3)]


# ---- the log


def test_the_end_of_a_log_is_bounded_and_harmless(make_run: MakeRun) -> None:
    path = make_run("tiny-1").path / "log"
    assert log.tail(path) == []
    path.write_bytes(b"x" * 200_000 + b"\n" + b"".join(b"line %d\n" % n for n in range(500)))
    assert log.tail(path) == [f"line {n}" for n in range(300, 500)]
    path.write_bytes(b"10 %\r50 %\r100 %\r\n\x1b[31mred\x1b[0m\x00\xff\n\n" + b"y" * 5000)
    shown = log.tail(path)
    assert shown[0] == "100 %" and shown[1].startswith("red") and "\x00" not in shown[1]
    assert len(shown[2]) == 1000


def test_the_level_of_an_alert_is_a_word_of_the_readers_language() -> None:
    state = RunState(alerts=[AlertEvent(level=level, title="a", text="b") for level in ("odd", "warn")])
    assert views.alerts(state, KO) == [("warn", "경고", "a: b"), ("odd", "odd", "a: b")]
    assert views.alerts(state, EN)[0] == ("warn", "warn", "a: b")


def test_a_time_to_stop_at_is_said_set_and_taken_back(make_run: MakeRun, start: Any) -> None:
    handle = start(make_run("tiny-1"), "obey")
    runs = KnownRuns()
    with_step(runs, handle)
    with runs.look("tiny-1") as seen:
        assert "23:30" in buttons.stop_at(seen, EN, time.time()).text
    with pytest.raises(RunError, match="HH:MM"):
        steering.stop_at("tiny-1", "soon", EN)
    assert "stops at" in steering.stop_at("tiny-1", "23:31", EN)
    with runs.look("tiny-1") as seen:
        assert "23:31 by itself" in buttons.stop_at(seen, EN, time.time()).text
    assert "goes on to its end" in steering.stop_at("tiny-1", " ", EN)
    assert launch.stops_at(RunDir(outputs_dir() / "tiny-1")) is None


# ---- sampling


def sampled(number: int, **more: float) -> dict[str, Any]:
    event = step(number)
    return event | {"metrics": event["metrics"] | {f"train/sampler/{key}": value for key, value in more.items()}}


def with_sampling(**chosen: Any) -> RunSpec:
    return SPEC.model_copy(update={"sampling": SPEC.sampling.model_copy(update=chosen)})


SAMPLING = {"level", "pass_rates", "thrown", "replayed", "skipped", "sizes"}


def test_a_run_that_takes_all_rows_in_their_turn_has_no_charts_of_sampling(finished_run: RunDir) -> None:
    seen = seen_of(finished_run, folded(began(), *(step(n) for n in range(1, 9))))
    assert not SAMPLING & set(drawn(seen))


@pytest.mark.parametrize(
    ("chosen", "charts"),
    [
        ({"curriculum": "column"}, {"level", "pass_rates"}),
        ({"max_rounds": 3}, {"thrown"}),
        ({"replay": 16}, {"replayed"}),
        ({"skip_dead": True}, {"skipped"}),
        ({"group_size": "spread"}, {"sizes"}),
    ],
    ids=["curriculum", "rounds", "replay", "skipping", "sizes"],
)
def test_charts_of_what_was_chosen_are_there_from_the_beginning(
    finished_run: RunDir, chosen: dict[str, Any], charts: set[str]
) -> None:
    found = drawn(seen_of(finished_run, folded(began()), with_sampling(**chosen)))
    assert SAMPLING & set(found) == charts
    assert {found[key].empty for key in charts} == {EN("chart.soon")}


def test_the_charts_of_sampling_draw_what_the_run_recorded(finished_run: RunDir) -> None:
    """Of a run whose settings nobody knows."""
    rates = {"pass_rate/level_1": 0.5, "pass_rate/level_2": 0.25}
    thrown = {"thrown_frac": 0.5, "thrown_s": 2.0, "kept_without_spread_frac": 0.125}
    thrown |= {"replayed_frac": 0.375, "replay_outside_frac": 0.25, "replay_age": 2.0}
    sizes = {"completions_min": 2, "completions_max": 14}
    events = [sampled(n, level=1 + n // 5, skipped_frac=0.25, **rates, **thrown, **sizes) for n in range(1, 11)]
    found = drawn(seen_of(finished_run, folded(began(), *events), None))
    assert set(found) >= SAMPLING
    lines = {key: {line.name: line.points[-1] for line in found[key].chart.drawn} for key in SAMPLING}
    assert lines["level"] == {"each step": (10, 3.0)}
    assert lines["pass_rates"] == {"level 1": (10, 0.5), "level 2": (10, 0.25)}
    assert [line.style for line in found["pass_rates"].chart.drawn] == ["c1", "c2"]
    assert lines["thrown"] == {"replaced, not trained on": (10, 0.5), "trained on without spread": (10, 0.125)}
    assert found["thrown"].chart.note.startswith("20 s so far")
    assert lines["sizes"] == {"most": (10, 14.0), "fewest": (10, 2.0)}
    again = {"written in an earlier step": (10, 0.375), "of their tokens, outside the clip range": (10, 0.25)}
    assert lines["replayed"] == again
    assert lines["skipped"] == {"each step": (10, 0.25)}


def test_a_reward_model_that_learns_has_a_chart(finished_run: RunDir) -> None:
    events = [step(n) for n in range(1, 11)]
    for event in events[4::5]:
        event["metrics"] = event["metrics"] | {
            "train/reward_model/accuracy": 0.75, "train/reward_model/accuracy_before": 0.5,
        }  # fmt: skip
    found = drawn(seen_of(finished_run, folded(began(), *events), None))["reward_model"]
    assert {line.name: line.points for line in found.chart.drawn} == {
        "after a round": [(5, 0.75), (10, 0.75)], "before it": [(5, 0.5), (10, 0.5)],
    }  # fmt: skip
    learning = Learning(component="judge", rule="rule", every_steps=5)
    chosen = SPEC.model_copy(update={"reward": SPEC.reward.model_copy(update={"learning": learning})})
    assert drawn(seen_of(finished_run, folded(began()), chosen))["reward_model"].empty == EN("chart.soon")
    assert "reward_model" not in drawn(seen_of(finished_run, folded(began(), step(1))))


def test_of_many_levels_as_many_are_drawn_as_there_are_colours(finished_run: RunDir) -> None:
    rates = {f"pass_rate/level_{number}": 0.5 for number in range(1, 13)}
    found = drawn(seen_of(finished_run, folded(began(), sampled(1, level=12.0, **rates))))
    names = [line.name for line in found["pass_rates"].chart.drawn]
    assert names == [f"level {number}" for number in range(5, 13)]
