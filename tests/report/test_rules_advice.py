"""Advice is typed as it stands: each one makes a run that preset, rules and plan accept, or is not given."""

from __future__ import annotations

from typing import Any

import pytest

from tests.report.cases import CASES, Case, ev, graded, rounds, run, shares, timed, up, value_at
from trainer import plan, presets
from trainer.errors import PlanError
from trainer.report.finding import Advice
from trainer.report.material import Material
from trainer.report.rules import diagnose, sampling
from trainer.run.columns import Column
from trainer.spec import RunSpec


def ways(m: Material) -> dict[str, Advice]:
    return {advice.key: advice for finding in diagnose(m) for advice in finding.advice}


def typed_into(m: Material, advice: Advice) -> RunSpec:
    """The spec with what is advised, through everything a preset passes."""
    assert m.spec is not None and m.known is None
    overrides = [part.strip() for part in advice.typed.split("--set ") if part.strip()]
    raw = m.spec.model_dump(mode="json", exclude_unset=True)
    spec = presets.parse(presets.merge(raw, overrides), "advice")
    plan.make(spec, 128, gpu_total_gib=80.0)
    return spec


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.signal}.{case.key}")
def test_what_is_advised_passes_every_check_of_a_preset(case: Case) -> None:
    m = case.made()
    for advice in ways(m).values():
        if advice.value is not None and m.known is None:
            spec = typed_into(m, advice)
            value = value_at(spec, advice.setting)
            assert value == (advice.value if isinstance(value, str) else pytest.approx(advice.value))
            assert m.setting(advice.setting) != advice.value


def far(**model: Any) -> Material:
    return run(
        spec={"model": {"name": "Qwen/Qwen3-4B", "engine": "transformers", "device": "cuda"} | model}, **timed(0.2)
    )


def test_vllm_is_advised_with_unsloth_and_only_where_it_can_serve_the_adapter() -> None:
    assert ways(far())["fast_inference"].typed == "--set model.fast_inference=true --set model.engine=unsloth"
    assert ways(far(engine="unsloth"))["fast_inference"].typed == "--set model.fast_inference=true"
    assert "fast_inference" not in ways(far(dtype="float32"))
    whole = run(spec={"lora": {"enabled": False}}, **timed(1.0))
    assert "fast_inference" not in ways(whole)


def test_a_longer_limit_comes_with_the_context_it_needs() -> None:
    cut: dict[str, Any] = {"groups": {"truncated_frac": 0.9}}
    tight = run(spec={"model": {"name": "Qwen/Qwen3-4B", "engine": "transformers", "max_seq_length": 800}}, **cut)
    advice = ways(tight)["longer"]
    assert advice.typed == "--set generation.max_completion_length=768 --set model.max_seq_length=1024"
    typed_into(tight, advice)
    wide = run(spec={"model": {"name": "Qwen/Qwen3-4B", "engine": "transformers", "max_seq_length": 4096}}, **cut)
    assert ways(wide)["longer"].also == ()


@pytest.mark.parametrize(("workers", "more"), [(None, 8), (4, 8), (40, 64), (64, None)])
def test_more_workers_are_advised_up_to_the_most_there_can_be(workers: int | None, more: int | None) -> None:
    parts = [{"function": "exact_match", "name": "correct"}]
    m = run(self_s={"reward.judge": 6.0, "backward": 4.0}, spec={"reward": {"components": parts, "workers": workers}})
    assert (ways(m)["more_workers"].value if more else ways(m).get("more_workers")) == more
    for advice in ways(m).values():
        typed_into(m, advice)


def dead(right: float = 0.0, wrong: float = 0.0, constant: float = 0.0, **sampling: Any) -> Material:
    return run(groups=shares(right, wrong, constant), spec={"sampling": sampling})


@pytest.mark.parametrize(("share", "most"), [(0.5, 2), (0.6, 3), (0.75, 4), (0.9, 5)])
def test_so_many_rounds_are_advised_as_fill_a_batch(share: float, most: int) -> None:
    assert ways(dead(wrong=share))["more_rounds"].typed == f"--set sampling.max_rounds={most}"
    assert "more_rounds" not in ways(dead(wrong=share, max_rounds=2))


def test_no_other_prompts_are_advised_where_the_reward_is_too_coarse_or_all_of_them_are_dead() -> None:
    mine = {"more_rounds", "skip_dead", "curriculum_rate", "curriculum_column"}
    assert not mine & set(ways(dead(constant=0.9)))
    assert not mine & set(ways(dead(wrong=1.0)))
    assert mine & set(ways(dead(wrong=0.9)))


def test_rounds_are_not_advised_where_groups_have_to_stay_as_they_are() -> None:
    parts = [{"function": "exact_match", "name": "correct", "per_step": True}]
    reward = {"components": parts, "supervision": "process", "step_split": "x"}
    m = run(groups=shares(0, 0.6), spec={"reward": reward, "grpo": {"loss_type": "grpo"}})
    assert "more_rounds" not in ways(m)


