"""Each rule with runs that must and must not bring its sentences, and what the sentences are made of."""

from __future__ import annotations

import functools
import json
import string
from typing import Any

import pytest

from tests.report.cases import (
    ALIKE,
    CASES,
    Case,
    graded,
    lost,
    placed,
    replayed,
    run,
    same,
    shares,
    timed,
    value_at,
    whole,
)
from trainer import plan as planning
from trainer import presets
from trainer.report.finding import Finding
from trainer.report.material import GENERATE, Material
from trainer.report.rules import RULES, diagnose, level_of, worst
from trainer.report.rules.bounds import BOUNDS
from trainer.report.rules.verdict import run_verdict
from trainer.report.sections.telling import words
from trainer.spec import RunSpec

LANGUAGES = ("en", "ko")


def found(m: Material) -> dict[tuple[str, str], Finding]:
    return {(finding.signal, finding.key): finding for finding in diagnose(m)}


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.signal}.{case.key}")
def test_a_cause_brings_its_sentence_and_without_it_there_is_none(case: Case) -> None:
    said = found(case.made())
    assert (case.signal, case.key) in said, sorted(said)
    assert said[case.signal, case.key].level == case.level
    assert (case.signal, case.key) not in found(case.without())


def test_a_step_in_which_no_row_was_computed_has_no_entropy_and_not_one_of_0() -> None:
    entropy = [None if step % 2 or step > 60 else 0.5 for step in range(80)]
    m = run({"train/entropy": entropy, "train/reward": 1.0})
    said = found(m)["entropy", "kept"]
    assert said.level == "green"
    assert (said.values["first"], said.values["now"]) == (0.5, 0.5)


def test_every_sentence_has_a_case() -> None:
    keys = {tuple(key.split(".")[2:]) for key in words("en").keys() if key.startswith("report.finding.")}  # noqa: SIM118
    assert keys == {(case.signal, case.key) for case in CASES}


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.signal}.{case.key}")
def test_a_sentence_is_made_of_what_its_rule_gives(case: Case, language: str) -> None:
    say, finding = words(language), found(case.made())[case.signal, case.key]
    text = say(f"finding.{finding.signal}.{finding.key}", **finding.values)
    assert text and "{" not in text and "n/a" not in text and "nan" not in text
    for advice in finding.advice:
        assert "{" not in say(f"advice.{advice.key}", **advice.values)


def test_every_signal_has_a_name_a_meaning_and_a_rule_in_both_languages() -> None:
    assert {case.signal for case in CASES} == set(BOUNDS)
    for language in LANGUAGES:
        for signal, bounds in BOUNDS.items():
            for part in ("name", "means", "rule"):
                assert "{" not in words(language)(f"signal.{signal}.{part}", **bounds)


def test_a_rule_names_every_bound_it_has() -> None:
    """A threshold that is not in the text of its rule cannot be checked by a reader."""
    for signal, bounds in BOUNDS.items():
        for language in LANGUAGES:
            template = words(language)(f"signal.{signal}.rule")
            named = {name for _, name, _, _ in string.Formatter().parse(template) if name}
            assert named <= set(bounds)
            assert named == set(bounds) or signal in ("reward_spikes",)  # "as for dips"


@pytest.mark.parametrize("language", LANGUAGES)
def test_texts_of_both_languages_hold_the_same_values(language: str) -> None:
    def fields(text: str) -> set[tuple[str, str]]:
        return {(name, form or "") for _, name, form, _ in string.Formatter().parse(text) if name}

    en, other = words("en"), words(language)
    keys = {key for key in en.keys() if key.startswith("report.")}  # noqa: SIM118
    assert keys == {key for key in other.keys() if key.startswith("report.")}  # noqa: SIM118
    for key in keys:
        assert fields(en(key)) == fields(other(key)), key


# ---- advice


