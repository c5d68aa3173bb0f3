"""What is wrong with a preset, and what a preset is called, in the language of who reads it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from tests import latin
from trainer import presets
from trainer.errors import Problem, TrainerError
from trainer.presets import advice, headers
from trainer.spec import RunSpec
from trainer.text import Message, words

EN, KO = words("en"), words("ko")
BASE: dict[str, Any] = {
    "model": {"name": "Qwen/Qwen3-0.6B"},
    "data": {"path": "rows.jsonl"},
    "reward": {"components": [{"function": "exact_match"}]},
}
BAD = """
[model]
load_in_4bit = "yes"
nam = "x"
[data]
path = 3
nowhere = 1
overlong = "cutt"
[[reward.components]]
function = "exact_match"
weight = 5000
clip = [1]
[optim]
learning_rate = "1e-5"
max_steps = 1.5
warmup_steps = -1
[lora]
r = 0
[nonsense]
[trl]
"""


def spec(*overrides: str) -> RunSpec:
    return presets.parse(presets.merge(BASE, overrides), "mine.toml")


def problems(overrides: list[str]) -> list[Problem]:
    with pytest.raises(TrainerError) as caught:
        spec(*overrides)
    return caught.value.problems


def test_a_sentence_is_found_where_there_is_one() -> None:
    assert latin.left_in(Problem.plain("data", "has neither path nor name"))
    assert latin.left_in(Problem.plain("data", "is a number"))


RANKS = (
    '{function = "llm_group_judge", params = {model = "m", base_url = "http://localhost/v1", prompt = "{completions}"}}'
)
REFUSED = [
    *(["optim.beta=1"], ["optim.lerning_rate=1"], ["nothing=1"], ["optim.learning_rate"], ["=1"], ["optim=3"]),
    *(["reward.components.3.weight=1"], ["reward.components.weight=1"], ["0.model.name=x"], ["model.name="]),
    *(["optim.learning_rate=5"], ["optim.optim=zzz"], ["lora.target_modules=[1]"], ["eval.pass_at=[0]"]),
    ["reward.components.0.params={nonsense = 1}"],
    *(["eval.pass_at=[4]", "eval.samples=2"], ["eval.answers=true"], ["data.few_shot={}"]),
    ["data.instruction={by = 'type', texts = {a = 'b'}}"],
    *(["reward.gold_template={"], ["reward.gold_template={a.b}"]),
    *(["reward.components=[{function = 'sum'}]"], ["reward.components.0.components=[{function = 'exact_match'}]"]),
    [f"reward.components.0={RANKS}", "generation.num_generations=32"],
    [f"reward.components.0={RANKS}", "reward.components.0.per_step=true", "reward.supervision=process"],
    ["reward.supervision=process"],
    ["reward.supervision=process", "reward.components.0.per_step=true", "reward.step_split=x*"],
]


@pytest.mark.parametrize("overrides", REFUSED, ids=str)
def test_what_is_refused_is_said_in_korean(overrides: list[str]) -> None:
    for problem in problems(overrides):
        assert problem.key != "plain"
        assert latin.left_in(problem) == []
        assert re.search("[\uac00-\ud7a3]", problem.said(KO).what), problem
        assert Problem.read(problem.stored()) == problem


def test_every_field_that_is_wrong_is_said_in_korean(tmp_path: Path) -> None:
    path = tmp_path / "bad.toml"
    path.write_text(BAD)
    with pytest.raises(TrainerError) as caught:
        presets.load(path)
    assert len(caught.value.problems) >= 12
    for problem in caught.value.problems:
        assert latin.left_in(problem) == [], str(problem.said(KO))


@pytest.mark.parametrize(
    "text", ["[model\n", "[model]\nname: x\n", "a = True\n", "a = None\n", "a = b\n", 'a = "open'], ids=repr
)
def test_a_file_that_is_no_toml_is_said_in_korean(text: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.toml"
    path.write_text(text)
    with pytest.raises(TrainerError) as caught:
        presets.read(path)
    assert [latin.left_in(problem) for problem in caught.value.problems] == [[]]


@pytest.mark.parametrize("name", ["gema27b", "nothing like it", "/nowhere/x.toml", str(presets.PRESETS_DIR)])
def test_a_preset_that_is_not_there_is_said_in_korean(name: str) -> None:
    with pytest.raises(TrainerError) as caught:
        presets.find(name)
    said = caught.value.problems[0].said(KO)
    assert latin.in_text(said.what) == [] and latin.in_text(said.fix) == []


def test_no_korean_text_of_these_rooms_has_a_sentence_of_english() -> None:
    heads = ("problem.presets.", "problem.plan.", "presets.", "plan.", "memory.", "spec.")
    texts = {key: KO(key) for key in KO.keys() if key.startswith(heads)}  # noqa: SIM118
    assert len(texts) > 200
    assert {key: text for key, text in texts.items() if latin.in_text(text)} == {}


def test_a_warning_is_said_in_korean() -> None:
    unwise = ["generation.top_k=5", "model.trust_remote_code=true", "grpo.importance_sampling_level=sequence"]
    found = advice.warnings(spec(*unwise, f"reward.components.0={RANKS}"))
    assert len(found) >= 5
    assert [latin.in_text(KO.said(warning)) for warning in found] == [[]] * len(found)


# ---- titles and headers


def test_every_preset_has_a_title_in_korean() -> None:
    for info in presets.list_presets():
        assert re.search("[\uac00-\ud7a3]", info.title_in("ko")), info.name
        assert info.title_in("en") == info.title_in("fr") == info.title


def test_another_title_is_not_said_as_it_was_in_other_languages() -> None:
    assert presets.load("tiny").title_in("ko") != presets.load("tiny").title
    assert presets.load("tiny", ["title=Mine"]).title_in("ko") == "Mine"
    both = presets.load("tiny", ["title=Mine", "titles.ko=Own"])
    assert (both.title_in("en"), both.title_in("ko")) == ("Mine", "Own")
    assert presets.load("tiny", ["titles.ko=Own", "title=Mine"]) == both
    assert presets.load("tiny", ["titles={ko = 'Own'}"]).title_in("ko") == "Own"


def test_what_was_measured_is_said_in_korean() -> None:
    measured = [info.measured for info in presets.list_presets() if info.measured is not None]
    assert measured and {one.key for one in measured} == {"presets.measured", "presets.measured_pairs"}
    assert [latin.in_text(KO.said(one)) for one in measured] == [[]] * len(measured)


def test_a_header_of_another_form_is_shown_as_it_is() -> None:
    lines = ["GPU: an old one", "Measured: on my machine, fast"]
    found = headers.gpu(lines), headers.measured(lines)
    assert [KO.said(one) for one in found if one] == ["an old one", "on my machine, fast"]
    assert headers.gpu([]) is None and headers.measured(["GPU: none needed"]) is None
    assert headers.gpu(["GPU: none needed"]) == Message("presets.gpu_none")