def test_leaving_prompts_out_is_advised_once_rows_come_again() -> None:
    assert ways(dead(wrong=0.6))["skip_dead"].typed == "--set sampling.skip_dead=true"
    assert "skip_dead" not in ways(run(groups=shares(0, 0.6), rows=100_000))
    assert "skip_dead" not in ways(dead(wrong=0.6, skip_dead=True))


def test_a_curriculum_is_by_the_column_where_there_is_one_and_else_by_pass_rate() -> None:
    assert ways(dead(wrong=0.6))["curriculum_rate"].typed == "--set sampling.curriculum=pass_rate"
    assert "curriculum_rate" not in ways(dead(right=0.6))  # nothing is too hard
    for told in (3, "2.5"):
        assert ways(graded(dead(right=0.6), told))["curriculum_column"].typed == "--set sampling.curriculum=column"
    for value in (None, "hard", True, [1], float("nan")):
        assert "curriculum_column" not in ways(graded(dead(wrong=0.6), value))
    assert not {"curriculum_column", "curriculum_rate"} & set(ways(graded(dead(wrong=0.6, curriculum="column"), 3)))


def test_what_is_thrown_away_is_counted_in_tokens_where_lengths_are_known() -> None:
    """8 of 24 completions are thrown away, each with 50 of the 30 tokens that completions have on average."""
    m = rounds(1 / 3, 0.0)
    size = m.plan["completions_per_phase"]
    tokens: dict[str, Any] = {"train/completions/mean_length": 30.0, "train/sampler/thrown_tokens": 0.5 * size * 50}
    for name, value in tokens.items():
        m.state.metrics[name] = Column([value] * len(m.state.steps))
    assert sampling.thrown_share(m) == pytest.approx(0.5 * 50 / (1.5 * 30))
    assert sampling.thrown_share(rounds(1 / 3, 0.0)) == pytest.approx(1 / 3)
    # With a quarter of what is trained on from earlier steps: 6 of 16 kept, 3 of 9 thrown away.
    m.state.metrics["train/sampler/replayed_frac"] = Column([0.25] * len(m.state.steps))
    assert sampling.thrown_share(m) == pytest.approx(0.5 * 50 / (1.5 * 0.75 * 30))
    m.state.metrics["train/sampler/thrown_frac"] = Column([1.0] * len(m.state.steps))
    assert sampling.thrown_share(m) == 1.0
    m = rounds(1 / 3, 0.0)
    for name, value in tokens.items():
        m.state.metrics[name] = Column([value] * len(m.state.steps))
    assert {f.key for f in diagnose(m) if f.signal == "dynamic_sampling"} == {"costly"}


def test_no_further_rounds_are_advised_where_they_cost_more_than_they_bring() -> None:
    for m in (rounds(0.7, 0.0), rounds(0.6, 0.7, 3.0)):
        found = next(finding for finding in diagnose(m) if finding.signal == "dynamic_sampling")
        assert {advice.key for advice in found.advice} == {"skip_dead", "curriculum_rate", "easier_rows"}
    solved = run(groups=shares(0.7), metrics={"train/sampler/thrown_frac": 0.7}, spec={"sampling": {"max_rounds": 3}})
    (found,) = (finding for finding in diagnose(solved) if finding.signal == "dynamic_sampling")
    assert {advice.key for advice in found.advice} == {"skip_dead", "harder_rows"}


@pytest.mark.parametrize(("best", "stop"), [(0, None), (41, 40), (40, 40)])
def test_stopping_earlier_is_advised_at_the_end_of_a_phase_and_never_at_step_0(best: int, stop: int | None) -> None:
    others = [n for n in (0, 20, 41) if n != best]
    scores = [(n, 0.4) for n in others] + [(best, 0.8), (80, 0.3)]
    off_policy = {"grpo": {"num_iterations": 2, "beta": 0.04}}
    m = run({"train/reward": up(0, 1)}, evals=[ev(n, v, v) for n, v in sorted(scores)], spec=off_policy)
    assert "apart_correct_frac" in {finding.key for finding in diagnose(m)}
    advice = ways(m).get("stop_earlier")
    assert (advice.value if advice else None) == stop
    if advice:
        assert advice.values["step"] == stop
        typed_into(m, advice)


@pytest.mark.parametrize("micro", [4, 8, 12, 16, 24, 32])
@pytest.mark.parametrize("accumulation", [1, 2, 3, 4])
@pytest.mark.parametrize("group", [2, 4, 8])
@pytest.mark.parametrize("steps", [None, 1, 2])
def test_more_completions_are_legal_in_every_batch(
    micro: int, accumulation: int, group: int, steps: int | None
) -> None:
    spec: dict[str, dict[str, Any]] = {
        "optim": {"per_device_train_batch_size": micro, "gradient_accumulation_steps": accumulation},
        "generation": {"num_generations": group, "steps_per_generation": steps},
    }
    try:
        m = run(groups={"dead_frac": 0.9, "all_wrong_frac": 0.9}, spec=spec)
    except PlanError:
        return  # the run itself was not legal
    for advice in ways(m).values():
        if advice.value is not None:
            assert advice.setting != "generation.num_generations" or advice.value > group
            typed_into(m, advice)
