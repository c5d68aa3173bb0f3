"""params.rubric of a judge: a text file whose text the run keeps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from trainer import presets
from trainer.errors import SpecError
from trainer.spec import RunSpec
from trainer.text import words
from trainer.ui.train import form as forms

SUM = """
[[reward.components]]
function = "sum"
"""
JUDGE = """
[[{table}]]
function = "{function}"
{file}

[{table}.params]
model = "m"
base_url = "http://127.0.0.1:1/v1"
rubric = "rubric.txt"
"""


def preset(folder: Path, judge: str = JUDGE, function: str = "llm_judge", file: str = "") -> Path:
    path = folder / "mine.toml"
    text = (presets.PRESETS_DIR / "tiny.toml").read_text(encoding="utf-8")
    text = text.replace('"data/', f'"{presets.PRESETS_DIR}/data/')
    table = "reward.components.components" if judge.startswith(SUM) else "reward.components"
    path.write_text(text + judge.format(table=table, function=function, file=file), encoding="utf-8")
    return path


def params(spec: RunSpec) -> dict[str, Any]:
    return spec.reward.components[-1].params


def test_a_rubric_lies_beside_its_preset_and_the_run_keeps_the_text(tmp_path: Path) -> None:
    (tmp_path / "rubric.txt").write_text("{answer}? {completion}\n", encoding="utf-8")
    spec = presets.load(preset(tmp_path))
    assert params(spec) == {"model": "m", "base_url": "http://127.0.0.1:1/v1", "prompt": "{answer}? {completion}"}
    (tmp_path / "rubric.txt").unlink()
    assert RunSpec.model_validate_json(spec.model_dump_json()) == spec


def test_a_rubric_typed_on_the_command_line_lies_where_it_is_typed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "rubric.txt").write_text("of the preset {completion}")
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "other.txt").write_text("of the command line {completion}")
    monkeypatch.chdir(tmp_path / "here")
    spec = presets.load(preset(tmp_path), ["reward.components.2.params.rubric=other.txt"])
    assert params(spec)["prompt"] == "of the command line {completion}"


def test_a_rubric_of_a_sum_is_found_too(tmp_path: Path) -> None:
    (tmp_path / "rubric.txt").write_text("Which? {completions}")
    path = preset(tmp_path, SUM + JUDGE, "llm_group_judge")
    (part,) = presets.load(path).reward.components[-1].components
    assert part.params["prompt"] == "Which? {completions}"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "rubric.txt cannot be read: No such file"),
        (b"", "rubric.txt is empty"),
        (b"\xff{completion}", "rubric.txt is not UTF-8: byte 0"),
        (b"x" * 2**16, "rubric.txt has more than 32,768 bytes"),
        (b"Grade it", "has no {completion}"),
    ],
)
def test_a_rubric_that_cannot_be_used_is_a_problem_of_its_component(
    tmp_path: Path, content: bytes | None, said: str
) -> None:
    if content is not None:
        (tmp_path / "rubric.txt").write_bytes(content)
    with pytest.raises(SpecError) as caught:
        presets.load(preset(tmp_path))
    (problem,) = caught.value.problems
    assert problem.place == "reward.components.2.params"
    assert said in problem.what


def test_why_a_rubric_cannot_be_used_is_said_in_korean(tmp_path: Path) -> None:
    with pytest.raises(SpecError) as caught:
        presets.load(preset(tmp_path))
    assert "rubric.txt를 읽을 수 없습니다" in caught.value.problems[0].said(words("ko")).what


def test_a_rubric_beside_a_prompt_is_refused(tmp_path: Path) -> None:
    (tmp_path / "rubric.txt").write_text("{completion}")
    with pytest.raises(SpecError, match="has to be said once"):
        presets.load(preset(tmp_path), ["reward.components.2.params.prompt=Grade {completion}"])


def test_a_column_that_no_row_has_is_named_before_a_run_is_made(tmp_path: Path) -> None:
    from trainer.data import sources

    (tmp_path / "rubric.txt").write_text("{solution} {completion}")
    with pytest.raises(Exception, match="has no column solution"):
        sources.inspect(presets.load(preset(tmp_path)))


def test_what_a_function_of_ones_own_calls_a_rubric_is_its_own_affair(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("def llm_judge(completions, rubric, **params): return [1.0] * len(completions)\n")
    path = preset(tmp_path, file='file = "mine.py"')
    assert params(presets.load(path))["rubric"] == "rubric.txt"
    assert params(presets.load(path, ["reward.components.2.params.rubric=be kind"]))["rubric"] == "be kind"


def test_the_page_wants_to_know_where_a_rubric_lies() -> None:
    component = {"function": "llm_judge", "params": {"rubric": "rubric.txt"}}
    own = {"function": "llm_judge", "file": "/mine.py", "params": {"rubric": "be strict"}}
    raw = {"reward": {"components": [component, own, {"function": "sum", "components": [component]}]}}
    assert list(forms.relative_files(raw)) == [
        ("reward.components.0.params.rubric", "rubric.txt"),
        ("reward.components.2.components.0.params.rubric", "rubric.txt"),
    ]
    assert list(forms.reward_files(raw)) == [("reward.components.1.file", "/mine.py")]
