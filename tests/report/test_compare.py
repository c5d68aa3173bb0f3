"""Comparing runs: what differs, who is better, and how sure that is."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import pytest

from tests.report.synthetic import Made, make_run, write
from trainer.report import compare, markdown, material
from trainer.report import html as as_html
from trainer.report.sections.telling import words


def two(folder: Path, one: dict[str, Any], other: dict[str, Any], steps: int = 40) -> tuple[Made, Made]:
    return make_run(folder, "one", steps=steps, **one), make_run(folder, "other", steps=steps, seed=1, **other)


def verdicts(*runs: Made) -> list[str]:
    return compare.verdicts([material.of(run.rundir) for run in runs], words("en"))


def scores(right: float) -> dict[str, Any]:
    return {"evals": [(0, 0.4), (40, right)]}


def test_a_difference_beyond_chance_names_the_better_run(tmp_path: Path) -> None:
    said, same = verdicts(*two(tmp_path, scores(0.50), scores(0.72)))
    assert same.startswith("one and other have the same settings and the same seed")
    assert said.startswith("other answers 22 points more of the held-out rows right than one")
    # 1.96 sqrt(p q / n + p q / n) of 200 rows each, half a success and half a failure added
    bound = 1.96 * math.sqrt(sum((p * 200 + 0.5) / 201 * (1 - (p * 200 + 0.5) / 201) / 201 for p in (0.50, 0.72)))
    assert f"(± {100 * bound:.0f} points)" in said and "more than chance" in said


def test_a_small_difference_may_be_chance(tmp_path: Path) -> None:
    said, *_ = verdicts(*two(tmp_path, scores(0.60), scores(0.63)))
    assert "differ by 3 points" in said and "may be chance" in said


def test_scores_of_other_rows_are_not_compared(tmp_path: Path) -> None:
    one, other = two(tmp_path, scores(0.5), scores(0.9))
    other.events[1]["data"]["held_out_fingerprint"] = "another"
    write(other.rundir, other.events)
    said = verdicts(one, other)
    assert "different held-out rows" in said[0] and not any("answers" in sentence for sentence in said)


def test_rewards_of_other_functions_are_not_compared(tmp_path: Path) -> None:
    components = [{"function": "numeric", "name": "correct"}]
    one, other = two(tmp_path, {"evals": []}, {"evals": [], "spec": {"reward": {"components": components}}})
    assert verdicts(one, other) == ["one and other have different rewards: reward numbers cannot be compared."]


def test_only_trained_weights_are_compared(tmp_path: Path) -> None:
    one, other = two(tmp_path, {"evals": [(0, 0.4)]}, scores(0.9))
    said = verdicts(one, other)
    assert "no common evaluation" in said[0] and "training reward" in said[1]


def test_training_rewards_are_compared_with_their_error(tmp_path: Path) -> None:
    one, other = two(tmp_path, {"evals": [], "skill": (-2.0, -2.0)}, {"evals": [], "skill": (2.0, 2.0)}, steps=80)
    said = verdicts(one, other)[1]
    assert said.startswith("Over the last 16 steps other has") and "exploits the reward" in said
    same = two(tmp_path / "same", {"evals": []}, {"evals": []}, steps=80)
    assert "may be chance" in verdicts(*same)[1]


def test_every_pair_is_compared(tmp_path: Path) -> None:
    runs = [make_run(tmp_path, f"run-{n}", steps=12, evals=[(12, 0.5)]) for n in range(3)]
    assert len([said for said in verdicts(*runs) if "held-out rows" in said]) == 3


@pytest.mark.parametrize("language", ["en", "ko"])
def test_settings_that_differ_and_only_those_are_listed(tmp_path: Path, language: str) -> None:
    changed = {"grpo": {"beta": 0.1}, "optim": {"learning_rate": 2e-6}}
    one, other = two(tmp_path, scores(0.5), scores(0.6) | {"spec": changed})
    found = compare.build([material.of(one.rundir), material.of(other.rundir)], language)
    text = markdown.render(found)
    rows = re.findall(r"^\| (\w+\.[\w\\.]+) \| (\S+) \| (\S+) \|$", text, re.M)
    assert rows == [("grpo.beta", "0.04", "0.1"), ("optim.learning\\_rate", "1e-06", "2e-06")]
    page = as_html.render(found)
    assert page.count('class="g-line-c1"') >= 5 and page.count('class="g-line-c2"') >= 5


def test_results_are_those_of_each_run(tmp_path: Path) -> None:
    one, other = two(tmp_path, scores(0.5), scores(0.6))
    text = markdown.render(compare.build([material.of(one.rundir), material.of(other.rundir)], "en"))
    assert "| Held-out rows right (step) | 50 % (40) | 60 % (40) |" in text
    assert "| Steps | 40 | 40 |" in text


def test_runs_of_different_length_are_compared_up_to_the_shorter_ones_end(tmp_path: Path) -> None:
    """One run, stopped early: its reward is not lower than the other's at the same step."""
    one = make_run(tmp_path, "one", steps=120, evals=[])
    kept = [event for event in one.events if event.get("step", 0) <= 50 and event["kind"] != "run_finished"]
    other = make_run(tmp_path, "other", steps=120, evals=[])
    write(other.rundir, kept)
    said = verdicts(one, other)
    assert "differ by 0 of training reward" in said[1]
    assert said[2] == "Both are compared up to step 50, the last of the shorter run."


def test_differing_settings_are_lines_of_one_value_and_titles_are_none(tmp_path: Path) -> None:
    parts = [{"function": "exact_match", "name": "correct", "params": {"extract": "a(.*)"}}]
    more = [{"function": "exact_match", "name": "correct", "weight": 2.0}, {"function": "length_penalty"}]
    warm = {"model": {"name": "m", "warm_start": {"path": "rows.jsonl"}}}
    one = {"reward": {"components": parts}, "titles": {"ko": "x"}} | warm
    runs = two(tmp_path, {"spec": one}, {"spec": {"reward": {"components": more}, "model": {"name": "m"}}})
    text = markdown.render(compare.build([material.of(run.rundir) for run in runs], "en")).replace("\\", "")
    rows = dict(re.findall(r"^\| ((?:model|reward|titles|title)[\w.]*) \| (.+ \| .+) \|$", text, re.M))
    assert rows["reward.components.0.weight"] == "1 | 2"
    assert rows["reward.components.0.params.extract"] == "a(.*) | -"
    assert rows["reward.components.1.function"] == "- | length_penalty"
    assert rows["model.warm_start.path"].endswith("rows.jsonl | -")
    assert "{'" not in "".join(rows.values()) and not any(key.startswith("title") for key in rows)


def test_runs_of_different_methods_are_compared_by_their_held_out_rows(tmp_path: Path) -> None:
    one, other = two(tmp_path, scores(0.50), scores(0.72))
    spec = json.loads(other.rundir.spec.read_text())
    other.rundir.spec.write_text(json.dumps(spec | {"run": spec.get("run", {}) | {"method": "sft"}}))
    assert verdicts(one, other)[0].startswith("other answers 22 points more of the held-out rows right than one")
    for language, name in (("en", "Method"), ("ko", "\ubc29\ubc95")):
        found = [material.of(run.rundir) for run in (one, other)]
        shown = markdown.render(compare.build(found, language))
        assert f"| {name} | GRPO | SFT |" in shown
