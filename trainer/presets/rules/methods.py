"""Rules of `run.method`: what a method cannot do, and what it would leave out without a word."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from trainer.errors import Problem
from trainer.presets.explain import shown
from trainer.presets.rules.registry import rule
from trainer.spec import FIXED, SET_ELSEWHERE, RunSpec, training_arguments, trl_homes

_READ_HERE = ("chat_template_kwargs", "generation_kwargs")
"""Arguments of GRPOConfig that are read beside it, whatever the method: prompts and samples are made with them."""


@rule("run.method", "trl")
def _arguments_are_the_methods(spec: RunSpec) -> Iterator[Problem]:
    """Only those that every training has reach SFTConfig and DPOConfig (trainer/stages/config.py)."""
    if not spec.is_supervised:
        return
    for key in spec.trl:
        free = trl_homes().get(key) == f"trl.{key}" and key not in {*FIXED, *SET_ELSEWHERE, *_READ_HERE}
        if free and key not in training_arguments():
            yield Problem("presets.trl_of_grpo", f"trl.{key}", method=spec.run.method)


@rule("run.method", "model.fast_inference")
def _samples_are_written_by_transformers(spec: RunSpec) -> Iterator[Problem]:
    if spec.is_supervised and spec.model.fast_inference:
        yield Problem("presets.vllm_of_grpo", "model.fast_inference", method=spec.run.method)


@rule("run.method", "model.engine")
def _unsloth_is_not_tried_with_pairs(spec: RunSpec) -> Iterator[Problem]:
    if spec.run.method in ("dpo", "reward_model") and spec.model.engine == "unsloth":
        yield Problem(f"presets.{spec.run.method}_under_unsloth", "model.engine")


@rule("run.method", "model.load_in_4bit")
def _a_judge_has_whole_weights_below_it(spec: RunSpec) -> Iterator[Problem]:
    """The head is put on a model that is loaded as it is: one in 4 bits was not tried."""
    if spec.is_reward_model and spec.model.load_in_4bit:
        yield Problem("presets.reward_model_in_4bit", "model.load_in_4bit")


@rule(
    "run.method",
    "generation.steps_per_generation",
    "generation.generation_batch_size",
    "optim.per_device_train_batch_size",
    "optim.gradient_accumulation_steps",
)
def _online_rft_trains_once_on_what_was_just_written(spec: RunSpec) -> Iterator[Problem]:
    """Its formula has no ratio: of later updates of a phase the clipped ratio of GRPO would be the gradient."""
    if spec.run.method != "online_rft":
        return
    accumulation, generation = spec.optim.gradient_accumulation_steps, spec.generation
    update = spec.optim.per_device_train_batch_size * accumulation
    for key, value, most in (
        ("steps_per_generation", generation.steps_per_generation, accumulation),
        ("generation_batch_size", generation.generation_batch_size, update),
    ):
        if value is not None and value > most:
            yield Problem("presets.online_rft_off_policy", f"generation.{key}", seen=value, most=most)


@rule(
    "run.method",
    "sampling.replay",
    "sampling.max_rounds",
    "sampling.skip_dead",
    "sampling.group_size",
    "reward.supervision",
)
def _online_rft_has_no_baseline(spec: RunSpec) -> Iterator[Problem]:
    """What looks for spread, replays advantages or gives steps their own means nothing to a coefficient of 1 or 0."""
    if spec.run.method != "online_rft":
        return
    plain: tuple[tuple[str, Any, Any], ...] = (
        ("sampling.replay", spec.sampling.replay, 0),
        ("sampling.max_rounds", spec.sampling.max_rounds, 1),
        ("sampling.skip_dead", spec.sampling.skip_dead, False),
        ("sampling.group_size", spec.sampling.group_size, "fixed"),
        ("reward.supervision", spec.reward.supervision, "outcome"),
    )
    for key, value, without in plain:
        if value != without:
            yield Problem("presets.not_with_online_rft", key, seen=shown(value), plain=_typed(without))


def _typed(value: Any) -> str:
    """As it is written after --set."""
    return str(value).lower() if isinstance(value, bool) else str(value)
