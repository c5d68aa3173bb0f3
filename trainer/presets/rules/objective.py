"""Rules of generation, objective and optimizer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from trainer.errors import Problem
from trainer.presets.explain import nearest, shown
from trainer.presets.rules.registry import rule
from trainer.spec import RunSpec
from trainer.spec.choices import OPTIMIZERS, SCHEDULERS


@rule("generation.steps_per_generation", "generation.generation_batch_size")
def _one_size_of_generation_batch(spec: RunSpec) -> Iterator[Problem]:
    steps, size = spec.generation.steps_per_generation, spec.generation.generation_batch_size
    if steps is not None and size is not None:
        what = f"steps_per_generation is {steps} and generation_batch_size is {size}: only one of them"
        yield Problem.plain("generation", what, "leave generation.generation_batch_size out")


@rule("grpo.epsilon", "grpo.epsilon_high")
def _upper_clip_is_not_below_the_lower(spec: RunSpec) -> Iterator[Problem]:
    low, high = spec.grpo.epsilon, spec.grpo.epsilon_high
    if high is not None and high < low:
        fix = f"grpo.epsilon_high = {low:g} or more"
        yield Problem.plain("grpo.epsilon_high", f"is {high:g}, below grpo.epsilon = {low:g}", fix)


@rule("grpo.delta", "grpo.epsilon", "grpo.epsilon_high")
def _cap_is_above_the_clip(spec: RunSpec) -> Iterator[Problem]:
    upper = spec.grpo.epsilon if spec.grpo.epsilon_high is None else spec.grpo.epsilon_high
    if spec.grpo.delta is not None and spec.grpo.delta <= 1 + upper:
        what = f"is {spec.grpo.delta:g}, must be above 1 + the upper clip = {1 + upper:g}"
        yield Problem.plain("grpo.delta", what, "leave grpo.delta out, or grpo.delta = 4")


@rule("optim.optim")
def _optimizer_exists(spec: RunSpec) -> Iterator[Problem]:
    yield from _one_of("optim.optim", spec.optim.optim, OPTIMIZERS)


@rule("optim.lr_scheduler_type")
def _scheduler_exists(spec: RunSpec) -> Iterator[Problem]:
    yield from _one_of("optim.lr_scheduler_type", spec.optim.lr_scheduler_type, SCHEDULERS)


def _one_of(key: str, value: str, known: Sequence[str]) -> Iterator[Problem]:
    if value not in known:
        close = nearest(value, known)
        fix = f"{key} = {shown(close[0])}" if close else "one of " + ", ".join(known)
        yield Problem.plain(key, f"is {shown(value)}, which transformers does not have", fix)
