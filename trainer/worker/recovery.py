"""After a step ran out of GPU memory: the same optimizer step in smaller pieces.

The micro-batch is halved and the accumulation doubled, so that an update still sees the same completions, and the
generation batch is written in twice as many parts. How often that has happened is counted in the event log, so a run
that is resumed later starts where it fitted.

Torch-free; knows nothing about processes or events.
"""

from __future__ import annotations

from typing import NamedTuple

from trainer.spec import RunSpec
from trainer.text import Message

MOST_RETRIES = 4
GENERATE = "transformers.generate"
# Spans of a step (trainer/grpo/spans.py) whose memory grows with the micro-batch. The optimizer's does not, and vLLM,
# reward models and everything before the first step have memory of their own.
BY_MICRO_BATCH = frozenset({"_get_per_token_logps_and_entropies", "compute_loss", "backward"})


class Smaller(NamedTuple):
    """What a run does after `times` failures: its spec, and in how many parts it generates."""

    spec: RunSpec
    pieces: int


def smaller(spec: RunSpec, times: int) -> Smaller:
    """The spec after `times` halvings: per_device_train_batch_size x gradient_accumulation_steps stays the same.

    An odd micro-batch is divided by its smallest divisor; where the loss depends on the micro-batch (`same_step`) it
    stays. generation_batch_size stays, steps_per_generation grows with the accumulation: the generation batch holds the
    same completions.
    """
    optim, generation = spec.optim, spec.generation
    micro = optim.per_device_train_batch_size
    for _ in range(times if same_step(spec) else 0):
        micro //= _smallest_divisor(micro)
    factor = optim.per_device_train_batch_size // micro
    steps = generation.steps_per_generation
    return Smaller(
        spec.model_copy(
            update={
                "optim": optim.model_copy(
                    update={
                        "per_device_train_batch_size": micro,
                        "gradient_accumulation_steps": optim.gradient_accumulation_steps * factor,
                    }
                ),
                "generation": generation.model_copy(
                    update={"steps_per_generation": steps * factor if steps is not None else None}
                ),
            }
        ),
        pieces=2**times,
    )


def same_step(spec: RunSpec) -> bool:
    """Is an optimizer step the same whatever the micro-batch? Not where the loss holds a mean over the micro-batch."""
    trl = spec.trl
    whole = not trl.get("entropy_coef") and not trl.get("use_adaptive_entropy")
    return whole and spec.grpo.loss_type != "bnpo" and trl.get("top_entropy_quantile", 1.0) == 1.0


def helps(spec: RunSpec, times: int, where: str | None, generation_rows: int) -> bool:
    """Would one more halving make the part of a step called `where` smaller? None is no part of a step."""
    if times >= MOST_RETRIES:
        return False
    now = smaller(spec, times)
    if where == GENERATE:
        return now.pieces < generation_rows
    micro = now.spec.optim.per_device_train_batch_size
    return where in BY_MICRO_BATCH and micro > 1 and same_step(spec)


def in_words(spec: RunSpec, times: int) -> Message:
    """The batch after `times` halvings, and what to type for a new run that starts with it."""
    now = smaller(spec, times)
    micro, accumulation = now.spec.optim.per_device_train_batch_size, now.spec.optim.gradient_accumulation_steps
    values = {"micro": micro, "accumulation": accumulation, "parts": now.pieces}
    if micro == spec.optim.per_device_train_batch_size:
        return Message("worker.pieces", **values)
    typed = f"--set optim.per_device_train_batch_size={micro} --set optim.gradient_accumulation_steps={accumulation}"
    if steps := now.spec.generation.steps_per_generation:
        typed += f" --set generation.steps_per_generation={steps}"
    return Message("worker.pieces_typed", **values, typed=typed)


def advice(where: str | None, spec: RunSpec) -> Message:
    """What to change in a new run when smaller pieces do not help: only what this run does not do already."""
    if where is not None and where.startswith("reward."):
        return Message("worker.advice_reward")
    if where == "reward_learning":
        component = spec.reward.learning.component if spec.reward.learning is not None else ""
        return Message("worker.advice_reward_learning", component=component)
    ways: list[str | Message] = [_smaller("model.name")] if where is None else []
    if where == GENERATE:
        ways += [_smaller("generation.max_completion_length", "num_generations", "steps_per_generation")]
    elif where == "optimizer":
        ways += ['optim.optim = "adamw_8bit"'] if "8bit" not in spec.optim.optim else []
        fewer = Message("worker.fewer", key="lora.target_modules")
        ways += [_smaller("lora.r"), fewer] if spec.lora.enabled else ["lora.enabled = true"]
    elif where is not None:
        ways += [_smaller("generation.max_completion_length", "data.max_prompt_length")]
        ways += ["model.gradient_checkpointing = true"] if not spec.model.gradient_checkpointing else []
        ways += [_smaller("optim.per_device_train_batch_size")] if not same_step(spec) else []
    if where in (None, *BY_MICRO_BATCH) and not spec.model.load_in_4bit:
        four_bit = "model.load_in_4bit = true"
        both = Message("worker.together", first=four_bit, second="lora.enabled = true")
        ways += [four_bit if spec.lora.enabled else both]
    return Message("worker.advice", ways=ways)


def _smaller(*keys: str) -> Message:
    return Message("worker.smaller", keys=list(keys))


def _smallest_divisor(number: int) -> int:
    return next((divisor for divisor in range(2, number + 1) if number % divisor == 0), 1)
