"""Comparisons of methods: what is refused beforehand, what their runs are told, and who is at it."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from tests.builders import comparing, finished
from trainer import launch
from trainer.__main__ import main as tool
from trainer.console import comparisons
from trainer.console.comparisons import Comparison
from trainer.errors import RunError, SpecError
from trainer.run.rundir import outputs_dir

ONE = Comparison("tiny", ("sft", "grpo"), 1024, (1, 2), (), "mine")


def asked(**typed: object) -> Comparison:
    given: dict[str, object] = {"preset": "tiny", "methods": "rft,grpo", "budget": 8192, "seeds": "1,2"} | typed
    return comparisons.asked(**given)  # type: ignore[arg-type]


def test_a_budget_that_is_left_out_is_what_the_grpo_run_of_the_preset_writes() -> None:
    _, plan = launch.prepare("tiny", [])
    assert plan.optimizer_steps is not None and plan.updates_per_phase == plan.phases_per_update == 1
    assert asked(budget=None).budget == plan.optimizer_steps * plan.completions_per_phase


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ({"budget": 3}, r"3 completions are less .* --budget 256 or more"),
        ({"methods": "sft,sft"}, "no list of different methods"),
        ({"methods": "<b>"}, "no list of different methods"),
        ({"seeds": "1,x"}, "no list of different seeds"),
        ({"seeds": ""}, "no list of different seeds"),
        ({"preset": "tiny-stages"}, "has stages"),
        ({"overrides": ["sampling.max_rounds=3"]}, r"sampling\.max_rounds: .* --set sampling\.max_rounds=1"),
        ({"overrides": ["sampling.curriculum=pass_rate"]}, r"sampling\.measure: .* --set sampling\.measure=0"),
        ({"name": "n" * 60}, "run name"),
    ],
)
def test_what_could_not_be_compared_is_refused_before_anything_trains(typed: dict[str, object], said: str) -> None:
    with pytest.raises(SpecError) as refused:
        asked(**typed)
    assert re.search(said, str(refused.value)), str(refused.value)
    assert not outputs_dir().exists() or not list(outputs_dir().iterdir())


def test_sampling_that_only_grpo_reads_does_not_matter_to_methods_without_it() -> None:
    assert asked(methods="sft,rft", overrides=["sampling.max_rounds=3"]).methods == ("sft", "rft")


def test_methods_that_write_for_every_row_need_to_know_how_many_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    real = launch.prepare

    def unknown(*args: object) -> object:
        spec, plan = real(*args)  # type: ignore[arg-type]
        return spec, plan.model_copy(update={"rows": None})

    monkeypatch.setattr(launch, "prepare", unknown)
    with pytest.raises(SpecError, match=r"rft.*not known"):
        asked()
    assert asked(methods="sft,grpo").methods == ("sft", "grpo")


def test_no_run_may_write_more_than_the_budget() -> None:
    """tiny: 1,024 rows, 256 completions an update."""
    for budget in (256, 1000, 1024, 5000, 10_000):
        one = asked(budget=budget)
        _, grpo = launch.prepare("tiny", comparisons.settings(one, "grpo", 1))
        assert (grpo.optimizer_steps or 0) * grpo.completions_per_phase <= budget
        _, rft = launch.prepare("tiny", comparisons.settings(one, "rft", 1))
        assert rft.written_first is not None and budget / 2 < rft.written_first <= budget


def test_the_note_says_what_was_asked_and_who_is_at_it() -> None:
    assert comparisons.known() == []
    comparisons.note(ONE, comparisons.specs(ONE))
    assert comparisons.known() == [ONE] and comparisons.found("mine") == ONE and comparisons.at_work("mine")
    with pytest.raises(RunError, match="at it already"):
        comparisons.start(ONE, "en")
    with pytest.raises(RunError, match="at it already"):
        comparisons.forget("mine")


def test_one_whose_process_is_gone_can_be_forgotten() -> None:
    comparing(ONE, os.getpid())
    note = comparisons.file("mine")
    note.write_text(json.dumps(json.loads(note.read_text()) | {"pid_started": "0"}))
    comparisons.log("mine").write_text("compare trains\nerror: --set: wrong\n")
    assert not comparisons.at_work("mine") and comparisons.last_errors("mine") == ["error: --set: wrong"]
    with pytest.raises(RunError):
        comparisons.stop("mine")
    comparisons.forget("mine")
    assert comparisons.known() == [] and not comparisons.log("mine").exists()


@pytest.mark.parametrize("name", ["../../etc/passwd", "none", "", "a/b", "<b>"])
def test_a_name_that_is_none_leads_nowhere(name: str) -> None:
    with pytest.raises(RunError):
        comparisons.found(name)


NOTE: dict[str, Any] = {"methods": ["sft"], "budget": 1, "seeds": [1], "overrides": []}
ODD: tuple[dict[str, Any], ...] = (
    {"methods": ["<b>"]},
    {"methods": []},
    {"seeds": []},
    {"seeds": [1, 1]},
    {"overrides": [1]},
    {"budget": "1"},
)


@pytest.mark.parametrize("text", ["{", "[]", '{"methods": ["sft"]}', *(json.dumps(NOTE | odd) for odd in ODD)])
def test_a_note_that_is_none_is_passed_over(text: str) -> None:
    place = Path(comparisons.file("odd"))
    place.parent.mkdir(parents=True)
    place.write_text(text)
    assert comparisons.known() == []


# ---- another comparison under the same name


def made(one: Comparison, *events: dict[str, Any]) -> None:
    """Its runs, with these events."""
    for (method, seed), rundir in one.runs.items():
        spec, plan = launch.prepare(one.preset, comparisons.settings(one, method, seed))
        rundir = launch.create(one.preset, spec, plan, rundir.name)
        rundir.events.write_text("".join(json.dumps({"t": 1.0, "attempt": 1} | event) + "\n" for event in events))


def test_the_settings_of_its_runs_are_those_with_which_they_are_made() -> None:
    specs = comparisons.specs(ONE)
    assert specs == {each: launch.prepare("tiny", comparisons.settings(ONE, *each))[0] for each in ONE.runs}


def test_a_page_goes_on_with_the_same_and_begins_another_under_the_next_name() -> None:
    one = asked(methods="rft", budget=1024, seeds="1")
    assert comparisons.apart(one).name == "compare-tiny"
    made(one)
    for more in ({"methods": "rft,grpo"}, {"seeds": "1,2"}):
        assert comparisons.apart(asked(**{"methods": "rft", "budget": 1024, "seeds": "1"} | more)).name == one.name
    other = asked(methods="rft", budget=2048, seeds="1")
    assert comparisons.apart(other).name == "compare-tiny-2"
    made(dataclasses.replace(other, name="compare-tiny-2"))
    assert comparisons.apart(other).name == "compare-tiny-2"
    assert comparisons.apart(asked(methods="rft", budget=4096, seeds="1")).name == "compare-tiny-3"


def test_a_name_stays_with_the_budget_it_was_begun_with() -> None:
    comparing(asked(methods="grpo", budget=1024, seeds="1"), os.getpid())
    assert comparisons.apart(asked(methods="sft", budget=1024, seeds="1")).name == "compare-tiny"
    assert comparisons.apart(asked(methods="sft", budget=2048, seeds="1")).name == "compare-tiny-2"


def test_the_command_says_what_runs_are_in_the_way_and_leaves_the_note(capsys: pytest.CaptureFixture[str]) -> None:
    one = asked(methods="rft", budget=1024, seeds="1")
    made(one)
    comparing(one, os.getpid(), pid_started="0")
    before = comparisons.file(one.name).read_text()
    typed = ["compare-methods", "--preset", "tiny", "--methods", "rft", "--seeds", "1", "--budget"]
    assert tool([*typed, "2048"]) == launch.EXIT_INPUT
    assert "run compare-tiny-rft-1 is there, with other settings" in capsys.readouterr().err
    assert comparisons.file(one.name).read_text() == before


# ---- one process at a time


def test_the_command_does_not_take_the_place_of_a_process_that_is_at_it(answerer: subprocess.Popen[bytes]) -> None:
    comparing(ONE, answerer.pid)
    before = comparisons.file("mine").read_text()
    with pytest.raises(RunError, match="at it already"):
        comparisons.note(ONE, comparisons.specs(ONE))
    assert comparisons.file("mine").read_text() == before


def test_of_two_clicks_at_once_one_starts_a_process(monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[str] = []
    refused: list[RunError] = []

    def detached(arguments: list[str], *_: Any, **given: Any) -> None:
        time.sleep(0.2)  # as long as a process takes to be there
        begun.append(arguments[-1])
        comparing(ONE, os.getpid())

    def click(name: str) -> None:
        try:
            comparisons.start(dataclasses.replace(ONE, name=name), "en")
        except RunError as error:
            refused.append(error)

    monkeypatch.setattr("trainer.machine.spawn.detached", detached)
    clicks = [threading.Thread(target=click, args=(name,)) for name in ("mine", "mine", "mine-2")]
    for each in clicks:
        each.start()
    for each in clicks:
        each.join()
    assert len(begun) == 1 and len(refused) == 2


# ---- what failed


def test_the_command_tries_again_what_failed_before_its_first_step(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    one = asked(methods="sft,rft,grpo", budget=1024, seeds="1")
    made(one, *finished())
    sft, rft, _ = one.runs.values()
    for rundir, key in ((sft, "launch.gpu_used"), (rft, "stages.none_right")):
        events = ({"kind": "run_started"}, {"kind": "run_failed", "step": 0, "error": "E", "problems": [{"key": key}]})
        rundir.events.write_text("".join(json.dumps({"t": 1.0, "attempt": 1} | event) + "\n" for event in events))
    tried: list[str] = []
    monkeypatch.setattr(launch, "resume", lambda rundir: tried.append(rundir.name))
    monkeypatch.setattr("trainer.console.headless.follow", lambda *_, **__: None)
    tool(["compare-methods", "--preset", "tiny", "--methods", "sft,rft,grpo", "--seeds", "1", "--budget", "1024"])
    assert tried == ["compare-tiny-sft-1"]
    assert "compare-tiny-rft-1 is there already" in capsys.readouterr().out
