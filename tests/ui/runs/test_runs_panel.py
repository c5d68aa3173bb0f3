"""What is asked before something is done with a run, and that it is done then. No browser."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.builders import FAKE_WORKER, began, finished, step
from trainer import launch
from trainer.errors import RunError, TrainerError
from trainer.run.rundir import RunDir
from trainer.text import words
from trainer.ui import actions as shared
from trainer.ui.runs import actions, panel
from trainer.ui.runs.panel import Wish

EN, KO = words("en"), words("ko")
MakeRun = Callable[..., RunDir]


def test_delete_asks_with_the_name_and_what_is_lost_and_then_it_is_gone(make_run: MakeRun) -> None:
    run = make_run("tiny-1", *finished())
    asked = panel.show(Wish("delete", "tiny-1"), EN)
    assert "Delete tiny-1?" in asked and "40 steps" in asked and 'data-do="deleted"' in asked
    assert run.path.exists()
    assert "tiny-1" in panel.carry_out(Wish("deleted", "tiny-1"), EN)
    assert not run.path.exists()
    with pytest.raises(RunError, match="no such run"):
        panel.carry_out(Wish("deleted", "tiny-1"), EN)


def test_a_run_that_is_going_is_not_deleted(make_run: MakeRun, start: Any) -> None:
    run = make_run("tiny-1")
    start(run, "obey")
    with pytest.raises(RunError):
        panel.carry_out(Wish("deleted", "tiny-1"), EN)
    assert run.path.exists()


def planned_run(*events: dict[str, Any]) -> RunDir:
    """One whose number of steps is known: tiny-1, with four of them."""
    spec, plan = launch.prepare("tiny", ["optim.max_steps=4", "optim.lr_scheduler_type=linear"])
    run = launch.create("tiny", spec, plan)
    lines = [json.dumps({"t": 100.0 + n, "attempt": 1} | event) for n, event in enumerate(events)]
    run.events.write_text("".join(f"{line}\n" for line in lines))
    return run


def test_extend_says_what_it_would_do_first() -> None:
    run = planned_run(*finished(4))
    before = run.spec.read_text()
    first = panel.show(Wish("extend", "tiny-1"), EN)
    assert 'data-do="extended"' in first and 'data-steps="' in first
    assert "follows the number of steps" in first  # a linear learning rate
    more = panel.show(Wish("extend", "tiny-1", steps="7"), KO)
    assert 'value="7"' in more and 'data-steps="7"' in more
    assert run.spec.read_text() == before


@pytest.mark.parametrize("steps", ["", "0", "-3", "1e3", "7.5", "\u0663", "9" * 400, None, [1], "<b>"])
def test_a_number_of_steps_that_is_none_is_refused_with_the_rule(make_run: MakeRun, steps: Any) -> None:
    make_run("tiny-1", *finished())
    with pytest.raises(TrainerError, match="1,000,000"):
        shared.extend("tiny-1", steps)
    if steps is not None:
        shown = panel.show(Wish("extend", "tiny-1", steps=steps), EN)
        assert 'data-do="extended"' not in shown and "1,000,000" in shown and "<b>" not in shown


def test_extend_plans_more_and_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    begin = launch.start
    patched = lambda run, module, *others: begin(run, FAKE_WORKER, *others)  # noqa: E731
    monkeypatch.setattr("trainer.launch.attempts.start", patched)
    monkeypatch.setenv("FAKE_WORKER", "finish")
    run = planned_run(began(), step(1, of=4), {"kind": "run_stopped", "step": 1})
    planned = shared.extension("tiny-1", 3)
    assert panel.carry_out(Wish("extended", "tiny-1", steps="3"), EN) == ""
    assert run.read_spec().optim.max_steps == planned.after == planned.before + 3
    wait_for(lambda: launch.status_of(run) == "finished" and not _left())


def test_two_runs_are_compared_in_the_language_of_the_page(make_run: MakeRun) -> None:
    make_run("a", *finished())
    make_run("b", *finished(30))
    for say in (EN, KO):
        shown = panel.show(Wish("compare", runs=("a", "b")), say)
        assert say("runs.compared", runs="a, b") in shown and "<svg" in shown and "r-table" in shown
    assert "Settings that differ" in panel.show(Wish("compare", runs=("a", "b")), EN)


@pytest.mark.parametrize("runs", [(), ("a",), ("a", "a"), ("a", "no-such-run"), ("a", "../up")])
def test_what_can_not_be_compared_is_refused_in_the_panel(make_run: MakeRun, runs: tuple[str, ...]) -> None:
    make_run("a", *finished())
    assert "g-wrong" in panel.show(Wish("compare", runs=runs), EN)


def test_the_report_is_shown_without_scripts(make_run: MakeRun) -> None:
    make_run("tiny-1", *finished())
    assert 'sandbox="" srcdoc="' in panel.show(Wish("report", "tiny-1"), EN)


@pytest.mark.parametrize("do", ["extend", "delete", "report"])
@pytest.mark.parametrize("run", ["", "../up", "no-such-run", "a" * 300, "<script>"])
def test_a_run_that_is_none_can_not_be_asked_about(do: str, run: str) -> None:
    shown = panel.show(Wish(do, run), EN)
    assert "g-wrong" in shown and "<script>" not in shown


@pytest.mark.parametrize("text", [None, "", "{", "[1]", '{"do": "open"}', '{"do": "__class__"}', "[" * 100_000])
def test_a_wish_that_is_none_asks_for_nothing(text: str | None) -> None:
    assert panel.read(text) == Wish()


def test_the_same_wish_again_is_another_text_with_the_same_meaning() -> None:
    wish = Wish("compare", runs=("a", "b"))
    first, second = wish.text, wish.text
    assert first != second
    assert panel.read(first) == panel.read(second) == wish


def test_a_clone_tells_train_which_run_and_a_run_without_settings_is_none(make_run: MakeRun) -> None:
    make_run("tiny-1", *finished())
    told = [json.loads(actions.clone("tiny-1")) for _ in range(2)]
    assert [(each["base"], each["changes"]) for each in told] == [({"run": "tiny-1"}, [])] * 2
    assert told[0] != told[1]
    make_run("broken").spec.write_text("{")
    for name in ("broken", "../up", ""):
        with pytest.raises(TrainerError):
            actions.clone(name)


def _left() -> list[Any]:
    shared.reap()
    return shared._children


def wait_for(condition: Callable[[], bool]) -> None:
    for _ in range(200):
        if condition():
            return
        time.sleep(0.05)
    raise AssertionError("it did not happen within 10 s")
