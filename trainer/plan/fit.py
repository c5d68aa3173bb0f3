"""Which changes of settings make a run fit: found by trying levers against the estimate itself.

    suggestions(spec, batch, machine) -> []  when it fits comfortably or nothing is known
    smallest(spec, batch, machine)    -> the least memory all levers together come to

Every suggestion is a legal spec with a possible batch whose estimate fits. Pure functions; imports
the estimate, the levers and the rules of the spec.
"""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from pydantic import BaseModel, ConfigDict

from trainer.plan.batches import Batch
from trainer.plan.checks import TIGHT_FRAC, batch_problems, length_problems
from trainer.plan.estimate import Machine, batch_of, limit_gib, peaks_gib, vllm_starts
from trainer.plan.levers import FREE, LEVERS, Changes, Lever, Value
from trainer.spec import RunSpec, rules

MOST = 4  # suggestions shown
LEAST_GAIN_GIB = 1e-6  # below it a step of a lever is noise of the arithmetic


class Suggestion(BaseModel):
    """Changes that make the run fit, and what they cost."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    changes: tuple[tuple[str, Value], ...]
    """(key, value); the value None takes the key out of the preset."""
    total_gib: float
    """The estimate with these changes."""
    effect: str

    def typed(self) -> list[str]:
        """What to type, one `--set key=value` each."""
        return [f"--set {shlex.quote(f'{key}={_typed(value)}')}" for key, value in self.changes]


def _typed(value: Value) -> str:
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else f"{value:g}" if isinstance(value, float) else str(value)


def applied(spec: RunSpec, changes: Iterable[tuple[str, Value]]) -> RunSpec:
    """The spec with `section.key` values put in; the values are not validated."""
    for key, value in changes:
        section, name = key.split(".")
        changed = getattr(spec, section).model_copy(update={name: value})
        spec = spec.model_copy(update={section: changed})
    return spec


def suggestions(spec: RunSpec, batch: Batch, machine: Machine) -> list[Suggestion]:
    """The ways to make the run fit, cheapest for the learning first; a comfortable fit is tried before a tight one."""
    limit, peaks = limit_gib(spec, machine), peaks_gib(spec, batch, machine)
    if limit is None or peaks is None:
        return []
    for goal in (TIGHT_FRAC * limit, limit):
        if max(peaks) <= goal and vllm_starts(spec, batch, machine):
            return []  # it fits, and nothing fits with more room
        found = _Search(spec, batch, machine, goal).suggestions()
        if found:
            return found[:MOST]
    return []


def smallest(spec: RunSpec, batch: Batch, machine: Machine) -> float | None:
    """GiB with every lever pulled as far as it goes; None for an unknown model."""
    search = _Search(spec, batch, machine, goal=0.0)
    peaks = search.peaks(search.pulled(LEVERS).changes)
    return None if peaks is None else max(peaks)


@dataclass(frozen=True)
class _Pulled:
    """Settings after some levers, and what the levers that moved cost."""

    changes: Changes = field(default_factory=dict)
    effects: tuple[str, ...] = ()


class _Search:
    """Levers tried one by one and together until both phases are below `goal` GiB."""

    def __init__(self, spec: RunSpec, batch: Batch, machine: Machine, goal: float) -> None:
        self.spec, self.machine, self.goal = spec, machine, goal
        self.rows, self.devices = batch.rows, batch.devices

    def suggestions(self) -> list[Suggestion]:
        """One for each lever that is enough with the free ones; before them several cheap ones, if none is enough."""
        found: list[tuple[int, _Pulled]] = []
        for place, lever in enumerate(LEVERS):
            levers = [lever] if place < FREE else [*LEVERS[:FREE], lever]
            made = self._fewest(levers)
            if made is not None and made not in [other for _, other in found]:
                found.append((place, made))
        until = found[0][0] if found else len(LEVERS)
        together = next((made for last in range(FREE, until) if (made := self._fewest(LEVERS[: last + 1]))), None)
        if together is not None:
            found.insert(0, (0, together))
        checked = (self._checked(pulled) for _, pulled in found)
        return [suggestion for suggestion in checked if suggestion is not None]

    def _fewest(self, levers: Sequence[Lever]) -> _Pulled | None:
        """The levers pulled, without those that can be left out while the others stay as they are; None if too little.

        The last lever is never left out: it is the one that is looked at.
        """
        made = self.pulled(levers)
        if self.excess(made.changes) > 0 or levers[-1].effect not in made.effects:
            return None
        used = list(levers)
        for lever in reversed(levers[:-1]):
            rest = self.pulled([other for other in used if other is not lever])
            if self.excess(rest.changes) == 0 and rest.changes.items() <= made.changes.items():
                used.remove(lever)
                made = rest
        return made

    def pulled(self, levers: Sequence[Lever]) -> _Pulled:
        """Each lever as far as it is needed, or as far as it helps."""
        done = _Pulled()
        for lever in levers:
            left, best = self.excess(done.changes), done
            spec = self._spec(done.changes)
            batch = batch_of(spec, self.rows, self.devices)
            for changed in lever.steps(spec, batch, self.machine) if left else ():
                candidate = done.changes | changed
                if (excess := self.excess(candidate)) < left - LEAST_GAIN_GIB:
                    best, left = _Pulled(candidate, (*done.effects, lever.effect)), excess
                if left == 0:
                    break
            done = best
        return done

    def excess(self, changes: Changes) -> float:
        """GiB above the goal, both phases together: 0 when it fits; infinite where vLLM would not start."""
        peaks, spec = self.peaks(changes), self._spec(changes)
        if peaks is None or not vllm_starts(spec, batch_of(spec, self.rows, self.devices), self.machine):
            return math.inf
        return sum(max(0.0, peak - self.goal) for peak in peaks)

    def peaks(self, changes: Changes) -> tuple[float, float] | None:
        spec = self._spec(changes)
        return peaks_gib(spec, batch_of(spec, self.rows, self.devices), self.machine)

    def _spec(self, changes: Changes) -> RunSpec:
        return applied(self.spec, changes.items())

    def _checked(self, pulled: _Pulled) -> Suggestion | None:
        """The suggestion, when spec and batch are legal with it."""
        spec, peaks = self._spec(pulled.changes), self.peaks(pulled.changes)
        batch = batch_of(spec, self.rows, self.devices)
        if peaks is None or rules.problems(spec) or any(batch_problems(batch)) or any(length_problems(spec)):
            return None
        changes = tuple((key, value) for key, value in pulled.changes.items() if value != _at(self.spec, key))
        return Suggestion(changes=changes, total_gib=max(peaks), effect="; ".join(pulled.effects))


def _at(spec: RunSpec, key: str) -> Value:
    section, name = key.split(".")
    value: Value = getattr(getattr(spec, section), name)
    return value
