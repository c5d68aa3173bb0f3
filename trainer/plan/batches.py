"""The arithmetic of a GRPO batch, and the nearest legal combinations for an impossible one.

Words and facts of TRL 1.14.2 (grpo_config.py `__post_init__`, `_get_train_sampler`,
`_prepare_inputs`, `RepeatSampler`) and of transformers 5.17 (`Trainer._run_epoch`):

    B  per_device_train_batch_size, completions        S  steps_per_generation, micro-batches
    A  gradient_accumulation_steps, micro-batches      n  num_iterations
    G  num_generations                                 D  world_size, devices

    rollout phase = B * S * D completions, generated at once = that / G prompts; the sampler drops
    what does not fill a phase. Its S micro-batches are passed n times; every A micro-steps are one
    optimizer step.

A phase must hold whole optimizer steps, or an optimizer step whole phases: otherwise completions
would be generated inside an optimizer step, and no checkpoint could ever lie between two phases.

Pure functions on integers. Imports the standard library and text only.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

from trainer.text.chain import Part, chain

KEYS = {
    "micro": "optim.per_device_train_batch_size",
    "accumulation": "optim.gradient_accumulation_steps",
    "steps": "generation.steps_per_generation",
    "size": "generation.generation_batch_size",
    "iterations": "grpo.num_iterations",
    "group": "generation.num_generations",
    "max_steps": "optim.max_steps",
}
SEARCH = 2048  # values looked at one by one on each side
MAX_GROUP = 1024  # the bound of generation.num_generations


@dataclass(frozen=True)
class Batch:
    """The numbers that decide the arithmetic. At most one of `steps` and `size` is given."""

    micro: int
    accumulation: int
    group: int
    iterations: int = 1
    devices: int = 1
    steps: int | None = None
    size: int | None = None
    max_steps: int | None = None
    rows: int | None = None
    """Training rows; None when they are not known yet."""

    @property
    def partly(self) -> bool:
        """The last update of an epoch may have fewer rows: supervised training, which has no groups to keep whole."""
        return self.group == 1

    @property
    def completions_per_phase(self) -> int:
        if self.size is not None:
            return self.size
        return self.micro * self.devices * (self.accumulation if self.steps is None else self.steps)

    @property
    def steps_per_generation(self) -> int:
        if self.size is not None:
            return self.size // (self.micro * self.devices)
        return self.accumulation if self.steps is None else self.steps

    @property
    def micro_steps_per_phase(self) -> int:
        return self.steps_per_generation * self.iterations

    @property
    def completions_per_update(self) -> int:
        return self.micro * self.accumulation * self.devices

    @property
    def prompts_per_phase(self) -> int:
        return self.completions_per_phase // self.group

    @property
    def updates_per_phase(self) -> int:
        """Optimizer steps in a rollout phase; 1 also where a step takes several phases."""
        return max(1, self.micro_steps_per_phase // self.accumulation)

    @property
    def phases_per_update(self) -> int:
        """Rollout phases in an optimizer step; 1 also where a phase holds several steps."""
        return max(1, self.accumulation // self.micro_steps_per_phase)

    @property
    def phases_per_epoch(self) -> int | None:
        if self.rows is None:
            return None
        return math.ceil(self.rows / self.prompts_per_phase) if self.partly else self.rows // self.prompts_per_phase

    @property
    def updates_per_epoch(self) -> int | None:
        phases = self.phases_per_epoch
        return None if phases is None else math.ceil(phases * self.micro_steps_per_phase / self.accumulation)


def size_fits_devices(batch: Batch) -> bool:
    """generation_batch_size is a whole number of micro-batches on every device."""
    return batch.size is None or (batch.size % (batch.micro * batch.devices) == 0)


def groups_are_whole(batch: Batch) -> bool:
    return batch.completions_per_phase % batch.group == 0


def phases_and_updates_align(batch: Batch) -> bool:
    micro_steps, accumulation = batch.micro_steps_per_phase, batch.accumulation
    return micro_steps > 0 and (micro_steps % accumulation == 0 or accumulation % micro_steps == 0)


def rows_fill_a_phase(batch: Batch) -> bool:
    return batch.rows is None or batch.partly or batch.rows >= batch.prompts_per_phase


def steps_are_whole_phases(batch: Batch) -> bool:
    return batch.max_steps is None or batch.max_steps % batch.updates_per_phase == 0


def is_possible(batch: Batch) -> bool:
    """Every rule of the arithmetic."""
    return (
        size_fits_devices(batch)
        and groups_are_whole(batch)
        and phases_and_updates_align(batch)
        and rows_fill_a_phase(batch)
        and steps_are_whole_phases(batch)
    )


def nearest_possible(batch: Batch, limit: int = 4) -> list[dict[str, int]]:
    """The nearest possible combinations, as {key: value to type}; each is accepted as it stands.

    One key is changed, to the nearest value below and above; where max_steps then no longer is a
    whole number of phases, it is changed with it. When no single key helps, a combination that
    always works is given.
    """
    found: list[tuple[float, dict[str, int]]] = []
    for name in ("steps", "size", "accumulation", "micro", "group", "iterations", "max_steps"):
        now = _value(batch, name)
        if now is None:
            continue
        for candidates in (_below(batch, name, now), _above(batch, now)):
            fit = next((fit for value in candidates if (fit := _changed(batch, name, value)) is not None), None)
            if fit is not None:
                found.append((_distance(batch, fit), changes(batch, fit)))
    if not found:
        found = [(0.0, changes(batch, fit)) for fit in _always_possible(batch)]
    return [change for _, change in sorted(found, key=lambda item: (len(item[1]), item[0]))][:limit]


def _below(batch: Batch, name: str, now: int) -> Iterator[int]:
    """Smaller values, nearest first: the next ones one by one, then those the rows can fill, then halves."""
    yield from range(now - 1, max(0, now - SEARCH), -1)
    if batch.rows is not None and name in ("steps", "size"):
        unit = batch.micro * batch.devices
        whole = math.lcm(unit, batch.group)
        most = batch.rows * batch.group // whole * whole
        for size in range(min(most, now if name == "size" else now * unit), 0, -whole)[:SEARCH]:
            yield size if name == "size" else size // unit
    while now > 1:
        now //= 2
        yield now


def _above(batch: Batch, now: int) -> Iterator[int]:
    """Larger values, nearest first, up to four times as many."""
    yield from range(now + 1, min(now + SEARCH, 4 * now + 2 * batch.group + 2))


def _value(batch: Batch, name: str) -> int | None:
    if name == "steps":
        return None if batch.size is not None else batch.steps_per_generation
    value: int | None = getattr(batch, name)
    return value


def _changed(batch: Batch, name: str, value: int) -> Batch | None:
    """The batch with one value changed, if that is possible (with max_steps made whole)."""
    if name == "group" and not 2 <= value <= MAX_GROUP:
        return None
    changed = replace(batch, **{name: value})
    if not (size_fits_devices(changed) and phases_and_updates_align(changed)):
        return None
    if name != "max_steps" and not steps_are_whole_phases(changed):
        changed = replace(changed, max_steps=whole_phases(changed)[-1])
    return changed if is_possible(changed) else None


def whole_phases(batch: Batch) -> list[int]:
    """The two numbers of optimizer steps nearest to max_steps that are whole rollout phases (one if it is)."""
    steps, each = batch.max_steps or 1, batch.updates_per_phase
    below, above = steps // each * each, -(-steps // each) * each
    return sorted({value for value in (below, above) if value > 0})


def _always_possible(batch: Batch) -> Iterator[Batch]:
    """One micro-batch after the other until the groups are whole: the smallest phase there is."""
    for micro in dict.fromkeys((batch.micro, 1)):
        accumulation = batch.group // math.gcd(micro * batch.devices, batch.group)
        fit = replace(batch, micro=micro, accumulation=accumulation, iterations=1)
        if batch.size is not None:
            fit = replace(fit, size=micro * accumulation * batch.devices)
        elif batch.steps is not None:
            fit = replace(fit, steps=accumulation)
        if is_possible(fit):
            yield fit
            return


def changes(before: Batch, after: Batch) -> dict[str, int]:
    """{key: value to type} that turns one batch into the other."""
    names = ("micro", "accumulation", "group", "iterations", "steps", "size", "max_steps")
    return {
        KEYS[name]: getattr(after, name)
        for name in names
        if getattr(after, name) != getattr(before, name) and getattr(after, name) is not None
    }


def _distance(before: Batch, after: Batch) -> float:
    return sum(
        abs(math.log(getattr(after, name) / (_value(before, name) or 1)))
        for name in ("micro", "accumulation", "group", "iterations", "steps", "size", "max_steps")
        if getattr(after, name) != getattr(before, name)
    )


def typed(change: dict[str, int]) -> Part:
    """`optim.gradient_accumulation_steps = 4 and optim.max_steps = 8`"""
    return chain("presets.fix.and", [f"{key} = {value}" for key, value in change.items()])
