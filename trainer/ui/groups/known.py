"""What the tab needs of a run, taken out of its folded events at one moment.

Small and independent of the run's state: the files of the run are then read while nobody waits for the state. The
cost grows with the rollout files, not with the steps. No gradio, no files.
"""

from __future__ import annotations

import bisect
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field

from trainer.run.columns import Column
from trainer.run.rundir import RunDir
from trainer.run.status import LIVE, Status
from trainer.show.charts import Style
from trainer.spec import Component, Method
from trainer.ui.colours import component_colours
from trainer.ui.known_runs import Seen


@dataclass(frozen=True)
class Known:
    """steps: those with a rollout file. std, dead: of the groups of each of them, None where the step said nothing.

    phase: optimizer steps that learn from one file. leaves: components of the reward by the name of their values.
    weights: of those that stand in no sum. written: does the run write rollouts; None when nobody knows.
    """

    rundir: RunDir
    status: Status
    steps: Sequence[int]
    std: Sequence[float | None]
    dead: Sequence[float | None]
    last_step: int
    phase: int = 1
    leaves: dict[str, Component] = field(default_factory=dict)
    weights: dict[str, float] = field(default_factory=dict)
    written: bool | None = None
    process: bool = False
    method: Method = "grpo"

    @property
    def live(self) -> bool:
        return self.status in LIVE

    def place(self, step: int | None) -> int:
        """The file of a step: the newest one for None, else the newest that is not after it. Needs a file."""
        if step is None:
            return len(self.steps) - 1
        return max(0, bisect.bisect_right(self.steps, step) - 1)

    def colours(self, names: Sequence[str]) -> dict[str, Style]:
        """The colour of each component, those of the preset first, as on all other tabs."""
        return component_colours([*self.leaves, *(name for name in names if name not in self.leaves)])


def known(seen: Seen) -> Known:
    """Call it inside `KnownRuns.look`."""
    state, spec = seen.state, seen.spec
    found = {event.step for event in state.rollouts if event.step <= state.last_step}
    steps = sorted(found)
    places = _places(state.steps, steps)
    plan = state.plan or {}
    phase = plan.get("updates_per_phase")
    components = spec.reward.components if spec is not None else []
    return Known(
        rundir=seen.rundir,
        status=seen.status,
        steps=steps,
        std=_values(state.groups.get("group_std"), places),
        dead=_values(state.groups.get("dead_frac"), places),
        last_step=state.last_step,
        phase=phase if isinstance(phase, int) and phase > 0 else 1,
        leaves={leaf.title: leaf for component in components for leaf in component.leaves()},
        weights={one.title: one.weight for one in components if not one.components},
        written=None if spec is None or seen.status == "imported" else spec.log.rollouts,
        process=spec is not None and spec.reward.supervision == "process",
        method=seen.method,
    )


def _places(steps: Sequence[int], wanted: Sequence[int]) -> array[int]:
    """Where in the columns each step stands; -1 where it does not."""
    found = array("q")
    for step in wanted:
        place = bisect.bisect_left(steps, step)
        found.append(place if place < len(steps) and steps[place] == step else -1)
    return found


def _values(column: Column | None, places: array[int]) -> list[float | None]:
    return [None if column is None or place < 0 else column[place] for place in places]