@functools.cache
def advised() -> dict[tuple[str, str], tuple[Material, Any]]:
    runs = [case.made() for case in CASES]
    runs.append(run({"train/reward": 1.0}, spec={"data": {"eval_fraction": None}}))  # nothing is held out
    settings = frozenset({"model", "data", "generation", "optim", "lora", "grpo"})
    runs.append(run(known=settings, **timed(1.0)))  # made elsewhere, without a cache
    runs.append(same(0.97, 0.9, generation={"num_generations": 8, "temperature": 0.7}))
    runs.append(whole(lost(same_text_frac=ALIKE)))  # without an adapter a checkpoint is a model to start from
    runs.append(placed(lost(same_text_frac=ALIKE)))
    runs.append(graded(run(groups=shares(0.6)), 3))  # rows that say how hard they are
    runs.append(replayed(0.7, age=1.0))  # nothing is newer than of the step before
    pairs = [(m, advice) for m in runs for finding in diagnose(m) for advice in finding.advice]
    return {(advice.key, str(advice.value)): (m, advice) for m, advice in pairs}


KEYS = sorted(key.rpartition(".")[2] for key in words("en").keys() if key.startswith("report.advice."))  # noqa: SIM118


@pytest.mark.parametrize("key", KEYS)
def test_what_is_advised_is_given_somewhere_can_be_typed_and_makes_a_legal_run(key: str) -> None:
    given = [each for (name, _), each in advised().items() if name == key]
    assert given
    for m, advice in given:
        if advice.value is not None:
            assert m.spec is not None
            raw = m.spec.model_dump(mode="json")
            typed = advice.typed.removeprefix("--set ").split(" --set ")
            changed = RunSpec.model_validate_json(json.dumps(presets.merge(raw, typed)))
            assert value_at(changed, advice.setting) == advice.value
            planning.make(changed, 128, gpu_total_gib=24.0)


def test_no_advice_is_given_that_has_no_words() -> None:
    assert {key for key, _ in advised()} <= set(KEYS)


@pytest.mark.parametrize(
    ("micro", "accumulation", "typed"),
    [
        (32, 1, "--set generation.num_generations=16"),
        (4, 4, "--set generation.num_generations=16"),
        (8, 1, "--set generation.num_generations=16 --set optim.gradient_accumulation_steps=2"),
        (24, 1, "--set generation.num_generations=16 --set optim.gradient_accumulation_steps=2"),
        (1, 8, "--set generation.num_generations=16 --set optim.gradient_accumulation_steps=16"),
    ],
)
def test_more_completions_are_advised_as_a_legal_batch(micro: int, accumulation: int, typed: str) -> None:
    optim = {"per_device_train_batch_size": micro, "gradient_accumulation_steps": accumulation}
    m = run(groups={"dead_frac": 0.9, "all_wrong_frac": 0.9}, spec={"optim": optim})
    advice = next(a for a in found(m)["dead_groups", "all_wrong"].advice if a.key == "more_generations")
    assert advice.typed == typed
    assert m.spec is not None
    raw = m.spec.model_dump(mode="json")
    changed = presets.merge(raw, typed.removeprefix("--set ").split(" --set "))
    planning.make(RunSpec.model_validate_json(json.dumps(changed)), 128)


def test_where_no_legal_batch_is_known_more_completions_are_not_advised() -> None:
    optim = {"per_device_train_batch_size": 8, "gradient_accumulation_steps": 1}
    chosen = {"num_generations": 8, "steps_per_generation": 1, "max_completion_length": 512}
    m = run(groups={"dead_frac": 0.9, "all_wrong_frac": 0.9}, spec={"optim": optim, "generation": chosen})
    assert not [a for a in found(m)["dead_groups", "all_wrong"].advice if a.key == "more_generations"]


# ---- evidence


def test_a_finding_names_its_steps() -> None:
    m = run({"train/grad_norm": [0.5] * 39 + [9.0] + [0.5] * 38 + [0.0] * 2})
    said = found(m)
    assert said["grad_norm", "spikes_clipped"].steps == (40,)
    assert said["grad_norm", "none"].steps == (79, 80)


def test_a_setting_that_is_not_known_is_never_taken_for_its_default() -> None:
    """beta is 0 by default: an imported run without it has not said so."""
    assert ("kl", "unknown") in found(run(known=frozenset(), spec={"grpo": {"beta": 0.0}}))
    assert ("clip_ratio", "unknown") in found(run(known=frozenset()))


