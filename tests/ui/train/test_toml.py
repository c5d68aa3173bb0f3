"""Settings saved as TOML are read back as the same settings."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from trainer import presets
from trainer.ui.train import toml

NAMES = [info.name for info in presets.list_presets()]
CHANGES: list[tuple[str, ...]] = [
    (),
    ("optim.learning_rate=1e-7", "lora.alpha=3", "eval.pass_at=[1, 4]", "generation.num_generations=16"),
    ("data.system_prompt=a 'b' \"c\" \\ {d} ${e}", 'data.prompt_template="\\n# {prompt}\\t\\u007f"', "title=[x]"),
    ("data.few_shot.count=1", 'data.prompt_template="{few_shot}{prompt}"', "run.seed=7"),
    ("trl.epsilon_high=0.3", 'data.columns.answer="the answer = x"', "lora.target_modules=[\"q_proj\"]"),
    ('reward.components=[{function = "exact_match", clip = [0, 1], params = {extract = "(a)"}}]', "reward.correct="),
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("changes", CHANGES)
def test_a_saved_spec_is_the_same_spec(name: str, changes: tuple[str, ...], tmp_path: Path) -> None:
    raw = presets.tables(presets.find(name))
    draft = presets.draft(raw, changes, name)
    spec = draft.spec if draft.spec is not None else presets.load(name)
    file = tmp_path / "saved.toml"
    file.write_text(toml.written(spec, ["how it was made\n[model]"]), encoding="utf-8")
    assert presets.load(file) == spec
    assert presets.parse(toml.plain(spec), name) == spec


values = some.recursive(
    some.booleans() | some.integers() | some.floats(allow_nan=False, allow_infinity=False) | some.text(),
    lambda inner: some.lists(inner, max_size=4) | some.dictionaries(some.text(), inner, max_size=4),
)


@given(some.dictionaries(some.text(), values, max_size=5))
def test_any_value_is_read_back(table: dict[str, Any]) -> None:
    assert tomllib.loads(f"value = {toml.inline(table)}") == {"value": table}
    assert tomllib.loads("\n".join(toml._table(table, ()))) == table
