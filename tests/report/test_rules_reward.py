"""Rewards: who is blamed for a failure, and whether prompts that come back can be the reason for dips."""

from __future__ import annotations

import pytest

from tests.report.cases import Values, dips, run
from trainer.report.finding import Finding
from trainer.report.material import Material
from trainer.report.rules import diagnose

MEAN: dict[str, Values] = {"train/rewards/correct/mean": 0.5, "train/rewards/format/mean": 0.5}
BROKE = {"title": "reward failed", "text": "format: 1 of 32 completions of step 3 could not be judged. it raised"}


def of(m: Material, signal: str) -> list[Finding]:
    return [finding for finding in diagnose(m) if finding.signal == signal]


def test_the_component_that_failed_is_named_and_not_one_that_is_silent_on_purpose() -> None:
    silent: dict[str, Values] = {"train/rewards/correct/none": 0.6}
    broken: dict[str, Values] = {"train/rewards/format/none": [0.1] * 40 + [None] * 40}
    (said,) = of(run(MEAN | silent | broken, alerts=[BROKE]), "reward_errors")
    assert (said.key, said.level, said.values["name"]) == ("failed", "amber", "format")
    assert said.values["share"] == pytest.approx(0.05)
    assert said.steps == tuple(range(1, 41)) and str(said.values["text"]) == BROKE["text"]
    (said,) = of(run(MEAN | silent), "reward_errors")
    assert said.key == "none"


@pytest.mark.parametrize(("share", "level"), [(0.19, "amber"), (0.21, "red")])
def test_a_fifth_of_all_completions_without_a_judgement_is_too_many(share: float, level: str) -> None:
    (said,) = of(run({**MEAN, "train/rewards/format/none": share}, alerts=[BROKE]), "reward_errors")
    assert said.level == level


def test_the_text_of_a_failure_is_the_newest_of_that_component() -> None:
    other = {"title": "reward failed", "text": "correct: something else"}
    newer = {"title": "reward failed", "text": "format: again"}
    none: dict[str, Values] = {"train/rewards/format/none": 0.3, "train/rewards/correct/none": 0.1}
    (said,) = of(run(MEAN | none, alerts=[BROKE, newer, other]), "reward_errors")
    assert str(said.values["text"]) == "format: again"


@pytest.mark.parametrize(("shuffled", "key"), [(False, "epoch"), (True, "other")])
def test_an_epoch_explains_dips_only_where_every_epoch_has_the_same_order(shuffled: bool, key: str) -> None:
    """80 rows, 4 prompts a step: 20 steps an epoch. The setting is data.shuffle_dataset."""
    made = run(dips(10, 30, 50, 70), rows=80, spec={"data": {"shuffle_dataset": shuffled}})
    assert made.epoch_steps == 20
    (said,) = of(made, "dip_period")
    assert (said.key, said.values["period"], said.steps) == (key, 20, (10, 30, 50, 70))


def test_a_period_that_is_no_epoch_is_not_called_one() -> None:
    made = run(dips(10, 40, 70), rows=80, spec={"data": {"shuffle_dataset": False}})
    assert of(made, "dip_period") == []  # two gaps are too few
    made = run(dips(10, 25, 40, 55, 70), rows=80, spec={"data": {"shuffle_dataset": False}})
    assert [finding.key for finding in of(made, "dip_period")] == ["other"]


def test_weights_decide_which_component_dominates() -> None:
    """Spread 0.4 each: with weights 1 and 0.5 two thirds, with 20 and 0.5 nearly all."""
    metrics: dict[str, Values] = {"train/reward": 1.0}
    for name, mean in (("correct", [0.4, 0.6] * 40), ("format", [0.5, 0.7] * 40)):
        metrics |= {f"train/rewards/{name}/mean": mean, f"train/rewards/{name}/std": 0.4}
    (said,) = of(run(metrics), "components")
    assert (said.key, said.values["name"]) == ("balanced", "correct") and said.values["share"] == pytest.approx(2 / 3)
    parts = [
        {"function": "exact_match", "name": "correct", "weight": 20.0},
        {"function": "format_regex", "name": "format", "weight": 0.5, "params": {"pattern": ".*"}},
    ]
    (said,) = of(run(metrics, spec={"reward": {"components": parts}}), "components")
    assert (said.key, said.values["share"]) == ("dominates", pytest.approx(20 / 20.5))