def test_values_that_a_function_leaves_out_on_purpose_are_no_failure() -> None:
    m = run({"train/rewards/correct/mean": 0.5, "train/rewards/correct/none": 0.5})
    assert ("reward_errors", "none") in found(m)


def test_a_step_that_generates_is_not_slow_among_those_that_reuse_what_it_wrote() -> None:
    every_eighth = [40.0 if step % 8 == 1 else 2.0 for step in range(1, 81)]
    generated = [38.0 if step % 8 == 1 else None for step in range(1, 81)]
    metrics: dict[str, Any] = {GENERATE: generated}
    reused = {"grpo": {"num_iterations": 8, "beta": 0.04}}
    assert ("slow_steps", "none") in found(run(metrics, seconds=every_eighth, spec=reused))
    assert ("slow_steps", "slow") in found(run(metrics, seconds=every_eighth))


def test_what_vllm_writes_counts_as_generation() -> None:
    spans: dict[str, Any] = {"_generate_and_score_completions": 8.0, "backward": 2.0}
    vllm = {"model": {"engine": "unsloth", "fast_inference": True}}
    assert found(run(self_s=spans, spec=vllm))["time_share", "one"].values["phase"] == "generate"
    assert found(run(self_s=spans))["time_share", "one"].values["phase"] == "other"


def test_seconds_of_vllm_and_of_its_weight_sync_are_generation_by_name() -> None:
    spans: dict[str, Any] = {"vLLM.generate": 7.0, "sync_weights": 1.0, "_generate_and_score_completions": 2.0}
    vllm: dict[str, Any] = {"model": {"engine": "transformers"}, "trl": {"use_vllm": True}}
    shares = found(run(self_s=spans, spec=vllm))["time_share", "one"].values["shares"]
    assert shares == pytest.approx({"generate": 0.8, "other": 0.2})


def test_before_the_first_step_nothing_is_said() -> None:
    assert diagnose(run(n=0)) == [] and level_of([]) == "unknown"


def test_the_worst_comes_first() -> None:
    findings = [Finding("a", "green", ""), Finding("b", "red", ""), Finding("c", "na", ""), Finding("d", "amber", "")]
    assert [finding.signal for finding in worst(findings)] == ["b", "d", "a", "c"]
    assert level_of(findings) == "red"


def test_every_rule_copes_with_a_run_that_recorded_nothing() -> None:
    empty = run(seconds=[None] * 80)
    for rule in RULES:
        for finding in rule(empty):
            assert finding.level in ("unknown", "na", "green"), finding


# ---- the verdict


def said(**findings: str) -> list[Finding]:
    """dead_groups="red.all_wrong" ..."""
    return [Finding(signal, *text.split(".")) for signal, text in findings.items()]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("findings", "expected"),
    [
        ({"over_optimised": "red.apart_reward", "evaluation": "green.better_reward"}, "over_optimised"),
        ({"evaluation": "red.worse_reward", "reward_trend": "green.rises"}, "worse"),
        ({"evaluation": "green.better_correct_frac", "dead_groups": "red.constant"}, "learnt_dead"),
        ({"evaluation": "green.better_correct_frac", "dead_groups": "note.all_right"}, "learnt_solved"),
        ({"evaluation": "green.better_reward", "over_optimised": "amber.fell_reward"}, "past_best"),
        ({"dead_groups": "red.steps", "reward_trend": "green.rises"}, "nothing"),
        ({"dead_groups": "green.some", "reward_trend": "green.rises"}, "learnt_rows"),
        ({"evaluation": "amber.unclear_reward", "reward_trend": "green.rises"}, "learnt_rows"),
        ({"reward_trend": "red.falls"}, "falls"),
        ({"dead_groups": "note.all_right", "reward_trend": "amber.flat"}, "solved"),
        ({"reward_trend": "amber.flat"}, "flat"),
        ({"reward_trend": "note.early"}, "unclear"),
        ({"reward_trend": "unknown.short"}, "short"),
        ({}, "short"),
    ],
)
def test_the_verdict_is_the_strongest_thing_that_is_true(findings: dict[str, str], expected: str) -> None:
    assert run_verdict(said(**findings)) == expected
