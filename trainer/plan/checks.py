"""What the plan says beside its numbers: impossible combinations with their fixes, and notes.

Pure functions. Imports spec, batches, text and the shapes of known models; knows nothing about devices or files.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, Literal

from trainer.errors import Problem
from trainer.memory import known
from trainer.plan.batches import (
    KEYS,
    Batch,
    groups_are_whole,
    nearest_possible,
    phases_and_updates_align,
    rows_fill_a_phase,
    size_fits_devices,
    steps_are_whole_phases,
    typed,
    whole_phases,
)
from trainer.spec import RunSpec
from trainer.text import Message
from trainer.text.chain import Part, chain

Verdict = Literal["fits", "tight", "does not fit", ""]

# Share of the limit above which an estimate that fits is called tight: activations may be 30 % off.
TIGHT_FRAC = 0.9


# ---- what is impossible


def batch_problems(batch: Batch) -> Iterator[Problem]:
    """At most one problem: each one changes what the next would say, and every fix is for all of them."""
    if batch.rows == 0:
        yield Problem("plan.no_rows", "data")
    elif (found := _first_problem(batch)) is not None:
        key, place, values = found
        yield Problem(key, place, **values, fix=_fix(batch))


def _fix(batch: Batch) -> Part:
    possible = nearest_possible(batch)
    if possible:
        return chain("presets.fix.or", [typed(change) for change in possible])
    return Message("presets.fix.rows_at_least", count=_rows_needed(batch))


def _first_problem(batch: Batch) -> tuple[str, str, dict[str, Any]] | None:
    """(key of the problem, the setting, what its words need)."""
    size, group = batch.completions_per_phase, batch.group
    sizes: dict[str, Any] = {"size": size, "micro": batch.micro, "devices": batch.devices}
    if not size_fits_devices(batch):
        return "plan.size_of_no_micro_batches", KEYS["size"], sizes
    if not groups_are_whole(batch):
        if batch.size:
            return "plan.groups_not_whole", KEYS["group"], {"size": size, "group": group}
        steps = batch.steps_per_generation
        return "plan.groups_not_whole_of", KEYS["group"], {**sizes, "steps": steps, "group": group}
    if not phases_and_updates_align(batch):
        factors = {"steps": batch.steps_per_generation, "iterations": batch.iterations}
        counts = {"accumulation": batch.accumulation, "micro_steps": batch.micro_steps_per_phase}
        return "plan.phases_and_updates", KEYS["accumulation"], {**factors, **counts}
    if not rows_fill_a_phase(batch):
        return "plan.too_few_rows", "data", {
            "rows": batch.rows, "prompts": batch.prompts_per_phase, "size": size, "group": group,
        }  # fmt: skip
    if not steps_are_whole_phases(batch):
        whole = {"each": batch.updates_per_phase, "near": whole_phases(batch)}
        return "plan.steps_not_whole", KEYS["max_steps"], {"steps": batch.max_steps, **whole}
    return None


def _rows_needed(batch: Batch) -> int:
    return math.lcm(batch.devices, batch.group) // batch.group


def plan_problems(spec: RunSpec, batch: Batch) -> Iterator[Problem]:
    """The implementations of a plan are written by one process."""
    ways, rows = spec.episode.implementations, batch.completions_per_phase // batch.devices
    if spec.episode.has_plans and ways is not None and rows % ways:
        place, values = KEYS["micro"], {"rows": rows, "ways": ways}
        yield Problem("plan.plans_across_devices", place, **values, fix=typed({place: math.lcm(batch.micro, ways)}))


def length_problems(spec: RunSpec) -> Iterator[Problem]:
    prompt, completion = spec.data.max_prompt_length, spec.generation.max_completion_length
    context = spec.model.max_seq_length
    if context is None or context >= prompt + completion:
        return
    fix = chain("presets.fix.or", [typed(change) for change in length_changes(spec)])
    values = {"context": context, "prompt": prompt, "completion": completion}
    yield Problem("plan.too_long", "model.max_seq_length", **values, fix=fix)


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


def memory_note(total_gib: float, limit_gib: float, smallest_gib: float, where: str) -> Message:
    """What is left to say when no change of settings makes the run fit. `where`: GPU or RAM."""
    key = "plan.note.too_large_for_ram" if where == "RAM" else "plan.note.too_large_for_gpu"
    return Message(key, need=gib(total_gib), has=gib(limit_gib), least=gib(smallest_gib))


def gib(value: float, digits: int = 1) -> str:
    """`23.5 GiB`; from a thousand on `29,675 GiB`."""
    return f"{value:,.0f} GiB" if value >= 1000 else f"{value:.{digits}f} GiB"


# ---- notes


def notes(spec: RunSpec, batch: Batch, steps: int | None, save_steps: int) -> Iterator[Message]:
    each = batch.updates_per_phase
    if steps is None:
        yield Message("plan.note.steps_after_samples" if spec.samples_first else "plan.note.steps_unknown")
    yield from _row_notes(spec, batch)
    yield from _policy_notes(spec, batch)
    if batch.max_steps is None and steps is not None and batch.updates_per_epoch is not None:
        asked = math.ceil(spec.optim.num_train_epochs * batch.updates_per_epoch)
        if asked != steps:
            epochs = f"{spec.optim.num_train_epochs:g}"
            yield Message("plan.note.steps_raised", epochs=epochs, asked=asked, steps=steps, each=each)
    if save_steps != spec.checkpoint.save_steps:
        yield Message("plan.note.save_steps_raised", asked=spec.checkpoint.save_steps, steps=save_steps, each=each)
    if steps is not None and save_steps > steps:
        yield Message("plan.note.one_checkpoint", every=save_steps, steps=steps)


def reference_notes(spec: RunSpec, batch: Batch, steps: int | None, moves: int | None) -> Iterator[Message]:
    """moves: optimizer steps after which the reference becomes the policy."""
    if moves is None:
        return
    asked = spec.grpo.ref_update_steps
    if moves != asked:
        values = {"asked": asked, "steps": moves, "each": batch.updates_per_phase}
        yield Message("plan.note.ref_update_steps_raised", **values)
    if steps is not None and moves >= steps:
        yield Message("plan.note.reference_never_moves", every=moves, steps=steps)


def learns_every(spec: RunSpec) -> int | None:
    """Optimizer steps between two rounds of the reward model, as asked for; None where none learns."""
    learning = spec.reward.learning
    return None if learning is None else learning.every_steps or spec.grpo.ref_update_steps


def learning_notes(spec: RunSpec, batch: Batch, steps: int | None, every: int | None) -> Iterator[Message]:
    """every: optimizer steps between two rounds of the reward model."""
    learner = spec.reward.learner
    if every is None or spec.reward.learning is None or learner is None:
        return
    asked = spec.reward.learning.every_steps
    if asked is not None and asked != every:
        values = {"asked": asked, "steps": every, "each": batch.updates_per_phase}
        yield Message("plan.note.learning_raised", **values)
    if steps is not None and every > steps:
        yield Message("plan.note.reward_model_never_learns", every=every, steps=steps)
    name = str(learner.params.get("model"))
    if known.of(name) is None:
        yield Message("plan.note.reward_model_not_counted", name=name)


def _row_notes(spec: RunSpec, batch: Batch) -> Iterator[Message]:
    unused = batch.rows % batch.prompts_per_phase if batch.rows is not None and not batch.partly else 0
    if unused and not spec.sampling.is_on:  # a sampler goes on in the next pass where one ends
        key = "plan.note.rows_unused_others" if spec.data.shuffle_dataset else "plan.note.rows_unused_last"
        yield Message(key, unused=unused, rows=batch.rows, prompts=batch.prompts_per_phase)
    if batch.completions_per_update == batch.group and not batch.partly:
        yield Message("plan.note.one_prompt", group=batch.group)
    if spec.eval.eval_steps is not None and not spec.data.has_held_out_rows:
        yield Message("plan.note.eval_without_rows", steps=spec.eval.eval_steps)


def _policy_notes(spec: RunSpec, batch: Batch) -> Iterator[Message]:
    updates = batch.updates_per_phase
    if updates > 1:
        yield Message("plan.note.off_policy", updates=updates)
    elif batch.iterations > 1:
        yield Message("plan.note.same_gradient_again", iterations=batch.iterations)
    if updates == 1 and spec.grpo.importance_sampling_level == "sequence" and not spec.sampling.replay:
        yield Message("plan.note.gspo_of_one_step")
    if batch.phases_per_update > 1:
        yield Message("plan.note.phases_per_update", phases=batch.phases_per_update)


def next_whole(value: int, unit: int) -> int:
    return -(-value // unit) * unit
