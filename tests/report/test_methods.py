"""Methods compared: means and their errors over seeds, verdicts, and what pass@k and maj@k say."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from trainer.report import html, markdown, methods
from trainer.report.methods import Mean, Ran, mean
from trainer.run.records import EvalEvent, SampledScores


def event(step: int, correct: float, tries: float, mostly: float) -> EvalEvent:
    found = SampledScores(pass_at={"1": correct, "16": tries}, maj_at={"1": correct, "16": mostly})
    return EvalEvent(step=step, at="before", reward=correct, correct_frac=correct, rows=128, sampled=found)


def ran(after: float, tries: float = 0.6, mostly: float = 0.4, seed: int = 0) -> Ran:
    material: Any = SimpleNamespace(name="run", state=SimpleNamespace(tokens=1000), seconds=[(1, 2.0), (2, 3.0)])
    return Ran(material, event(0, 0.3, 0.6, 0.4), event(40, after, tries, mostly), 512, seed)


def text(found: dict[str, list[Ran]], language: str = "en") -> str:
    """The runs of each method are of the seeds 0, 1, 2, where they do not say another."""
    found = {name: [replace(run, seed=run.seed or n) for n, run in enumerate(runs)] for name, runs in found.items()}
    return markdown.render(methods.build(found, 512, language))


def test_the_error_is_half_of_a_95_percent_interval() -> None:
    found = mean([0.5, 0.6, 0.8])  # standard deviation 0.1528, of the mean 0.0882; t of two degrees of freedom 4.303
    assert found is not None and found.error == pytest.approx(0.3795, abs=1e-4)
    assert mean([0.5]) == Mean(0.5, None) and mean([]) is None


def test_a_difference_beyond_its_error_is_a_verdict() -> None:
    said = text({"sft": [ran(0.5), ran(0.52), ran(0.51)], "grpo": [ran(0.8), ran(0.83), ran(0.81)]})
    assert "**grpo answers most held-out rows right: 81 %.**" in said
    assert "grpo answers 30 points more of them right than sft" in said and "more than chance explains" in said


def test_one_within_it_is_none() -> None:
    said = text({"sft": [ran(0.5), ran(0.9)], "grpo": [ran(0.8), ran(0.7)]})
    assert "that may be chance" in said and "more than chance" not in said


def test_seeds_are_compared_with_themselves() -> None:
    """Both vary much over seeds, and their difference does not."""
    said = text({"sft": [ran(0.1), ran(0.5), ran(0.9)], "rft": [ran(0.15), ran(0.55), ran(0.96)]})
    assert "rft answers 5 points more of them right than sft" in said


def test_a_seed_that_one_method_has_not_is_compared_with_none() -> None:
    said = text({"sft": [ran(0.5, seed=1), ran(0.9, seed=2)], "rft": [ran(0.9, seed=2), ran(0.2, seed=3)]})
    assert "sft has 0 points more than rft. One seed says nothing" in said


def test_one_seed_says_nothing_about_chance() -> None:
    assert "One seed says nothing about chance" in text({"sft": [ran(0.5)], "grpo": [ran(0.8)]})


@pytest.mark.parametrize(
    ("tries", "mostly", "said"),
    [
        (0.9, 0.9, "new ones were found"),
        (0.6, 0.9, "Right answers came more often; new ones cannot be told from chance"),
        (0.9, 0.4, "New right answers were found"),
        (0.6, 0.4, "neither can be told from chance"),
        (0.3, 0.9, "fell by more than chance explains"),
    ],
)
def test_what_changed_is_told_by_pass_and_maj(tries: float, mostly: float, said: str) -> None:
    assert said in text({"grpo": [ran(0.8, tries, mostly), ran(0.8, tries + 0.01, mostly + 0.01)]})


def test_a_run_without_an_evaluation_before_is_left_out() -> None:
    state = SimpleNamespace(evals=[event(40, 0.5, 0.6, 0.4)])
    assert methods.ran(SimpleNamespace(state=state), 0) is None  # type: ignore[arg-type]


def test_both_languages_and_forms() -> None:
    found = {"sft": [ran(0.5), ran(0.6)], "dpo": [ran(0.4), ran(0.45)]}
    for language in ("en", "ko"):
        report = methods.build(found, 512, language)
        assert "<svg" in html.render(report) and "sft" in markdown.render(report)
    assert "방법 비교" in text(found, "ko")


def test_nothing_to_compare() -> None:
    assert "No run has an evaluation" in text({"sft": []})
