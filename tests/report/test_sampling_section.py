"""The section about [sampling]: of a run that used it what was chosen, how levels went and what was thrown away."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.report.cases import Told, Values, run, shares
from trainer import plan
from trainer.report import rules
from trainer.report.document import Charts, Section, Table, Text
from trainer.report.sections import groups as group_sections
from trainer.report.sections import sampling
from trainer.report.sections.telling import Telling, words
from trainer.run.groups import Group, group_of
from trainer.run.records import AlertEvent

HEAD = "train/sampler/"
N = 80


def used(**chosen: Any) -> Told:
    """Three levels, the last of them everything; three quarters as much thrown away as trained on."""
    spec = {"sampling": {"curriculum": "pass_rate", "levels": 2, "max_rounds": 3, "group_size": "spread"} | chosen}
    level: Values = [1.0] * 20 + [2.0] * 30 + [3.0] * 30
    told: dict[str, Values] = {f"{HEAD}level": level, f"{HEAD}pass_rate/level_1": 0.75, f"{HEAD}pass_rate/level_2": 0.5}
    told |= {f"{HEAD}thrown_frac": 0.4, f"{HEAD}thrown_tokens": 100.0, f"{HEAD}thrown_s": 2.0, f"{HEAD}rounds": 2.0}
    told |= {f"{HEAD}kept_without_spread_frac": 0.0, f"{HEAD}replayed_frac": 0.25, f"{HEAD}replay_age": 3.0}
    told |= {f"{HEAD}completions_min": 2.0, f"{HEAD}completions_max": [8.0] * 79 + [13.0]}
    m = run(told, groups=shares(0, 0.2), spec=spec)
    m.state.alerts.append(AlertEvent.of("info", "pass_rates", rows=128, each=4, right=0.25, wrong=0.5, levels=[60, 68]))
    assert isinstance(m, Told)
    return m


def section(m: Told, language: str = "en") -> Section:
    return sampling.sampling(Telling(m, rules.diagnose(m), words(language)))


def texts(found: Section) -> str:
    return " ".join(block.text for block in found.blocks if isinstance(block, Text))


def test_a_run_without_it_has_no_such_section() -> None:
    m = run({"train/reward": 1.0})
    assert isinstance(m, Told)
    assert section(m).blocks == []


@pytest.mark.parametrize("language", ["en", "ko"])
def test_it_says_what_was_chosen_as_the_plan_did(language: str) -> None:
    m = used()
    found = texts(section(m, language))
    assert m.spec is not None
    for message in plan.make(m.spec, 128).sampling:
        assert words(language).said(message) in found
    assert "{" not in found


def test_it_tells_of_the_measured_pass_rates_and_of_the_levels() -> None:
    found = section(used())
    assert "4 completions of each of 128 rows" in texts(found)
    levels = next(block for block in found.blocks if isinstance(block, Table))
    assert [tuple(row) for row in levels.rows] == [
        ("1", "1", "20", "75 %"), ("2", "21", "30", "50 %"), ("all rows", "51", "30", "-"),
    ]  # fmt: skip


def test_it_counts_what_was_thrown_away_and_how_many_completions_prompts_got() -> None:
    found = section(used())
    table = [block for block in found.blocks if isinstance(block, Table)][1]
    sums = {row[0]: row[1] for row in table.rows}
    assert sums["Thrown away: written and not trained on"] == "8,000 tokens, 40 % of those written"
    assert sums["Time that took"] == "3 min of 13 min in steps"
    assert sums["Completions a prompt"] == "2 to 13"
    assert sums["Trained on and written in an earlier step"] == "25 %"
    assert sums["Steps since those were written"] == "3.00"
    (charts,) = (block for block in found.blocks if isinstance(block, Charts))
    assert len(charts.charts) == 4


def test_a_rule_that_does_not_apply_is_not_told() -> None:
    told = [block for block in section(used()).blocks if type(block).__name__ == "Sayings"]
    assert "skip_dead" not in str(told) and len(told) == 1


# ---- which groups are shown


def one(prompt: str, outcome: str, **more: Any) -> Group:
    paid = [{"text": "a", "reward": 1.0}, {"text": "b", "reward": 0.0 if outcome == "spread" else 1.0}]
    said = {"prompt": prompt, "outcome": outcome, "group_std": 0.5, "completions": paid} | more
    found = group_of(json.dumps(said).encode(), 0)
    assert found is not None
    return found


def test_samples_are_of_groups_that_were_trained_on_where_there_are_any() -> None:
    thrown = {"thrown": True, "group_std": 0.9}
    every = [one("left over", "spread", **thrown), one("kept", "spread"), one("replaced", "all_wrong", thrown=True)]
    m = run({"train/reward": 1.0}, told=lambda step: every)
    found = group_sections.samples(Telling(m, [], words("en")))
    assert [(block.prompt, "replaced" in block.title) for block in found.blocks] == [  # type: ignore[union-attr]
        ("kept", False), ("replaced", True),
    ]  # fmt: skip


def test_a_completion_says_which_part_of_it_is_the_plan_and_what_that_got() -> None:
    plan = {"number": 1, "text_end": 3, "reward": 0.75, "advantage": 0.7, "rest_advantage": -0.25}
    paid = [{"text": "one two", "reward": 1.0, "plan": plan}, {"text": "three", "reward": 0.0}]
    m = run({"train/reward": 1.0}, told=lambda step: [one("asked", "spread", completions=paid)])
    for language, told in (
        ("en", "plan 2, its first 3 characters: mean reward 0.750, advantage +0.70, of the rest -0.25"),
        ("ko", "\uacc4\ud68d 2(\uc55e\uc758 3\uc790)"),
    ):
        (block,) = group_sections.samples(Telling(m, [], words(language))).blocks
        first, second = block.completions  # type: ignore[union-attr]
        assert told in first.facts and told not in second.facts
