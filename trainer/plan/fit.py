"""Which changes of settings make a run fit: found by trying levers against the estimate itself.

    suggestions(spec, batch, machine) -> []  when it fits comfortably or nothing is known
    smallest(spec, batch, machine)    -> the least memory all levers together come to

Every suggestion is a legal spec with a possible batch whose estimate fits, and wherever the smallest
such plan fits there is one. Pure functions; imports the estimate, the levers and the rules of the spec.
"""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel, ConfigDict, model_validator

from trainer.plan.batches import KEYS, Batch, is_possible
from trainer.plan.checks import TIGHT_FRAC, length_problems
from trainer.plan.estimate import Machine, batch_of, has_vllm, limit_gib, peaks_gib, vllm_starts
from trainer.plan.levers import FREE, LEVERS, VLLM, Changes, Lever, Value
from trainer.plan.stored import StoredMessage
from trainer.presets import rules
from trainer.spec import RunSpec
from trainer.text import Message, Words

MOST = 4  # suggestions shown
LEAST_GAIN_GIB = 1e-6  # below it a step of a lever is noise of the arithmetic


class Suggestion(BaseModel):
    """Changes that make the run fit, and what they cost."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    changes: tuple[tuple[str, Value], ...]
    """(key, value); the value None takes the key out of the preset."""
    total_gib: float
    """The estimate with these changes."""
    effects: tuple[StoredMessage, ...]
    """What they cost, each change on its own."""

    @model_validator(mode="before")
    @classmethod
    def _of_older_versions(cls, stored: Any) -> Any:
        """They had all effects in one text."""
        if isinstance(stored, dict) and "effect" in stored:
            stored = {**stored, "effects": (stored["effect"],)}
            del stored["effect"]
        return stored

    def effect(self, say: Words) -> str:
        return "; ".join(map(say.said, self.effects))

    def typed(self) -> list[str]:
        """What to type, one `--set key=value` each."""
        return [f"--set {shlex.quote(f'{key}={_typed(value)}')}" for key, value in self.changes]


def _typed(value: Value) -> str:
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else f"{value:g}" if isinstance(value, float) else str(value)


def applied(spec: RunSpec, changes: Iterable[tuple[str, Value]]) -> RunSpec:
    """The spec with `section.key` values put in; the values are not validated."""
    sections: dict[str, dict[str, Value]] = {}
    for key, value in changes:
        section, name = key.split(".")
        sections.setdefault(section, {})[name] = value
    if not sections:
        return spec
    of_trl = sections.pop("trl", {})
    update: dict[str, Any] = {
        section: getattr(spec, section).model_copy(update=values) for section, values in sections.items()
    }
    return spec.model_copy(update=update | {"trl": spec.trl | of_trl})


def suggestions(spec: RunSpec, batch: Batch, machine: Machine) -> list[Suggestion]:
    """The ways to make the run fit, cheapest for the learning first; a comfortable fit is tried before a tight one."""
    limit, plans = limit_gib(spec, machine), _Plans(spec, batch, machine)
    if limit is None or plans.peaks({}) is None or plans.excess({}, TIGHT_FRAC * limit) == 0:
        return []
    least = _least(plans)
    for goal in (TIGHT_FRAC * limit, limit):
        if plans.excess({}, goal) == 0:
            return []  # it fits, and nothing fits with more room
        if plans.excess(least.changes, goal) == 0:
            found = _Search(plans, goal).suggestions(least)
            if found:
                return found[:MOST]
    return []


def smallest(spec: RunSpec, batch: Batch, machine: Machine) -> float | None:
    """GiB of the legal plan with every lever pulled as far as it helps; None for an unknown model."""
    plans = _Plans(spec, batch, machine)
    peaks = plans.peaks(_least(plans).changes)
    return None if peaks is None else max(peaks)


@dataclass(frozen=True)
class _Pulled:
    """Settings after some levers, and what the levers that moved cost."""

    changes: Changes = field(default_factory=dict)
    effects: tuple[Message, ...] = ()

    def with_effect(self, changes: Changes, effect: Message) -> _Pulled:
        return _Pulled(changes, tuple(dict.fromkeys((*self.effects, effect))))


class _Plans:
    """A spec under changes: memory and legality, each worked out once for the same changes."""

    def __init__(self, spec: RunSpec, batch: Batch, machine: Machine) -> None:
        self.spec, self.machine = spec, machine
        self._rows, self._devices = batch.rows, batch.devices
        self._made: dict[frozenset[tuple[str, Value]], tuple[RunSpec, Batch]] = {}
        self._peaks: dict[frozenset[tuple[str, Value]], tuple[tuple[float, float] | None, bool]] = {}
        self._broken: dict[frozenset[tuple[str, Value]], bool] = {}

    def of(self, changes: Changes) -> tuple[RunSpec, Batch]:
        key = frozenset(changes.items())
        if key not in self._made:
            spec = applied(self.spec, changes.items())
            self._made[key] = spec, batch_of(spec, self._rows, self._devices)
        return self._made[key]

    def peaks(self, changes: Changes) -> tuple[float, float] | None:
        return self._measured(changes)[0]

    def excess(self, changes: Changes, goal: float) -> float:
        """GiB above the goal, both phases together: 0 when it fits; infinite where vLLM would not start."""
        peaks, starts = self._measured(changes)
        return sum(max(0.0, peak - goal) for peak in peaks) if peaks is not None and starts else math.inf

    def _measured(self, changes: Changes) -> tuple[tuple[float, float] | None, bool]:
        key = frozenset(changes.items())
        if key not in self._peaks:
            spec, batch = self.of(changes)
            starts = not has_vllm(spec) or vllm_starts(spec, batch, self.machine)
            self._peaks[key] = peaks_gib(spec, batch, self.machine), starts
        return self._peaks[key]

    def are_legal(self, changes: Changes) -> bool:
        """No rule of the spec is broken, and the batch is possible."""
        spec, batch = self.of(changes)
        # The rules of the spec read no numbers of the batch: they are asked once for all batches.
        key = frozenset((name, value) for name, value in changes.items() if name not in KEYS.values())
        if key not in self._broken:
            self._broken[key] = bool(rules.problems(spec)) or any(length_problems(spec))
        return not self._broken[key] and is_possible(batch)


def _least(plans: _Plans) -> _Pulled:
    """All levers as far as they help: the sum of both phases, or what is above the limit, whichever ends lower.

    What vLLM takes pulls the phases in two directions, so its levers are tried together, one by one and not at all.
    """
    goals = (0.0, limit_gib(plans.spec, plans.machine) or 0.0)
    ways = [_Search(plans, goal).pulled(levers) for goal in goals for levers in _ways(plans.spec)]
    starting = [made for made in ways if plans.excess(made.changes, 0.0) < math.inf] or ways
    return min(starting, key=lambda made: max(plans.peaks(made.changes) or (0.0,)))


def _ways(spec: RunSpec) -> list[list[Lever]]:
    if not has_vllm(spec):
        return [list(LEVERS)]
    ways: list[tuple[Lever, ...]] = [VLLM, (), *((lever,) for lever in VLLM)]
    return [[lever for lever in LEVERS if lever in way or lever not in VLLM] for way in ways]


class _Search:
    """Levers tried one by one and together until both phases are below `goal` GiB."""

    def __init__(self, plans: _Plans, goal: float) -> None:
        self.plans, self.goal = plans, goal

    def suggestions(self, least: _Pulled) -> list[Suggestion]:
        """One for each lever that is enough with free ones before it; before them several cheap ones, if none is.

        `least` fits: it is the way out where the levers one after the other end at another plan.
        """
        found: list[tuple[int, _Pulled]] = []
        for place, lever in enumerate(LEVERS):
            levers = LEVERS[: place + 1] if place < FREE else [*LEVERS[:FREE], lever]
            made = self._fewest(levers)
            if made is not None and made not in [other for _, other in found]:
                found.append((place, made))
        until = found[0][0] if found else len(LEVERS)
        together = next((made for last in range(FREE, until) if (made := self._fewest(LEVERS[: last + 1]))), None)
        if together is not None:
            found.insert(0, (0, together))
        ways = [made for _, made in found] or [self._milder(least)]
        return [self._suggestion(made) for made in ways]

    def _fewest(self, levers: Sequence[Lever]) -> _Pulled | None:
        """The levers pulled, without those that can be left out while the others stay as they are; None if too little.

        The last lever is never left out: it is the one that is looked at.
        """
        made = self.pulled(levers)
        if self._excess(made.changes) > 0 or levers[-1].effect not in made.effects:
            return None
        used = list(levers)
        for lever in reversed(levers[:-1]):
            rest = self.pulled([other for other in used if other is not lever])
            if self._excess(rest.changes) == 0 and rest.changes.items() <= made.changes.items():
                used.remove(lever)
                made = rest
        return made

    def _milder(self, least: _Pulled) -> _Pulled:
        """The levers of the smallest plan, each only as far as it is needed where that is enough."""
        made = self.pulled([lever for lever in LEVERS if lever.effect in least.effects])
        return made if self._excess(made.changes) == 0 else least

    def pulled(self, levers: Sequence[Lever]) -> _Pulled:
        """Each lever as far as it is needed, or as far as it helps; the free ones again behind those that cost."""
        done = _Pulled()
        for lever in (*levers, *(again for again in levers if again in LEVERS[:FREE])):
            if self._excess(done.changes) == 0:
                break
            done = self._after(lever, done)
        return done

    def _after(self, lever: Lever, done: _Pulled) -> _Pulled:
        """The first legal step that is enough, or the one that helps most."""
        left, best = self._excess(done.changes), done
        for changed in lever.steps(*self.plans.of(done.changes), self.plans.machine):
            candidate = done.changes | changed
            excess = self._excess(candidate)
            if excess < left - LEAST_GAIN_GIB and self.plans.are_legal(candidate):
                best, left = done.with_effect(candidate, lever.effect), excess
            if left == 0:
                break
        return best

    def _excess(self, changes: Changes) -> float:
        return self.plans.excess(changes, self.goal)

    def _suggestion(self, made: _Pulled) -> Suggestion:
        peaks = self.plans.peaks(made.changes)
        assert peaks is not None
        changes = tuple((key, value) for key, value in made.changes.items() if value != _at(self.plans.spec, key))
        return Suggestion(changes=changes, total_gib=max(peaks), effects=made.effects)


def _at(spec: RunSpec, key: str) -> Value:
    section, name = key.split(".")
    value: Value = spec.trl.get(name) if section == "trl" else getattr(getattr(spec, section), name)
    return value
