"""Legal batches that need less memory than a legal one: smaller passes, smaller rollout phases, smaller groups.

Counted in completions on one device, where the arithmetic is independent of the micro-batch:

    U = micro x accumulation, an optimizer step      R = micro x steps_per_generation, a rollout phase

    R x num_iterations divides U, or U divides it; R x devices holds whole groups. Every micro-batch
    that divides both U and R makes them; 1 always does.

Pure functions on integers. Imports batches and the standard library only.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import replace

from trainer.plan.batches import Batch, is_possible

TRIALS = 10_000  # factors tried: what is left of a number without smaller ones counts as one factor
MANY = 32  # sizes looked at one by one; of more than that, every second, third ... and the last


def passes(batch: Batch) -> Iterator[Batch]:
    """The same optimizer step and rollout phase in smaller micro-batches, the largest first."""
    update, phase = _sizes(batch)
    for micro in _thinned([each for each in divisors(math.gcd(update, phase)) if each < batch.micro]):
        yield _made(batch, update, phase, micro)


def phases(batch: Batch) -> Iterator[Batch]:
    """The same optimizer step from smaller rollout phases, the largest first, in passes that are not larger."""
    update, phase = _sizes(batch)
    for size in _thinned([each for each in _legal_phases(batch, batch.group, update) if each < phase]):
        yield _made(batch, update, size, _micro(batch, update, size))


def groups(batch: Batch, *, whole_phase: bool) -> Iterator[Batch]:
    """Smaller groups, the largest first: an update and a phase have as many prompts, where that is a whole number.

    `whole_phase`: not those where a phase would have another number of prompts.
    """
    update, phase = _sizes(batch)
    for group in divisors(batch.group):
        if not 2 <= group < batch.group:
            continue
        factor = batch.group // group
        fewer = update // factor if update % factor == 0 else update
        legal = [each for each in _legal_phases(batch, group, fewer) if each <= phase]
        size = next((each for each in legal if each * factor <= phase), legal[-1] if legal else None)
        if size is not None and (size * factor == phase or not whole_phase):
            yield replace(_made(batch, fewer, size, _micro(batch, fewer, size)), group=group)


def divisors(number: int) -> list[int]:
    """Largest first."""
    found, left, factor = [1], number, 2
    while factor * factor <= left and factor < TRIALS:
        powers = [1]
        while left % factor == 0:
            left //= factor
            powers.append(powers[-1] * factor)
        found = [each * power for each in found for power in powers]
        factor += 1
    if left > 1:
        found += [each * left for each in found]
    return sorted(found, reverse=True)


def _sizes(batch: Batch) -> tuple[int, int]:
    """(an optimizer step, a rollout phase) in completions on one device."""
    return batch.micro * batch.accumulation, batch.micro * batch.steps_per_generation


def _legal_phases(batch: Batch, group: int, update: int) -> list[int]:
    """Sizes of a rollout phase with this group and this optimizer step, up to the present size, largest first."""
    present_update, present = _sizes(batch)
    passes_of_a_phase = batch.iterations
    found = set(divisors(update // passes_of_a_phase)) if update % passes_of_a_phase == 0 else set()
    step = math.lcm(update // math.gcd(update, passes_of_a_phase), group // math.gcd(group, batch.devices))
    found |= {times * step for times in _multiples(present // step)}
    # A phase smaller than the step is passed within it: its gradient would be repeated, not followed by another.
    repeats = passes_of_a_phase == 1 or present < present_update
    sizes = sorted((size for size in found if size <= present and (repeats or size >= update)), reverse=True)
    grouped = replace(batch, group=group)
    return [size for size in sizes if is_possible(_made(grouped, update, size, 1))]


def _multiples(most: int) -> Iterator[int]:
    """All of them up to MANY, above it halves of the most: the smallest is legal where any is."""
    while most > MANY:
        yield most
        most //= 2
    yield from range(1, most + 1)


def _micro(batch: Batch, update: int, phase: int) -> int:
    """The largest micro-batch that makes both and is not larger than the present one."""
    return next(each for each in divisors(math.gcd(update, phase)) if each <= batch.micro)


def _made(batch: Batch, update: int, phase: int, micro: int) -> Batch:
    """The batch of these sizes, by the key that was used: `size`, `steps`, or neither where it needs neither."""
    size = None if batch.size is None else phase * batch.devices
    needs_steps = size is None and (batch.steps is not None or phase != update)
    steps = phase // micro if needs_steps else None
    return replace(batch, micro=micro, accumulation=update // micro, size=size, steps=steps)


def _thinned(sizes: list[int]) -> Iterable[int]:
    every = -(-len(sizes) // MANY) or 1
    return dict.fromkeys([*sizes[::every], *sizes[-1:]])
