"""Comparisons of methods: what is refused beforehand, what their runs are told, and who is at it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from trainer import launch
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
    comparisons.note(ONE)
    assert comparisons.known() == [ONE] and comparisons.found("mine") == ONE and comparisons.at_work("mine")
    with pytest.raises(RunError, match="at it already"):
        comparisons.start(ONE, "en")
    with pytest.raises(RunError, match="at it already"):
        comparisons.forget("mine")


def test_one_whose_process_is_gone_can_be_forgotten() -> None:
    comparisons.note(ONE)
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


@pytest.mark.parametrize("text", ["{", "[]", '{"methods": ["sft"]}', '{"methods": ["<b>"], "budget": 1, "seeds": [1]}'])
def test_a_note_that_is_none_is_passed_over(text: str) -> None:
    place = Path(comparisons.file("odd"))
    place.parent.mkdir(parents=True)
    place.write_text(text)
    assert comparisons.known() == []
