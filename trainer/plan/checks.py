"""What the plan says beside its numbers: impossible combinations with their fixes, and notes.

Pure functions. Imports spec and batches; knows nothing about models, devices or files.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Literal

from trainer.errors import Problem
from trainer.plan.batches import (
    KEYS,
    Batch,
    groups_are_whole,
    in_words,
    nearest_possible,
    phases_and_updates_align,
    rows_fill_a_phase,
    size_fits_devices,
    steps_are_whole_phases,
    whole_phases,
)
from trainer.spec import RunSpec

Verdict = Literal["fits", "tight", "does not fit", ""]

# Share of the limit above which an estimate that fits is called tight: activations may be 30 % off.
TIGHT_FRAC = 0.9


# ---- what is impossible


def batch_problems(batch: Batch) -> Iterator[Problem]:
    """At most one problem: each one changes what the next would say, and every fix mends them "
    "all."""
    if batch.rows == 0:
        yield Problem.plain(
            "data",
            "has no training rows",
            "check data.path, data.max_rows and data.max_prompt_length",
        )
        return
    problem = _first_problem(batch)
    if problem is None:
        return
    where, what = problem
    fix = ", or ".join(in_words(change) for change in nearest_possible(batch))
    yield Problem.plain(where, what, fix or f"at least {_rows_needed(batch)} rows")


def _first_problem(batch: Batch) -> tuple[str, str] | None:
    size, group = batch.completions_per_phase, batch.group
    factors = f"{batch.micro} x {batch.devices} device(s)"
    if not size_fits_devices(batch):
        what = f"is {size}: not a whole number of micro-batches ({KEYS['micro']} {factors})"
        return KEYS["size"], what
    if not groups_are_whole(batch):
        made = "" if batch.size else f" = {factors} x {batch.steps_per_generation} steps_per_generation"
        what = f"a rollout phase has {size} completions{made}: not a whole number of groups of {group}"
        return KEYS["group"], what
    if not phases_and_updates_align(batch):
        what = (
            f"is {batch.accumulation} micro-batches, and a rollout phase has "
            f"{batch.micro_steps_per_phase} "
            f"(steps_per_generation {batch.steps_per_generation} x num_iterations "
            f"{batch.iterations}): one must "
            "divide the other, or completions would be generated inside an optimizer step and no "
            "checkpoint "
            "could be taken between phases"
        )
        return KEYS["accumulation"], what
    if not rows_fill_a_phase(batch):
        what = (
            f"{batch.rows} rows are fewer than the {batch.prompts_per_phase} prompts of one "
            "rollout phase "
            f"({size} completions / {group} per prompt): not one step could be taken"
        )
        return "data", what
    if not steps_are_whole_phases(batch):
        low_high = " or ".join(str(steps) for steps in whole_phases(batch))
        what = (
            f"is {batch.max_steps}: not a whole number of rollout phases of "
            f"{batch.updates_per_phase} steps ({low_high} would be)"
        )
        return KEYS["max_steps"], what
    return None


def _rows_needed(batch: Batch) -> int:
    return math.lcm(batch.devices, batch.group) // batch.group


def length_problems(spec: RunSpec) -> Iterator[Problem]:
    prompt, completion = spec.data.max_prompt_length, spec.generation.max_completion_length
    context = spec.model.max_seq_length
    if context is None or context >= prompt + completion:
        return
    what = f"is {context} tokens: max_prompt_length {prompt} + max_completion_length {completion} do not fit"
    yield Problem.plain("model.max_seq_length", what, ", or ".join(in_words(change) for change in length_changes(spec)))


def length_changes(spec: RunSpec) -> list[dict[str, int]]:
    """{key: value to type}, each a way to make prompt and completion fit into model.max_seq_length; [] when they do."""
    prompt, completion = spec.data.max_prompt_length, spec.generation.max_completion_length
    context = spec.model.max_seq_length
    if context is None or context >= prompt + completion:
        return []
    found = [{"model.max_seq_length": prompt + completion}]
    if context > prompt:
        found.append({"generation.max_completion_length": context - prompt})
    if context > completion:
        found.append({"data.max_prompt_length": context - completion})
    return found


# ---- memory


