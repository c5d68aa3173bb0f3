"""Recipes: laid over every preset, in their order, with what they changed written down; what is wrong is said."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from trainer import plan, presets
from trainer.errors import PresetError, SpecError
from trainer.plan import card
from trainer.presets import explain, recipes
from trainer.presets.methods import is_unread
from trainer.run.rundir import RunDir
from trainer.spec import RunSpec
from trainer.text import Words, words

EN, KO = words("en"), words("ko")
NAMES = [recipe.name for recipe in recipes.every()]
PRESETS = [info.name for info in presets.list_presets()]
# Presets with keys that make them what they are, and the recipes that say the same of these, or nothing.
KEEP = {"gspo": {"gspo", "lora-without-regret"}, "tiny-iterative": {"rloo", "maxrl"}}


def refused(preset: str, *over: str, changes: tuple[str, ...] = ()) -> list[str]:
    with pytest.raises(SpecError) as caught:
        presets.load(preset, changes, over)
    return [str(problem) for problem in caught.value.problems]


def not_taken(preset: str, recipe: str) -> set[str]:
    """Keys of the recipe that are refused; none where it can be laid over."""
    try:
        presets.load(preset, over=[recipe])
    except SpecError as error:
        return {problem.place for problem in error.problems}
    return set()


def all_grpo(preset: str) -> bool:
    """In every stage."""
    spec = presets.load(preset)
    return {each.run.method for each in (spec, *presets.stages.later(spec))} == {"grpo"}


def test_every_recipe_on_every_preset_loads_validates_and_plans() -> None:
    planned, kept = 0, 0
    for recipe in NAMES:
        for preset in PRESETS:
            if recipe not in KEEP.get(preset, NAMES):
                assert all(f"recipe {recipe} sets" in said for said in refused(preset, recipe))
                kept += 1
                continue
            episode = presets.load(preset).episode
            other = not all_grpo(preset) or episode.is_on or episode.has_plans
            if other and (said := not_taken(preset, recipe)):
                assert said <= recipes.find(recipe).values().keys()  # what the method, an episode or plans cannot do
                kept += 1
                continue
            spec = presets.load(preset, over=[recipe])
            made = plan.make(spec, 7473, gpu_total_gib=80.0)
            assert made.completions_per_update > 0
            assert RunSpec.model_validate_json(spec.model_dump_json()) == spec
            for key, (_, after) in spec.recipes[recipe].items():
                if is_unread(key, spec.run.method):
                    assert all(change.key != key for change in recipes.changes(spec))
                    continue
                value = spec
                for step in key.split("."):
                    value = value[step] if isinstance(value, dict) else getattr(value, step)
                assert recipes.same(explain.shown(value), after), (recipe, preset, key)
            planned += 1
    assert set(NAMES) == {"grpo", "dapo", "dr_grpo", "gspo", "cispo", "lora-without-regret", "olmo3", "lite-ppo",
                          "rloo", "maxrl"}  # fmt: skip
    assert planned + kept == 10 * len(PRESETS) and planned > 8 * len(PRESETS)


@pytest.mark.parametrize("name", NAMES)
def test_every_value_of_a_recipe_has_its_source(name: str) -> None:
    recipe = recipes.find(name)
    text = recipe.path.read_text(encoding="utf-8")
    bare = [line for line in text.splitlines() if "=" in line and not line.startswith("#") and " #" not in line]
    assert bare == []
    assert {key for key, _, _ in presets.reasons(text)} == recipe.values().keys()
    assert recipe.papers and re.search(r"arXiv \d{4}\.\d{5}|https?://|\.ai/", recipe.papers)
    assert recipe.titles.keys() == {"ko"} and recipe.title != name


def test_preset_then_recipes_in_their_order_then_what_is_set_by_hand() -> None:
    over = ["dapo", "lora-without-regret", "cispo"]
    spec = presets.load("qwen3-4b", ["grpo.beta=0.01", "lora.r=8"], over)
    assert (spec.grpo.loss_type, spec.grpo.epsilon_high, spec.grpo.mask_truncated_completions) == ("cispo", 5.0, True)
    assert (spec.lora.r, spec.lora.alpha, spec.optim.learning_rate, spec.grpo.beta) == (8, 32, 1e-5, 0.01)
    assert list(spec.recipes) == over
    found = {(change.recipe, change.key): change for change in recipes.changes(spec)}
    assert (found["dapo", "grpo.epsilon_high"].before, found["dapo", "grpo.epsilon_high"].after) == ("", "0.28")
    assert found["cispo", "grpo.epsilon_high"].before == "0.28"
    assert found["dapo", "grpo.epsilon_high"].by_hand is None  # another recipe did that
    assert found["lora-without-regret", "lora.r"].by_hand == "8"
    assert found["cispo", "grpo.beta"].by_hand == "0.01"
    assert ("dapo", "grpo.epsilon") not in found  # 0.2 it was


def test_a_recipe_lies_on_a_copy() -> None:
    raw = presets.tables(presets.find("qwen3-4b"))
    laid, problems = recipes.laid_over(raw, ["grpo"])
    assert problems == [] and laid["trl"] == {**raw["trl"], "use_bias_correction_kl": False}
    assert raw == presets.tables(presets.find("qwen3-4b"))


@pytest.mark.parametrize("say", [EN, KO], ids=["en", "ko"])
def test_the_plan_card_says_what_was_changed_from_what_to_what(say: Words) -> None:
    spec = presets.load("qwen3-4b", ["grpo.scale_rewards=group"], ["dr_grpo"])
    text = card.render(spec, plan.make(spec, 7473), say)
    assert 'grpo.loss_type: "grpo" -> "dr_grpo"' in text
    assert re.search(r'grpo\.scale_rewards: "group" -> "none", \S+ [^:]*"group"', text)
    assert "grpo.beta" not in text.split(say("plan.card.update"))[0]
    assert max(map(len, text.splitlines())) <= 80


def test_a_recipe_that_changes_nothing_says_so() -> None:
    first = presets.load("qwen3-4b", over=["dr_grpo"])
    again = presets.parse(first.model_dump(mode="json", exclude_none=True), "again")
    assert again == first
    laid, _ = recipes.laid_over(first.model_dump(mode="json"), ["dr_grpo"])
    spec = presets.parse(laid, "laid twice")
    assert recipes.changes(spec) == []
    assert EN("plan.card.recipe_changes_nothing") in card.render(spec, plan.make(spec, 7473), EN)


def test_an_unknown_recipe_is_refused_with_the_nearest_names_beside_all_else_that_is_wrong() -> None:
    found = refused("tiny", "dapoo", "rlo", changes=("lora.r=0",))
    assert "recipe dapoo" in found[0] and "dapo" in found[0]
    assert "recipe rlo" in found[1] and "rloo" in found[1]
    assert any(said.startswith("lora.r") for said in found)
    with pytest.raises(PresetError, match="lite-ppo"):
        recipes.find("something else entirely")


def test_a_recipe_of_ones_own_is_a_file(tmp_path: Path) -> None:
    own = tmp_path / "mine.toml"
    own.write_text("[grpo]\nbeta = 0.3\n", encoding="utf-8")
    assert presets.load("tiny", over=[str(own)]).grpo.beta == 0.3
    assert list(presets.load("tiny", over=[str(own)]).recipes) == ["mine"]
    own.write_text('[data]\npath = "x.jsonl"\n[grpo]\nbet = 0.3\n', encoding="utf-8")
    [said] = refused("tiny", str(own))
    assert said.startswith("data") and "recipe mine" in said
    own.write_text("[grpo]\nbet = 0.3\n", encoding="utf-8")
    [said] = refused("tiny", str(own))
    assert said.startswith("grpo.bet:") and "grpo.beta" in said


def test_a_fixed_value_of_a_preset_is_kept_against_recipes_and_not_against_hands() -> None:
    found = refused("gspo", "dapo")
    assert [said.partition(":")[0] for said in found] == [
        "grpo.loss_type", "grpo.importance_sampling_level", "grpo.epsilon", "grpo.epsilon_high",
    ]  # fmt: skip
    assert "0.28" in found[-1] and "0.0004" in found[-1] and "recipe dapo" in found[-1]
    assert presets.load("gspo", ["grpo.loss_type=dapo"]).grpo.loss_type == "dapo"
    [said] = refused("gspo", changes=('fixed=["grpo.bet"]',))
    assert "fixed" in said


def test_rloo_and_maxrl_are_whole_formulas() -> None:
    wrong = ("grpo.scale_rewards=group", "grpo.multi_objective_aggregation=normalize_then_sum")
    assert [said.partition(":")[0] for said in refused("tiny", "rloo", changes=wrong)] == [
        "grpo.scale_rewards", "grpo.multi_objective_aggregation",
    ]  # fmt: skip
    steps = ("reward.supervision=process", "reward.components.0.per_step=true")
    assert any(said.startswith("reward.supervision") for said in refused("tiny", "maxrl", changes=steps))


def test_maxrl_warns_of_rewards_below_zero() -> None:
    def warned(preset: str) -> list[str]:
        made = plan.make(presets.load(preset, over=["maxrl"]), 1000)
        return [warning.key for warning in made.warnings if "maxrl" in warning.key]

    assert warned("qwen3-4b") == []
    assert warned("malpyeong") == ["presets.advice.maxrl_below_zero"]  # BERTScore can be negative


def test_a_run_keeps_its_recipes_and_a_clone_of_it_is_the_same(tmp_path: Path) -> None:
    spec = presets.load("tiny", ["grpo.beta=0.1"], ["rloo"])
    run = RunDir.create(tmp_path, "one", spec, plan.make(spec, 4000), {})
    assert run.read_spec() == spec and list(run.read_spec().recipes) == ["rloo"]


# ---- learning rates of LoRA


@pytest.mark.parametrize("name", [name for name in PRESETS if name not in ("gemma27b", "gspo")])
def test_the_learning_rate_of_a_preset_is_in_the_range_of_its_size(name: str) -> None:
    assert rate_warnings(name) == []


def rate_warnings(name: str, *changes: str) -> list[str]:
    made = plan.make(presets.load(name, changes), 7473)
    return [warning.key.rpartition(".")[2] for warning in made.warnings if "lora_rate" in warning.key]


@pytest.mark.parametrize(
    ("name", "changes", "found"),
    [
        ("gemma27b", (), ["lora_rate_low"]),  # the reference run's
        ("gspo", (), ["lora_rate_low"]),  # as published, for whole weights
        ("qwen3-4b", ("optim.learning_rate=1e-6",), ["lora_rate_low"]),
        ("qwen3-4b", ("optim.learning_rate=4e-6",), []),
        ("qwen3-4b", ("optim.learning_rate=2e-4",), ["lora_rate_high"]),
        ("qwen3-4b", ("optim.learning_rate=2e-4", "optim.gradient_accumulation_steps=128"), []),
        ("qwen3-14b", ("optim.learning_rate=1e-4",), ["lora_rate_high"]),
        ("qwen3-4b", ("optim.learning_rate=1e-6", "lora.enabled=false", "model.load_in_4bit=false",
                      "model.name=Qwen/Qwen3-4B"), []),
        ("tiny-qlora", ("optim.learning_rate=1e-9",), []),  # nothing is published at a quarter of a million weights
        ("qwen3-4b", ("optim.learning_rate=1e-9", "model.name=somebody/else"), []),
    ],
)  # fmt: skip
def test_a_rate_far_from_what_lora_takes_is_warned_of(name: str, changes: tuple[str, ...], found: list[str]) -> None:
    assert rate_warnings(name, *changes) == found


def test_the_warning_says_what_to_type_and_for_which_size_and_batch() -> None:
    made = plan.make(presets.load("gemma27b"), 7473)
    [said] = [EN.said(warning) for warning in made.warnings if "lora_rate" in warning.key]
    assert "5e-07" in said and "27" in said and "4 completions" in said and "--set optim.learning_rate=1e-05" in said
