"""data.task: a task takes the place of a preset's rows with all that belongs to them, and what is wrong is said."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from trainer import presets
from trainer.errors import SpecError
from trainer.presets import task_rows
from trainer.spec import RunSpec
from trainer.tasks import catalogue, generated
from trainer.text import words

TASK = "data.task=reasoning_gym:chain_sum"
FEW = "data.task_size=30"


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONEGRPO_CACHE", str(tmp_path / "cache"))


def load(*overrides: str, preset: str = "smollm2") -> RunSpec:
    return presets.load(preset, [TASK, FEW, *overrides])


def refused(*overrides: str) -> list[str]:
    with pytest.raises(SpecError) as found:
        presets.load("smollm2", overrides)
    assert all("\n" not in str(problem.said(words("ko"))) for problem in found.value.problems)
    return [str(problem) for problem in found.value.problems]


def test_a_task_replaces_the_rows_of_a_preset_and_what_belongs_to_them() -> None:
    spec = load()
    assert generated.is_made(str(spec.data.path)) and Path(str(spec.data.path)).is_file()
    assert (spec.data.eval_path, spec.data.eval_fraction) == (None, 0.1)
    assert [(leaf.function, leaf.weight) for leaf in spec.reward.leaves()] == [("task", 1.0), ("length_penalty", 0.5)]
    assert (spec.reward.correct, spec.reward.gold_template) == ("correct", "{answer}")
    assert spec.data.max_prompt_length > 40 and 16 <= spec.generation.max_completion_length <= 24
    assert "one word" not in str(spec.data.system_prompt)


def test_a_model_that_can_follow_a_form_is_asked_for_tags() -> None:
    spec = load(preset="qwen3-4b")
    first, form = spec.reward.leaves()
    assert (first.function, first.params["extract"], form.function) == (
        "task",
        "<answer>(.*?)</answer>",
        "format_regex",
    )
    assert spec.reward.gold_template == "<answer>{answer}</answer>" and "<answer>" in str(spec.data.system_prompt)


def test_a_model_that_reads_letters_gets_room_for_them_and_no_instruction() -> None:
    spec = load(preset="tiny")
    rows = list(generated.rows(Path(str(spec.data.path))))
    assert max(len(row["prompt"]) for row in rows) < spec.data.max_prompt_length
    assert spec.data.system_prompt is None and spec.model.warm_start is None
    assert [leaf.function for leaf in spec.reward.leaves()] == ["task", "length_penalty"]


def test_what_else_was_typed_wins() -> None:
    spec = load(
        "data.eval_fraction=0.2",
        'reward.components=[{function = "task", name = "mine"}]',
        "data.max_prompt_length=64",
        "data.system_prompt=Think.",
        "reward.correct=mine",
        "data.task_params.max_terms=2",
    )
    assert (spec.data.eval_fraction, spec.data.max_prompt_length, spec.data.system_prompt) == (0.2, 64, "Think.")
    assert [leaf.title for leaf in spec.reward.leaves()] == ["mine"]
    row = next(generated.rows(Path(str(spec.data.path))))
    assert json.loads(row["entry"])["params"] == {"max_terms": 2}


def test_a_weight_that_was_typed_leaves_the_verifier_where_it_is() -> None:
    spec = load("reward.components.0.weight=2", "reward.components.1.params.end=30")
    first, second = spec.reward.leaves()
    assert (first.function, first.weight, second.function) == ("task", 2.0, "length_penalty")
    assert (second.params["end"], second.params["unit"]) == (30, "words")


def test_rows_of_ones_own_replace_the_task_of_a_preset(tmp_path: Path) -> None:
    preset = tmp_path / "mine.toml"
    preset.write_text('[model]\nname = "builtin/smollm2-135m"\n[data]\ntask = "reasoning_gym:gsm_symbolic"\n'
                      '[[reward.components]]\nfunction = "task"\n', encoding="utf-8")  # fmt: skip
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"prompt": "a", "answer": "b", "entry": "{}"}\n', encoding="utf-8")
    spec = presets.load(preset, [f"data.path={rows}"])
    assert (spec.data.path, spec.data.task) == (str(rows), None)


def test_a_task_in_a_preset_is_taken_as_it_stands(tmp_path: Path) -> None:
    preset = tmp_path / "mine.toml"
    text = '[model]\nname = "builtin/smollm2-135m"\n[data]\ntask = "reasoning_gym:chain_sum"\ntask_size = 20\n'
    preset.write_text(text + '[[reward.components]]\nfunction = "task"\n', encoding="utf-8")
    spec = presets.load(preset)
    assert spec.data.eval_fraction is None and [leaf.function for leaf in spec.reward.leaves()] == ["task"]
    preset.write_text(text + 'path = "x.jsonl"\n[[reward.components]]\nfunction = "task"\n', encoding="utf-8")
    with pytest.raises(SpecError, match=r"task is .* and data\.path = .*: rows come from one of them"):
        presets.load(preset)


def test_the_seed_of_the_run_is_that_of_the_rows() -> None:
    one, other, again = load("run.seed=1"), load("run.seed=2"), load("run.seed=1")
    assert one.data.path == again.data.path != other.data.path


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["data.task=reasoning_gym:chain_sun"], 'data.task: is "reasoning_gym:chain_sun": no generator of this name'),
        (["data.task=reasoning_gym:chain_sun"], "did you mean reasoning_gym:chain_sum"),
        (["data.task=chain_sum"], "did you mean reasoning_gym:chain_sum"),
        (["data.task=zzz"], "python -m trainer tasks lists them"),
        (["data.task=reasoning_gym:composite"], "is left out: it only puts other generators together"),
        ([TASK, "data.task_params.max_term=3"], "did you mean data.task_params.max_terms?"),
        ([TASK, "data.task_params.max_terms=three"], 'is "three", must be a whole number  ->  '),
        ([TASK, FEW, "data.task_params.min_terms=9"], "data.task_params: reasoning_gym:chain_sum does not take these"),
        ([TASK, "data.task_size=0"], "must be a whole number, at least 1"),
        ([TASK, "data.path=rows.jsonl"], "rows come from one of them"),
        ([TASK, "data.name=someone/rows"], "rows come from one of them"),
        (["data.task_params.max_terms=3"], "data.task_params: belongs to a task, and data.task is not set"),
        (["data.task_size=3"], "data.task_size: belongs to a task, and data.task is not set"),
        ([TASK, "run.seed=-1"], "run.seed: is -1"),
        ([TASK, "data.task_params=3"], "data.task_params: is 3, must be a table"),
    ],
)
def test_bad_input_is_said_in_one_line(overrides: list[str], said: str) -> None:
    found = refused(*overrides)
    assert len(found) == 1 and said in found[0], found


def test_a_task_that_is_not_installed_is_said_with_what_to_type(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalogue, "installed_version", lambda: None)
    (found,) = refused(TASK)
    assert "data.task: reasoning_gym:chain_sum needs the package reasoning-gym, which is not installed" in found
    assert "make setup" in found and "pip install -c constraints.txt reasoning-gym==" in found


def test_bad_input_ends_with_two_before_torch_or_the_package_is_imported() -> None:
    code = (
        "import sys, app\n"
        "code = app.main(['--headless', '--preset', 'smollm2', '--set', 'data.task=reasoning_gym:chain_sun'])\n"
        "assert 'torch' not in sys.modules and 'reasoning_gym' not in sys.modules\n"
        "sys.exit(code)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr
    assert done.stderr.count("\n") == 1 and "did you mean reasoning_gym:chain_sum" in done.stderr


@pytest.mark.parametrize(
    "text", ["", "State the final answer: 12 + 345 =", "Sort these: 1 0 1\n0 1 0", "\ud55c\uae00 12"]
)
def test_tokens_are_rather_over_than_underestimated(text: str) -> None:
    assert len(text) / 6 <= task_rows.tokens(text) <= len(text)
