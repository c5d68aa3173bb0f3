"""Rules of the section `sampling`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from trainer.errors import Problem
from trainer.presets.rules.registry import rule
from trainer.spec import RunSpec


@rule("sampling.group_size", "sampling.min_generations", "sampling.max_generations", "generation.num_generations")
def _bounds_hold_the_mean(spec: RunSpec) -> Iterator[Problem]:
    """num_generations is what prompts get on average: neither bound may lie on its other side."""
    sampling, group = spec.sampling, spec.generation.num_generations
    if sampling.group_size == "fixed":
        return
    if sampling.min_generations > group:
        yield Problem(
            "presets.least_above_mean", "sampling.min_generations", least=sampling.min_generations, mean=group
        )
    if sampling.most(group) < group:
        yield Problem("presets.most_below_mean", "sampling.max_generations", most=sampling.most(group), mean=group)


@rule(
    "sampling.group_size",
    "sampling.max_rounds",
    "sampling.replay",
    "grpo.multi_objective_aggregation",
    "reward.supervision",
)
def _groups_are_compared_as_trl_does(spec: RunSpec) -> Iterator[Problem]:
    """Steps of completions are normalised within groups of one size, and TRL normalises components so."""
    sampling = spec.sampling
    others = (
        ("sampling.group_size", sampling.group_size, "fixed"),
        ("sampling.max_rounds", sampling.max_rounds, 1),
        ("sampling.replay", sampling.replay, 0),
    )
    for key, value, plain in others:
        if value != plain and spec.reward.supervision == "process":
            yield Problem("presets.sampling_of_steps", key, seen=value, plain=plain)
    if sampling.group_size != "fixed" and spec.grpo.multi_objective_aggregation == "normalize_then_sum":
        yield Problem("presets.sizes_with_gdpo", "sampling.group_size", seen=sampling.group_size)


@rule("sampling.difficulty_order")
def _order_names_each_once(spec: RunSpec) -> Iterator[Problem]:
    order = spec.sampling.difficulty_order
    twice = [name for name, count in Counter(order).items() if count > 1]
    if twice:
        yield Problem("presets.order_twice", "sampling.difficulty_order", names=twice)
    elif len(order) == 1:
        yield Problem("presets.order_of_one", "sampling.difficulty_order", name=order[0])


@rule("sampling.replay", "trl.use_vllm", "model.fast_inference", "trl.vllm_importance_sampling_correction")
def _replayed_ratios_are_of_one_kind(spec: RunSpec) -> Iterator[Problem]:
    """TRL 1.14.2 corrects for vLLM by the policy as it is now against vLLM as it was: of a group that was written
    earlier that would be another ratio, beside the one that the loss has."""
    by_vllm = spec.model.fast_inference or spec.trl.get("use_vllm") is True
    if spec.sampling.replay and by_vllm and spec.trl.get("vllm_importance_sampling_correction", True) is not False:
        yield Problem("presets.replay_with_correction", "sampling.replay", seen=spec.sampling.replay)
