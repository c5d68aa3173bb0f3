"""Rules of generation, objective and optimizer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from trainer.errors import Problem
from trainer.presets.explain import field_at, meant, nearest, shown
from trainer.presets.rules.registry import rule
from trainer.spec import RunSpec
from trainer.spec.choices import OPTIMIZERS, SCHEDULERS
from trainer.text import Message


@rule("generation.steps_per_generation", "generation.generation_batch_size")
def _one_size_of_generation_batch(spec: RunSpec) -> Iterator[Problem]:
    steps, size = spec.generation.steps_per_generation, spec.generation.generation_batch_size
    if steps is not None and size is not None:
        yield Problem("presets.two_generation_sizes", "generation", steps=steps, size=size)


@rule("grpo.epsilon", "grpo.epsilon_high")
def _upper_clip_is_not_below_the_lower(spec: RunSpec) -> Iterator[Problem]:
    low, high = spec.grpo.epsilon, spec.grpo.epsilon_high
    if high is not None and high < low:
        yield Problem("presets.clip_reversed", "grpo.epsilon_high", high=high, low=low)


@rule("grpo.delta", "grpo.epsilon", "grpo.epsilon_high")
def _cap_is_above_the_clip(spec: RunSpec) -> Iterator[Problem]:
    upper = spec.grpo.epsilon if spec.grpo.epsilon_high is None else spec.grpo.epsilon_high
    if spec.grpo.delta is not None and spec.grpo.delta <= 1 + upper:
        yield Problem("presets.cap_inside_clip", "grpo.delta", delta=spec.grpo.delta, least=1 + upper)


@rule("grpo.advantage", "grpo.scale_rewards", "grpo.multi_objective_aggregation", "reward.supervision")
def _advantage_is_made_in_one_way(spec: RunSpec) -> Iterator[Problem]:
    """rloo and maxrl are whole formulas: what else would shape the advantage would be left out without a word."""
    grpo = spec.grpo
    if grpo.advantage == "group_mean":
        return
    others = (
        ("grpo.scale_rewards", grpo.scale_rewards, "none"),
        ("grpo.multi_objective_aggregation", grpo.multi_objective_aggregation, "sum_then_normalize"),
        ("reward.supervision", spec.reward.supervision, "outcome"),
    )
    for key, value, wanted in others:
        if value != wanted:
            yield Problem("presets.advantage_with", key, advantage=grpo.advantage, seen=value, wanted=wanted)


@rule("fixed")
def _fixed_keys_exist(spec: RunSpec) -> Iterator[Problem]:
    for key in spec.fixed:
        path = tuple(key.split("."))
        if len(path) < 2 or (path[0] != "trl" and field_at(path) is None):
            other, _ = meant(path)
            yield Problem("presets.fixed_unknown", "fixed", key=key, near=other)


@rule("optim.optim")
def _optimizer_exists(spec: RunSpec) -> Iterator[Problem]:
    yield from _one_of("optim.optim", spec.optim.optim, OPTIMIZERS)


@rule("optim.lr_scheduler_type")
def _scheduler_exists(spec: RunSpec) -> Iterator[Problem]:
    yield from _one_of("optim.lr_scheduler_type", spec.optim.lr_scheduler_type, SCHEDULERS)


def _one_of(key: str, value: str, known: Sequence[str]) -> Iterator[Problem]:
    if value not in known:
        close = nearest(value, known)
        fix = Message("presets.fix.type", key=key, value=shown(close[0])) if close else ""
        fix = fix or Message("presets.fix.one_of", names=", ".join(known))
        yield Problem("presets.not_of_transformers", key, seen=shown(value), fix=fix)
