"""What [sampling] will do in a run, as far as its spec and the number of rows say before it starts.

    of(spec, batch, steps)      a sentence each, for the card and for Train
    notes(spec, batch, steps)   what will not come to what was meant

What depends on the rewards (how many rounds a phase takes, when a level has passed) is said as the most it can be.
Pure functions.
"""

from __future__ import annotations

from collections.abc import Iterator

from trainer.plan.batches import Batch
from trainer.spec import RunSpec
from trainer.text import Message


def of(spec: RunSpec, batch: Batch, steps: int | None, phases: int | None) -> list[Message]:
    """steps, phases: optimizer steps and rollout phases of the run, None until the rows are known."""
    return [
        *_curriculum(spec, batch, steps),
        *_rounds(spec, batch, phases),
        *_replay(spec),
        *_skipping(spec, batch),
        *_sizes(spec, batch),
    ]


def _curriculum(spec: RunSpec, batch: Batch, steps: int | None) -> Iterator[Message]:
    chosen = spec.sampling
    if chosen.curriculum == "off":
        return
    if chosen.curriculum == "column":
        yield Message("plan.sampling.levels_column", column=chosen.difficulty, levels=chosen.levels)
    elif not chosen.measures:
        yield Message("plan.sampling.levels_learnt", levels=chosen.levels)
    elif batch.rows is None:
        yield Message("plan.sampling.levels_measured", levels=chosen.levels, each=chosen.measure)
    else:
        count = measured(spec, batch)
        tokens = count * spec.generation.max_completion_length
        values = {"levels": chosen.levels, "each": chosen.measure, "rows": batch.rows, "count": count, "tokens": tokens}
        yield Message("plan.sampling.levels_measured_rows", **values)
    yield _pace(spec, steps)


def _pace(spec: RunSpec, steps: int | None) -> Message:
    chosen = spec.sampling
    if chosen.pace == "success":
        return Message("plan.sampling.pace_success", bound=chosen.pass_bound, mix=chosen.mix)
    if chosen.level_steps is None and steps is None:
        return Message("plan.sampling.pace_half", mix=chosen.mix)
    each = chosen.level_steps or max(1, (steps or 0) // (2 * chosen.levels))
    return Message("plan.sampling.pace_steps", steps=each, mix=chosen.mix)


def _rounds(spec: RunSpec, batch: Batch, phases: int | None) -> Iterator[Message]:
    rounds, size = spec.sampling.max_rounds, batch.completions_per_phase
    if rounds == 1:
        return
    each = spec.generation.max_completion_length
    values = {"rounds": rounds, "size": size, "most": rounds * size, "tokens": rounds * size * each}
    if phases is None:
        yield Message("plan.sampling.rounds", **values)
    else:
        most = rounds * size * phases
        yield Message("plan.sampling.rounds_run", **values, all=most, all_tokens=most * each)


def _replay(spec: RunSpec) -> Iterator[Message]:
    if spec.sampling.replay:
        yield Message("plan.sampling.replay", groups=spec.sampling.replay, steps=spec.sampling.replay_steps)


def _skipping(spec: RunSpec, batch: Batch) -> Iterator[Message]:
    if not spec.sampling.skip_dead:
        return
    in_turn = spec.sampling.curriculum == "off" and spec.sampling.max_rounds == 1
    if batch.rows is None or not in_turn:  # rows come again earlier than after a pass over all of them
        yield Message("plan.sampling.skip")
        return
    passed = batch.rows // batch.prompts_per_phase
    step = passed * batch.updates_per_phase // batch.phases_per_update + 1
    yield Message("plan.sampling.skip_from", step=step)


def _sizes(spec: RunSpec, batch: Batch) -> Iterator[Message]:
    chosen = spec.sampling
    if chosen.group_size == "fixed":
        return
    values = {"least": chosen.min_generations, "most": chosen.most(batch.group), "mean": batch.group}
    if chosen.group_size == "threshold":
        yield Message("plan.sampling.sizes_threshold", **values, bound=chosen.spread_threshold)
    else:
        yield Message("plan.sampling.sizes_spread", **values)


def measured(spec: RunSpec, batch: Batch) -> int:
    """Completions that are written before step 1 to measure pass rates; 0 where none are or the rows are not known."""
    return spec.sampling.measure * (batch.rows or 0) if spec.sampling.measures else 0


def notes(spec: RunSpec, batch: Batch, phases: int | None) -> Iterator[Message]:
    chosen = spec.sampling
    if chosen.replay and chosen.replay_steps < batch.updates_per_phase:
        yield Message("plan.note.replay_forgets", steps=chosen.replay_steps, updates=batch.updates_per_phase)
    if phases is None or batch.rows is None:
        return
    most = phases * batch.prompts_per_phase * chosen.max_rounds  # prompts that can be drawn
    if chosen.skip_dead and chosen.curriculum == "off" and most <= batch.rows:
        yield Message("plan.note.nothing_to_skip", rows=batch.rows, prompts=most)
    if chosen.curriculum == "pass_rate" and not chosen.measures and most < batch.rows:
        yield Message("plan.note.levels_never_learnt", rows=batch.rows, prompts=most, each=4)
