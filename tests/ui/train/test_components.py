"""The editor of rewards: what a component pays for, its arguments as fields, functions of a person's own file."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any

import pytest

from trainer import launch, presets
from trainer.errors import RewardError
from trainer.rewards import check
from trainer.rewards.library import REWARDS
from trainer.text import languages, words
from trainer.ui.train import components, fields, playground

EN = words("en")
OWN = '''
def helper(x): ...
def brief(completions, **columns):
    """Shorter is better.

    More of it."""
def plain(prompts, completions): ...
'''


def component(**keys: Any) -> dict[str, Any]:
    return {"function": "exact_match", "weight": 1.0} | keys


def test_every_argument_of_the_library_is_a_field_with_its_words() -> None:
    for name, function in REWARDS.items():
        taken = inspect.signature(function).parameters
        assert [field.name for field in fields.of_params(name)] == list(taken)
        for language in languages():
            html = components.rendered([component(function=name)], words(language))
            for argument in taken:
                assert f'data-key="reward.components.0.params.{argument}"' in html
                assert f"field.argument.{argument}" in words(language)


@pytest.mark.parametrize("argument", ["extract", "pattern", "answer_column"])
def test_a_text_argument_stays_text_whatever_it_looks_like(argument: str) -> None:
    kinds = {field.name: field.kind for name in REWARDS for field in fields.of_params(name)}
    assert kinds[argument] == "string"
    assert (kinds["normalise"], kinds["n"], kinds["tokens"], kinds["scale"]) == ("flag", "number", "choice", "value")


def test_values_of_arguments_are_those_of_the_component_or_the_defaults() -> None:
    raw = {"reward": {"components": [component(params={"extract": "(x)"})]}}
    found = fields.values(raw)
    prefix = "reward.components.0.params"
    assert (found[f"{prefix}.extract"], found[f"{prefix}.accepted_separator"]) == ("(x)", "#")
    draft = presets.draft(presets.tables(presets.find("tiny")), [f'{prefix}.extract="(42)"'], "tiny")
    assert draft.spec is not None and draft.spec.reward.components[0].params["extract"] == "(42)"


@pytest.mark.parametrize("language", languages())
def test_a_reward_is_a_sentence_with_its_weights(language: str) -> None:
    say = words(language)
    html = components.rendered([component(), component(function="format_regex", name="form")], say)
    sentence = re.sub(r"<b [^>]*></b>", "W", re.findall(r'<p class="t-sum">(.*?)</p>', html)[0])
    assert sentence == {"en": "W for the right answer + W for the form", "ko": "정답에 W + 형식에 W"}[language]
    assert html.count("data-slider=") == html.count("data-component-text=") == 2


def test_what_somebody_wrote_stays_text(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text('def brief(completions):\n    """<script>\\0{}</script>"""\n')
    html = components.rendered([component(function="brief", file=str(file)), component(name="<b>")], EN)
    assert "<script>" not in html and "<b></b>" not in html and "&lt;script&gt;" in html


def test_functions_of_a_file_are_listed_with_their_first_lines_and_never_run(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(f"raise SystemExit(1)\n{OWN}")
    html = components.of_file(str(file), EN)
    assert re.findall(r"<li><b>(\w+)</b> ([^<]*)", html) == [("brief", "Shorter is better. "), ("plain", " ")]
    added = re.findall(r'data-add-own="([^"]*)"', html)
    assert len(added) == 2 and "file = " in added[0]
    row = components.rendered([component(function="brief", file=str(file))], EN)
    assert "<b>Shorter is better.</b>" in row and '<option value="plain">plain</option>' in row


@pytest.mark.parametrize(
    ("text", "said"), [("def f(:", "not Python"), ("x = 1\n", "has no function"), (None, "cannot be read")]
)
def test_a_wrong_file_is_refused_at_once(tmp_path: Path, text: str | None, said: str) -> None:
    file = tmp_path / "mine.py"
    if text is not None:
        file.write_text(text)
    with pytest.raises(RewardError, match=said):
        components.of_file(str(file), EN)


def test_a_file_that_was_chosen_here_may_be_run_and_one_that_gradio_kept_may_not() -> None:
    from trainer.ui.train import actions

    kept = launch.state_dir() / launch.CHOSEN / "abc" / "mine.py"
    assert not actions.is_uploaded(str(kept)) and actions.is_uploaded(str(launch.state_dir() / "page" / "mine.py"))


def test_what_an_answer_earns_on_several_rows_is_called_a_mean() -> None:
    tries = [{"row": row, "what": check.TYPED, "reward": float(row == 0)} for row in range(3)]
    html = playground._kinds(tries, EN)
    assert "0.333" in html and "(each a mean over 3 rows)" in html
    assert "mean over" not in playground._kinds(tries[:1], EN)


def test_a_weight_is_named_once() -> None:
    html = components.rendered([{"function": "exact_match", "weight": 1.0}], words("ko"))
    assert html.count("<span>\uac00\uc911\uce58</span>") == 1 and "<code>weight</code>" not in html
