"""Health: what the page says of a diagnosis, and when one is made. No browser."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.builders import began, finished, step
from tests.report.synthetic import Today
from tests.report.synthetic import make_run as synthetic
from trainer.report import material, rules
from trainer.report.finding import Finding
from trainer.report.html import inline
from trainer.report.rules.bounds import BOUNDS, OF_EXAMPLES, signals_of
from trainer.report.rules.verdict import said_verdict
from trainer.report.sections import telling
from trainer.run.rundir import RunDir, outputs_dir
from trainer.run.state import RunFollower
from trainer.show.markup import escape
from trainer.text import words
from trainer.ui import diagnoses as watch
from trainer.ui.advice import given as advice_of
from trainer.ui.diagnoses import Diagnoses, Diagnosis, diagnosis
from trainer.ui.health import views
from trainer.ui.known_runs import KnownRuns

EN, KO = words("en"), words("ko")
MakeRun = Callable[..., RunDir]


def of(rundir: RunDir) -> Diagnosis:
    return diagnosis(material.of(rundir))


def sick(number: int, today: Today) -> None:
    today.noise, today.length, today.kl = 0.0, 700.0, 1.0  # paid alike, cut, far from the reference


@pytest.fixture
def sick_run(tmp_path: Path) -> RunDir:
    return synthetic(tmp_path / "outputs", "sick", steps=60, change=sick, rollouts_every=60).rundir


# ---------------------------------------------------------------------------------- rows


@pytest.mark.parametrize("say", [EN, KO], ids=["en", "ko"])
def test_every_signal_has_a_row_with_its_meaning_its_rule_and_a_reason(sick_run: RunDir, say: Any) -> None:
    found = of(sick_run)
    rows = views.rows(found, say)
    assert {row.signal for row in rows} == set(signals_of("grpo"))
    assert all(row.said and all(row.said) for row in rows)
    assert [views.ORDER.index(row.state) for row in rows] == sorted(views.ORDER.index(row.state) for row in rows)
    shown = views.table(found, say)
    report = telling.words(say.language)
    for signal in signals_of("grpo"):
        bounds = BOUNDS[signal]
        assert escape(report(f"signal.{signal}.name")) in shown
        assert inline(report(f"signal.{signal}.rule", **bounds)) in shown
    for state in {row.state for row in rows}:
        assert say(f"health.state.{state}") in shown and views.SHAPES[state] in shown


@pytest.mark.parametrize("say", [EN, KO], ids=["en", "ko"])
def test_supervised_training_has_the_signals_of_examples_alone(say: Any) -> None:
    findings = [Finding("loss_trend", "green", "falls", {"first": 2.0, "last": 1.0})]
    found = Diagnosis("one", "finished", 80, findings, method="dpo")
    rows = {row.signal: row for row in views.rows(found, say)}
    assert set(rows) == set(OF_EXAMPLES) and rows["loss_trend"].now == "1.00"
    assert escape(telling.words(say.language)("signal.dead_groups.name")) not in views.table(found, say)


def test_the_level_of_a_row_is_that_of_the_rules(sick_run: RunDir) -> None:
    found = of(sick_run)
    for row in views.rows(found, EN):
        mine = [finding for finding in found.findings if finding.signal == row.signal]
        assert row.state == (rules.level_of(mine) if mine else "quiet")
    assert {row.signal: row.state for row in views.rows(found, EN)}["kl"] == "amber"


def test_advice_names_the_setting_and_what_to_type(sick_run: RunDir) -> None:
    found = of(sick_run)
    shown = views.table(found, EN)
    assert "grpo.beta=0.08" in shown and 'data-signal="kl" data-advice="more_beta"' in shown
    advice = advice_of(found, "kl", "more_beta")
    assert advice is not None and advice.changes == ["grpo.beta=0.08"]
    assert advice.typed == "--set grpo.beta=0.08"
    for signal, key in (("kl", "lower_rate"), ("nothing", "more_beta"), ("None", "None")):
        assert advice_of(found, signal, key) is None


def test_every_finding_that_can_be_has_a_value_in_words_or_none() -> None:
    """A text whose numbers a finding lacks must not break the page."""
    for signal in BOUNDS:
        keys = telling.words("en").keys()
        for key in (key for key in keys if key.startswith(f"report.finding.{signal}.")):
            for say in (EN, KO):
                assert views.value(Finding(signal, "amber", key.rpartition(".")[2], {"other": 1}), say) == ""


def test_the_value_shown_is_the_one_that_was_measured(sick_run: RunDir) -> None:
    found = of(sick_run)
    rows = {row.signal: row.now for row in views.rows(found, EN)}
    kl = next(finding for finding in found.findings if finding.signal == "kl")
    assert rows["kl"] == f"{kl.values['now']:.3g} nats".replace("1 nats", "1.00 nats")
    assert rows["evaluation"] == "70 %"
    assert rows["clip_ratio"] == ""  # does not apply


def test_the_verdict_is_the_rules_and_the_counts_add_up(sick_run: RunDir) -> None:
    found = of(sick_run)
    shown = views.top(found, EN)
    assert said_verdict(found.findings, telling.words("en")) in shown
    assert sum(int(count) for count in re.findall(r"<b>(\d+)</b>", shown)) == len(signals_of("grpo"))


# ---------------------------------------------------------------------------------- states of a run


def test_an_imported_run_has_no_button_to_train_on(sick_run: RunDir) -> None:
    found = of(sick_run)
    assert "<button" in views.table(found, EN)
    for other in ({"known": 3}, {"readable": False}):
        unknown = Diagnosis(found.run, "imported", found.last_step, found.findings, found.lines, **other)  # type: ignore[arg-type]
        assert "<button" not in views.table(unknown, EN)
        assert "settings" in views.top(unknown, EN)


def test_a_run_that_failed_says_so_with_its_reason(make_run: MakeRun) -> None:
    problem = {"where": "<b>r.py</b>", "what": "division by zero", "fix": ""}
    run = make_run("tiny-1", began(), step(1), {"kind": "run_failed", "step": 1, "error": "X", "problems": [problem]})
    shown = views.top(of(run), EN)
    assert "failed at step 1" in shown and "division by zero" in shown and "<b>r.py" not in shown


def test_a_run_without_settings_is_judged_by_what_it_logged(make_run: MakeRun) -> None:
    run = make_run("tiny-1", *finished())
    run.spec.write_text("{")
    found = of(run)
    assert not found.readable and found.findings
    assert "spec.json" in views.top(found, EN)


# ---------------------------------------------------------------------------------- when one is made


def test_a_diagnosis_is_made_once_while_nothing_changes(make_run: MakeRun, monkeypatch: pytest.MonkeyPatch) -> None:
    made = counted(monkeypatch)
    run = make_run("tiny-1", *finished())
    diagnoses = Diagnoses()
    first = ask(diagnoses, run)
    assert all(diagnoses.newest(run) is first for _ in range(5))
    assert next(made) == 1


def test_what_is_new_waits_its_time_and_is_read_on_not_again(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = counted(monkeypatch)
    run = make_run("tiny-1", began(), step(1))
    diagnoses = Diagnoses()
    assert ask(diagnoses, run).last_step == 1
    with run.events.open("a") as log:
        log.write(json.dumps({"t": 200.0, "attempt": 1} | step(2)) + "\n")
    assert diagnoses.newest(run).last_step == 1  # type: ignore[union-attr]
    assert next(made) == 1
    monkeypatch.setattr(watch, "EVERY_S", 0.0)
    monkeypatch.setattr(watch, "SHARE", 0)
    monkeypatch.setattr(RunFollower, "__init__", None)  # the follower that is there goes on
    for _ in range(100):
        found = diagnoses.newest(run)
        if found is not None and found.last_step == 2:
            return
        time.sleep(0.05)
    raise AssertionError("the second step was not seen")


def test_of_a_run_that_has_ended_all_is_looked_at_once_its_log_stays_as_it_is(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = counted(monkeypatch)
    run = make_run("tiny-1", *finished())
    diagnoses = Diagnoses()
    ask(diagnoses, run)
    for number in range(41, 46):  # its log grows all the same, and it is asked as fast as can be
        with run.events.open("a") as log:
            log.write(json.dumps({"t": 200.0, "attempt": 1} | step(number)) + "\n")
        for _ in range(3):
            diagnoses.newest(run, ended=True)
    assert next(made) == 1
    monkeypatch.setattr(watch, "STILL_S", 0.0)
    diagnoses.newest(run, ended=True)
    for _ in range(100):
        if next(made) == 2:
            return
        time.sleep(0.05)
    raise AssertionError("the last steps were not looked at")


def test_a_diagnosis_goes_on_from_what_the_page_has_read(make_run: MakeRun, monkeypatch: pytest.MonkeyPatch) -> None:
    run, known = make_run("tiny-1", began(), step(1)), KnownRuns()
    with known.look("tiny-1") as seen:
        theirs = seen.state
    monkeypatch.setattr(RunFollower, "__init__", None)  # nobody reads the log from its start again
    assert ask(Diagnoses(known.copy), run).last_step == 1
    with run.events.open("a") as log:
        log.write(json.dumps({"t": 200.0, "attempt": 1} | step(2)) + "\n")
    assert ask(Diagnoses(known.copy), run).last_step == 2
    assert theirs.last_step == 1


def test_a_log_that_breaks_a_rule_is_told_and_does_not_break_the_page(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(m: Any) -> None:
        raise ValueError("what a log may hold")

    monkeypatch.setattr(watch, "diagnosis", broken)
    found = ask(Diagnoses(), make_run("tiny-1", *finished()))
    assert str(found.broken) == "ValueError: what a log may hold"


def test_no_more_runs_are_kept_than_are_looked_at(make_run: MakeRun) -> None:
    diagnoses = Diagnoses()
    for number in range(watch.KEEP + 3):
        ask(diagnoses, make_run(f"run-{number}", *finished(3)))
    assert len(diagnoses._watched) == watch.KEEP
    with pytest.raises(FileNotFoundError):
        diagnoses.newest(RunDir(outputs_dir() / "gone"))


def ask(diagnoses: Diagnoses, run: RunDir) -> Diagnosis:
    for _ in range(100):
        found = diagnoses.newest(run)
        if found is not None:
            return found
    raise AssertionError("no diagnosis was made")


def counted(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """How many diagnoses were made, as of when it is asked."""
    made: list[Any] = []
    real = watch.diagnosis

    def counting(m: Any) -> Diagnosis:
        made.append(m)
        return real(m)

    monkeypatch.setattr(watch, "diagnosis", counting)
    return iter(lambda: len(made), -1)
