"""Settings that a page names exist, and every setting is on a page."""

from __future__ import annotations

import re

import pytest

from tests.docs.reading import named, page, pages, parts
from tools import settings_page
from trainer.presets import explain
from trainer.spec import RECORDS, SET_ELSEWHERE, RunSpec, trl_table

# Where any key may stand: what a person's own columns, params and arguments are called.
FREE = (
    "data.columns.",
    "data.task_params.",
    "data.instruction.texts.",
    "reward.components.0.params.",
    "trl.chat_template_kwargs.",
)
TOP = {name for name, field in RunSpec.model_fields.items() if explain.section_class(field.annotation) is None}
SECTIONS = "|".join(sorted(RunSpec.model_fields.keys() - TOP - RECORDS | {"trl"}))
_SET = re.compile(r"--set ['\"]?([A-Za-z_][\w.]*)=")
_KEY = re.compile(rf"(?<![\w./\"])((?:{SECTIONS})\.[a-z_][\w.]*\w)(?![\w/(])")
_FILE = re.compile(r"\.(py|md|toml|json|jsonl|csv|html|txt|parquet)$")
PLACEHOLDERS = {"section.key", "reward_model.ground_truth"}  # the last: a column of verl's rows


def keys(text: str) -> set[str]:
    """Settings that a text names: after --set, and section.key anywhere but in double quotes (keys of words)."""
    found = {key for key in _KEY.findall(text) if not _FILE.search(key)}
    return (found | set(_SET.findall(text))) - PLACEHOLDERS


def exists(key: str) -> bool:
    if key.startswith("trl."):
        return key.split(".")[1] in trl_table()
    steps = tuple(int(step) if step.isdecimal() else step for step in re.sub(r"\.\d+\.", ".0.", key).split("."))
    if any(re.sub(r"\.\d+\.", ".0.", key).startswith(free) for free in FREE):
        return True
    return explain.field_at(steps) is not None


@pytest.mark.parametrize("name", pages())
def test_every_setting_a_page_names_exists(name: str) -> None:
    assert [key for key in sorted(keys(page(name))) if not exists(key)] == []


def test_the_page_of_settings_is_current() -> None:
    assert page("docs/settings.md") == settings_page.render(), "run: python -m tools.settings_page"


def unlisted(text: str) -> set[str]:
    """Settings that the page of settings lacks, or that only it has; of [trl] what is refused as well."""
    listed = set(named(text))
    refused = listed & set(SET_ELSEWHERE)
    return ((set(explain.all_keys()) | TOP - {"trl"}) - listed) | {key for key in listed - refused if not exists(key)}


def test_every_setting_is_on_its_page() -> None:
    assert unlisted(page("docs/settings.md")) == set()
    assert set(SET_ELSEWHERE) <= set(named(parts(page("docs/settings.md"))["trl"]))


def test_a_setting_that_is_not_there_is_found() -> None:
    text = "Try `--set optim.learning_rat=1`, `grpo.betta`, data.columns.prompt and `reward.components.1.weight`."
    assert [key for key in sorted(keys(text)) if not exists(key)] == ["grpo.betta", "optim.learning_rat"]


def test_a_page_of_settings_that_lacks_one_is_found() -> None:
    text = page("docs/settings.md").replace("`lora.r`", "`lora.rank`")
    assert unlisted(text) == {"lora.r", "lora.rank"} and text != settings_page.render()
