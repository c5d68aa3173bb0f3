"""Methods compared, on Runs: the form, how far a comparison is, and that everything a browser sends is checked."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest

from tests.builders import began, comparing, finished, step
from trainer import presets
from trainer.console import comparisons, runs_there
from trainer.console.comparisons import Comparison
from trainer.errors import RunError, SpecError
from trainer.run.rundir import RunDir
from trainer.text import words
from trainer.ui.known_runs import KnownRuns
from trainer.ui.runs import compared, panel
from trainer.ui.runs.panel import Wish

EN, KO = words("en"), words("ko")
MakeRun = Callable[..., RunDir]
ONE = Comparison("<i>tiny</i>", ("sft", "grpo"), 1024, (1,), (), "mine")
TYPED = {"preset": "tiny", "methods": "sft,grpo", "budget": "1,024", "seeds": "1"}


def boxes(say: Any = EN) -> str:
    return compared.boxes(KnownRuns().table().rows, say)


@pytest.mark.parametrize("say", [EN, KO], ids=["en", "ko"])
def test_the_form_has_what_was_typed_and_what_is_usual(say: Any) -> None:
    first = panel.show(Wish("methods"), say)
    assert first.count("checked") == len(comparisons.METHODS) and 'value="1,2,3"' in first
    assert '<option value="tiny" selected>' in first and 'data-do="methods_start"' in first
    again = panel.show(Wish("methods", fields={"methods": "sft", "seeds": '"><b>'}), say)
    assert again.count("checked") == 1 and "<b>" not in again


def test_what_is_wrong_is_said_below_the_form_as_it_was_filled_in() -> None:
    wish = panel.read(Wish("methods_start", fields=TYPED | {"seeds": "x"}).text)
    with pytest.raises(SpecError) as refused:
        panel.carry_out(wish, EN)
    shown = panel.not_done(wish, refused.value, EN)
    assert 'value="x"' in shown and 'value="1,024"' in shown and "no list of different seeds" in shown


@pytest.mark.parametrize(
    "change",
    [{"preset": "/etc/passwd"}, {"preset": ""}, {"budget": "-1"}, {"budget": "1e3"}, {"methods": ""}, {"seeds": "-1"}],
)
def test_what_a_browser_sends_is_checked(change: dict[str, str]) -> None:
    with pytest.raises(SpecError):
        compared.asked(TYPED | change)
    assert compared.typed({"preset": ["a"], "other": 1}) == {"preset": "['a']"} and compared.typed("x") == {}


def test_a_comparison_is_started_as_it_was_asked_and_not_beside_another_run(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[Comparison] = []
    monkeypatch.setattr(comparisons, "start", lambda one, language: started.append(one))
    monkeypatch.setattr("trainer.ui.actions.started", lambda child: None)
    panel.carry_out(Wish("methods_start", fields=TYPED), EN)
    assert started == [Comparison("tiny", ("sft", "grpo"), 1024, (1,), (), "compare-tiny")]
    comparing(started.pop(), os.getpid())
    panel.carry_out(Wish("methods_start", fields=TYPED | {"budget": "2048"}), EN)
    assert [(one.name, one.budget) for one in started] == [("compare-tiny-2", 2048)]  # the other one stays as it was
    monkeypatch.setattr("trainer.launch.queue.beside", lambda *_: ["other"])
    with pytest.raises(RunError, match="other"):
        panel.carry_out(Wish("methods_start", fields=TYPED), EN)
    assert len(started) == 1


@pytest.mark.parametrize("say", [EN, KO], ids=["en", "ko"])
def test_a_box_says_how_far_it_is(say: Any, make_run: MakeRun, monkeypatch: pytest.MonkeyPatch) -> None:
    assert boxes(say) == ""
    comparing(ONE, os.getpid())
    make_run("mine-sft-1", *finished())
    shown = boxes(say)
    assert say("runs.compared_done", state=say("status.running"), done=1, all=2) in shown and "width:50.0%" in shown
    assert "<i>tiny" not in shown and 'data-do="methods_stop"' in shown and 'data-do="methods_on"' not in shown
    monkeypatch.setattr(comparisons, "at_work", lambda name: False)
    comparisons.log("mine").write_text("error: <b>broke</b>\n")
    shown = boxes(say)
    assert 'data-do="methods_on"' in shown and "&lt;b&gt;broke&lt;/b&gt;" in shown
    make_run("mine-grpo-1", *finished())
    shown = boxes(say)
    assert 'data-do="methods_on"' not in shown and 'data-do="methods_forget"' in shown
    assert "broke" in shown  # every run has ended, and yet it could not write its table


def test_runs_with_other_settings_are_not_those_of_the_comparison(make_run: MakeRun) -> None:
    run = make_run("mine-sft-1", *finished())
    comparing(ONE, os.getpid(), specs=[runs_there.hash_of(run.read_spec()), "other"])
    make_run("mine-grpo-1", *finished())
    assert EN("runs.compared_done", state=EN("status.running"), done=1, all=2) in boxes()
    found = comparisons.came_to(comparisons.found("mine"))
    assert len(found["sft"]) == 1 and found["grpo"] == []


@pytest.mark.parametrize(
    ("events", "key", "again"),
    [
        ([], "worker.failed", True),
        ([], "launch.gpu_used_by_run", True),
        ([step(1)], "launch.gpu_used", True),
        ([step(1)], "worker.failed", False),
        ([], "stages.none_right", False),
        ([], "stages.no_pairs", False),
        ([], "stages.no_golds", False),
    ],
)
def test_one_that_failed_is_over_only_where_another_try_would_not_help(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch, events: list[Any], key: str, again: bool
) -> None:
    assert f"problem.{key}.what" in EN
    comparing(ONE, os.getpid())
    monkeypatch.setattr(comparisons, "at_work", lambda name: False)
    make_run("mine-sft-1", *finished())
    failed = {"kind": "run_failed", "step": len(events), "error": "E", "problems": [{"key": key}], "exit_code": 1}
    make_run("mine-grpo-1", began(), *events, failed)
    shown = boxes()
    assert ('data-do="methods_on"' in shown) is again
    assert (EN("runs.compared_failed", names=["mine-grpo-1"]) in shown) is not again


def test_presets_with_stages_are_not_offered() -> None:
    form = panel.show(Wish("methods"), EN)
    assert presets.load("tiny-stages").chain is not None
    assert '<option value="tiny-sft">' in form and 'value="tiny-stages"' not in form


def test_a_damaged_note_costs_only_its_box(make_run: MakeRun) -> None:
    comparing(ONE, os.getpid(), seeds=[])
    assert boxes() == ""


@pytest.mark.parametrize("say", [EN, KO], ids=["en", "ko"])
def test_the_table_is_there_as_soon_as_a_run_has_ended(say: Any, make_run: MakeRun) -> None:
    comparing(ONE, os.getpid())
    make_run("mine-sft-1", *finished())
    shown = panel.show(Wish("methods_table", "mine"), say)
    assert "methods_table" in shown and "75 %" in shown
    assert panel.show(Wish("methods_table", "../x"), say).count("g-wrong") == 1
