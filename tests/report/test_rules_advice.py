"""Advice is typed as it stands: each one makes a run that preset, rules and plan accept, or is not given."""

from __future__ import annotations

from typing import Any

import pytest

from tests.report.cases import CASES, Case, ev, run, timed, up, value_at
from trainer import plan, presets
from trainer.errors import PlanError
from trainer.report.finding import Advice
from trainer.report.material import Material
from trainer.report.rules import diagnose
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
            assert advice.value > group
            typed_into(m, advice)