def fit_verdict(total_gib: float | None, limit_gib: float | None, starts: bool = True) -> Verdict:
    """`fits`, `tight`, `does not fit`, or "" when either number is missing. `starts`: vLLM's share is large enough."""
    if total_gib is None or limit_gib is None:
        return ""
    if total_gib > limit_gib or not starts:
        return "does not fit"
    return "tight" if total_gib > TIGHT_FRAC * limit_gib else "fits"


def memory_note(total_gib: float, limit_gib: float, smallest_gib: float, where: str) -> str:
    """What is left to say when no change of settings makes the run fit. `where`: GPU or RAM."""
    has = f"the GPU's {gib(limit_gib)}" if where == "GPU" else f"this machine's {gib(limit_gib)} of RAM"
    return (
        f"The estimate of {gib(total_gib)} is more than {has}, and no change of settings makes it fit with as "
        "many prompts in an optimizer step: with all of them together it still comes to "
        f"{gib(smallest_gib)}. {_needed(total_gib, smallest_gib, where)}"
    )


def _needed(total_gib: float, smallest_gib: float, where: str) -> str:
    if where == "RAM":
        return f"It takes {gib(smallest_gib)} of RAM at least, or a machine with a GPU."
    return f"It takes a GPU of more than {gib(smallest_gib)}, or of {gib(total_gib)} with the settings as they are."


def gib(value: float, digits: int = 1) -> str:
    """`23.5 GiB`; from a thousand on `29,675 GiB`."""
    return f"{value:,.0f} GiB" if value >= 1000 else f"{value:.{digits}f} GiB"


# ---- notes


def notes(spec: RunSpec, batch: Batch, steps: int | None, save_steps: int) -> Iterator[str]:
    if steps is None:
        yield "Optimizer steps are known once the data is read: optim.max_steps is not set."
    yield from _row_notes(spec, batch)
    yield from _policy_notes(spec, batch)
    if batch.max_steps is None and steps is not None and batch.updates_per_epoch is not None:
        asked = math.ceil(spec.optim.num_train_epochs * batch.updates_per_epoch)
        if asked != steps:
            yield (
                f"optim.num_train_epochs = {spec.optim.num_train_epochs:g} is {asked} optimizer "
                "steps; raised to "
                f"{steps}, whole rollout phases of {batch.updates_per_phase}."
            )
    if save_steps != spec.checkpoint.save_steps:
        yield (
            f"checkpoint.save_steps raised from {spec.checkpoint.save_steps} to {save_steps}: a "
            "checkpoint lies "
            f"between two rollout phases of {batch.updates_per_phase} optimizer steps."
        )
    if steps is not None and save_steps > steps:
        yield (
            f"checkpoint.save_steps = {save_steps} is more than {steps} steps: only the final checkpoint is written."
        )


def _row_notes(spec: RunSpec, batch: Batch) -> Iterator[str]:
    unused = batch.rows % batch.prompts_per_phase if batch.rows is not None else 0
    if unused:
        which = "others each time" if spec.data.shuffle_dataset else "always the last ones"
        yield (
            f"{unused:,} of {batch.rows:,} rows are left out of each epoch, {which}: they do not "
            "fill a rollout "
            f"phase of {batch.prompts_per_phase:,} prompts."
        )
    if batch.completions_per_update == batch.group:
        yield (
            f"One prompt per optimizer step: whenever its {batch.group} completions are paid the "
            "same, that step "
            "learns nothing."
        )


def _policy_notes(spec: RunSpec, batch: Batch) -> Iterator[str]:
    updates = batch.updates_per_phase
    if updates > 1:
        yield (
            f"{updates} optimizer steps are taken on each rollout phase: all but the first train "
            "on completions of "
            "an older policy, which the clip holds in check."
        )
    elif batch.iterations > 1:
        yield (
            f"grpo.num_iterations = {batch.iterations} falls within one optimizer step: the same "
            "gradient is "
            "computed again. More optim.gradient_accumulation_steps than the phase needs; lower it."
        )
    if updates == 1 and spec.grpo.importance_sampling_level == "sequence":
        yield (
            "One optimizer step per rollout phase: every ratio is 1, and sequence level has the "
            "same gradient as "
            "token level. GSPO takes several (raise generation.steps_per_generation)."
        )
    if batch.phases_per_update > 1:
        yield (
            f"An optimizer step takes {batch.phases_per_update} rollout phases; the last one of "
            "an epoch may take "
            "fewer."
        )


def next_whole(value: int, unit: int) -> int:
    return -(-value // unit) * unit
