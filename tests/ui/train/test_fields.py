"""The fields of the form are those of the spec, each with its help, and nothing beside them."""

from __future__ import annotations

import re

import pytest

from trainer import presets
from trainer.presets import explain
from trainer.presets.explain import field_at
from trainer.rewards.check import GOLD, JUNK
from trainer.spec import RECORDS, RunSpec
from trainer.text import languages, words
from trainer.ui.train import components, controls, page
from trainer.ui.train.fields import COLUMNS, COMPONENTS, every, help_keys, help_of, shown, values


def test_every_field_of_the_spec_has_a_control_or_a_place_of_its_own() -> None:
    keys = {field.key for field in every()}
    for section, info in RunSpec.model_fields.items():
        if section in RECORDS:
            continue
        inner = explain.section_class(info.annotation)
        expected = {f"{section}.{name}" for name in inner.model_fields} if inner else {section}
        assert expected <= keys
    made = "".join(controls.parts(words("en")).values())
    for field in every():
        if field.kind != "group" and field.key not in (COMPONENTS, COLUMNS, "trl", "fixed", "recipes"):
            assert made.count(f'data-key="{field.key}"') == 1, field.key


def test_every_key_of_a_control_is_a_key_of_the_spec() -> None:
    made = page.rendered(words("ko")) + components.rendered([{"function": "sum", "components": [{}]}, {}], words("ko"))
    keys = re.findall(r'data-key="([^"]+)"', made)
    assert len(keys) > 100
    for key in keys:
        assert field_at(tuple(key.split("."))[:2] if "components" not in key else ("reward", "components")) is not None
    assert "reward.components.0.components.0.weight" in keys


@pytest.mark.parametrize("language", [code for code in languages() if code != "en"])
def test_every_field_has_help_in_every_language(language: str) -> None:
    say = words(language)
    known = say.keys()
    assert {key.removeprefix("help.") for key in known if key.startswith("help.")} == help_keys()
    for key in help_keys():
        assert help_of(key, say) != help_of(key, words("en"))


def test_help_names_no_field_that_is_gone() -> None:
    assert all(help_of(key, words("en")) for key in help_keys())


@pytest.mark.parametrize(
    ("key", "kind", "choices"),
    [
        ("optim.learning_rate", "number", ()),
        ("model.load_in_4bit", "flag", ()),
        ("model.gradient_checkpointing", "choice", ("true", "false", "unsloth")),
        ("model.attn_implementation", "choice", ("", "eager", "sdpa", "flash_attention_2")),
        ("data.prompt_template", "lines", ()),
        ("data.path", "text", ()),
        ("log.mirrors", "value", ()),
        ("lora.target_modules", "value", ()),
        ("model.warm_start", "group", ()),
    ],
)
def test_a_field_gets_the_control_that_fits_its_type(key: str, kind: str, choices: tuple[str, ...]) -> None:
    field = next(field for field in every() if field.key == key)
    assert (field.kind, field.choices) == (kind, choices)


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, ""), (True, "true"), (1e-6, "1e-06"), (0.1 + 0.2, "0.30000000000000004"), (16.0, "16"), ([], ""),
     (["a", "b"], '["a", "b"]'), ({"a": {"b": 1}}, "{a = {b = 1}}"), ("x", "x")],
)  # fmt: skip
def test_a_value_is_shown_as_it_would_be_typed(value: object, text: str) -> None:
    assert shown(value) == text


def test_values_are_those_of_the_preset_or_the_defaults() -> None:
    raw = presets.tables(presets.find("tiny"))
    found = values(raw)
    assert found["optim.learning_rate"] == "0.0003"
    assert found["grpo.epsilon"] == "0.2"
    assert found["reward.components.1.weight"] == "0.5"
    assert found["model.warm_start"] == "true" and found["data.few_shot"] == ""


@pytest.mark.parametrize("raw", [{}, {"model": 3}, {"reward": {"components": 7}}, {"reward": {"components": [1, {}]}}])
def test_a_raw_spec_of_any_shape_can_be_shown(raw: dict[str, object]) -> None:
    assert values(raw)["optim.learning_rate"] == "1e-06"


@pytest.mark.parametrize("language", languages())
def test_every_word_that_is_chosen_by_a_value_is_there(language: str) -> None:
    chosen = {
        "over": ("drop", "cut", "error", "none"),
        "basis": ("exact", "characters", "guess"),
        "tokens": ("exact", "characters", "guess"),
        "fit": ("fits", "tight", "no", "unknown", "no_gpu", "of_unknown"),
        "memory": ("fits", "tight", "no", "alone", "unknown"),
        "method": ("lora", "qlora", "whole"),
        "peak": ("generation", "update"),
        "try": (*(name.replace(" ", "_") for name in JUNK), GOLD, "typed_one"),
    }
    for head, tails in chosen.items():
        for tail in tails:
            assert f"train.{head}_{tail}" in words(language)


def test_a_file_below_this_folder_is_shown_as_it_would_be_typed_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """No folder of this machine in a picture of the page; and the text that is shown is read as the same file."""
    info = next(info for info in presets.list_presets() if info.name == "tiny")
    raw = presets.tables(info.path)
    monkeypatch.chdir(info.path.parent.parent)
    path = values(raw)["data.path"]
    assert path == "presets/data/reverse_train.jsonl"
    assert presets.draft(raw, [f"data.path={path}"], "tiny").raw == presets.draft(raw, [], "tiny").raw
    monkeypatch.chdir("/")
    assert presets.draft(raw, [f"data.path={values(raw)['data.path']}"], "tiny").raw["data"] == raw["data"]
    outside = raw | {"data": {"path": "/elsewhere/rows.jsonl"}}
    monkeypatch.chdir(info.path.parent)
    assert values(outside)["data.path"] == "/elsewhere/rows.jsonl"
