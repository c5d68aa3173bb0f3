"""Then and now, and what a run came to: what Live shows of held-out answers. No browser."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from tests.builders import began, finished, step
from trainer import launch
from trainer.errors import RunError
from trainer.run.held_out_texts import Answer, note
from trainer.run.rundir import RunDir
from trainer.spec import WarmStart
from trainer.text import words
from trainer.ui.known_runs import KnownRuns, Seen
from trainer.ui.live import actions, buttons, finish, pieces, then_now

EN, KO = words("en"), words("ko")
MakeRun = Callable[..., RunDir]
ASKED = [("Reverse: ab", "ba"), ("Reverse: <b>", "> b<")]


@pytest.fixture
def run(make_run: MakeRun) -> RunDir:
    """Evaluated at 0, 10, 20 and 40; the second question is the one that changed."""
    during = {"kind": "eval", "at": "during", "rows": 128, "reward": 0.5, "correct_frac": 0.5}
    first, before, *steps, saved, after, ended = finished()
    told = [*steps[:10], during | {"step": 10}, *steps[10:20], during | {"step": 20}, *steps[20:]]
    made = make_run("tiny-1", first, before, *told, saved, after, ended)
    for at, text, reward in ((0, "", 0.0), (10, "b", 0.5), (20, "<i>", 0.5), (40, "> b<", 1.0)):
        note(made, at, ASKED, [Answer("ba", 1.0, True), Answer(text, reward, reward == 1.0)])
    return made


def shown(run: RunDir, see: Callable[[Seen], Any]) -> Any:
    with KnownRuns().look(run.name) as seen:
        return see(seen)


def test_the_question_that_changed_most_is_shown_at_first_in_the_middle_and_now(run: RunDir) -> None:
    html = shown(run, lambda seen: then_now.panel(seen, then_now.asked(seen), EN))
    top = html.split("<details>")[0]
    places = [
        top.index(text) for text in ("Before training", "(it wrote nothing)", "Step 20", "&lt;i&gt;", "(step 40)")
    ]
    assert places == sorted(places) and "Step 10" not in top
    assert "Reverse: &lt;b&gt;" in top
    assert "\u2715 wrong" in top and "\u2713 right" in top and "reward 1.00" in top
    assert "Reverse: ab" in html.split("<details>")[1]


@pytest.mark.parametrize(
    ("steps", "kept"),
    [([0], [0]), ([0, 9], [0, 9]), ([0, 1, 2, 50, 99], [0, 50, 99]), ([10, 20, 30, 40], [10, 20, 40])],
)
def test_three_evaluations_stand_for_all(steps: list[int], kept: list[int]) -> None:
    assert then_now.shown_steps(steps) == kept


def test_what_is_not_there_says_why(make_run: MakeRun) -> None:
    old = make_run("old", *finished())
    assert "not recorded" in shown(old, lambda seen: then_now.panel(seen, then_now.asked(seen), EN))
    assert "first answers" in then_now.panel(None, [], EN)


@pytest.mark.parametrize("say", [EN, KO], ids=["en", "ko"])
def test_a_run_that_has_finished_is_headed_by_what_it_came_to(run: RunDir, say: Any) -> None:
    card = shown(run, lambda seen: finish.card(seen, then_now.asked(seen), say))
    assert "25 % \u2192 75 %" in card and "128" in card and "Reverse: ab" in card
    can = shown(run, lambda seen: finish.buttons(buttons.actions(seen, say, 0.0), seen, say))
    assert [name for name, action in can.items() if action.shown] == ["report", "tryit", "export", "further"]
    assert all(action.on and action.text for action in can.values() if action.shown)
    hints = pieces.effects(can, say)
    assert 'id="live-further-does" data-button="live-further"' in hints and "live-stop" not in hints


def test_a_wrong_answer_is_none_of_the_best_whatever_it_was_paid(run: RunDir) -> None:
    note(run, 40, ASKED, [Answer("ba", 0.4, True), Answer("paid for its form", 0.5, False)])
    card = shown(run, lambda seen: finish.card(seen, then_now.asked(seen), EN))
    assert "Reverse: ab" in card and "paid for its form" not in card


def test_a_run_that_goes_on_has_no_card_and_its_own_buttons(make_run: MakeRun) -> None:
    lost = make_run("lost", began(), step(1))
    assert shown(lost, lambda seen: finish.card(seen, [], EN)) == ""
    can = shown(lost, lambda seen: finish.buttons(buttons.actions(seen, EN, 0.0), seen, EN))
    assert not any(can[name].shown for name in finish.DEEDS) and can["resume"].shown


def test_what_a_run_saved_before_it_broke_off_can_be_tried(make_run: Callable[..., RunDir]) -> None:
    run = make_run("tiny-1", {"kind": "run_started"}, {"kind": "checkpoint", "step": 3, "name": "checkpoint-3"})
    can = shown(run, lambda seen: finish.buttons(buttons.actions(seen, EN, 0.0), seen, EN))
    assert [name for name in finish.DEEDS if can[name].shown] == ["tryit", "export"]


def test_training_further_asks_with_the_steps_and_needs_a_word(run: RunDir, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launch, "extended_total", lambda rundir, steps: (40, 40 + steps))
    assert "for 40 more steps, from 40 to 80" in shown(run, lambda seen: finish.question(seen, EN))
    for said in ("", None, "other"):
        with pytest.raises(RunError):
            actions.further("tiny-1", said, EN)
    asked: list[tuple[RunDir, int]] = []
    monkeypatch.setattr(launch, "extend", lambda rundir, steps: asked.append((rundir, steps)))
    monkeypatch.setattr("trainer.ui.actions.resume", lambda name, how: object())
    assert "to step 80" in actions.further("tiny-1", "tiny-1", EN)
    assert asked == [(run, 40)]


def test_of_a_warm_started_run_it_is_said_that_the_first_figure_lies_after_the_warm_start(run: RunDir) -> None:
    def both(seen: Seen) -> tuple[str, str]:
        assert seen.spec is not None
        warm = WarmStart(path="rows.jsonl")
        model = seen.spec.model.model_copy(update={"warm_start": warm})
        warmed = replace(seen, spec=seen.spec.model_copy(update={"model": model}))
        texts = [then_now.panel(one, then_now.asked(one), EN) + finish.card(one, [], EN) for one in (seen, warmed)]
        return texts[0], texts[1]

    plain, warmed = shown(run, both)
    assert "Before training" in plain and "warm start" not in plain
    assert "Before GRPO, after the warm start" in warmed and "Before training" not in warmed
    assert EN("live.finish.warm", method="GRPO") in warmed
