"""The one sentence above Live: the most important of what the rules find, or their verdict. No gradio.

A long run is looked at every few steps only, and through some hundred of its steps: the same cost at any length.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from dataclasses import dataclass, replace

from trainer.report import material
from trainer.report.finding import Finding
from trainer.report.rules import evaluation, groups, length, policy, reward, worst
from trainer.report.rules.verdict import run_verdict, said_verdict
from trainer.report.sections import telling
from trainer.run.columns import Column, Table
from trainer.run.state import RunState
from trainer.run.status import LIVE
from trainer.text import Words
from trainer.ui.known_runs import Seen

KEEP = 8  # runs
MOST_STEPS = 600  # a rule looks at
AGAIN_S = 5.0  # a run that goes on is looked at again after
# Those that read nothing but the columns: no rollout files.
RULES = (
    groups.dead_groups,
    reward.reward_trend,
    reward.reward_errors,
    evaluation.evaluation,
    evaluation.over_optimised,
    policy.kl,
    policy.entropy,
    length.truncation,
)
_SAYS_NOTHING = ("short", "unclear")


@dataclass(frozen=True)
class _Found:
    mark: tuple[object, ...]
    t: float
    red: Finding | None
    findings: list[Finding]
    thinned: bool


class Headlines:
    """Remembers what was found about the last few runs."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._found: OrderedDict[str, _Found] = OrderedDict()

    def of(self, seen: Seen, say: Words) -> str:
        """The sentence; "" where there is nothing to say yet. Call it inside KnownRuns.look."""
        state = seen.state
        if not state.steps:
            return ""
        mark = (id(state), state.last_step, len(state.evals), seen.status)
        with self._lock:
            known = self._found.pop(seen.rundir.name, None)
            if known is None or (known.mark != mark and self._due(known, seen)):
                known = _look(seen, mark)
            self._found[seen.rundir.name] = known
            while len(self._found) > KEEP:
                self._found.popitem(last=False)
        return _sentence(known, say)

    @staticmethod
    def _due(known: _Found, seen: Seen) -> bool:
        """At once when the run is another one or has ended; else after AGAIN_S."""
        other = known.mark[0] != id(seen.state) or seen.status not in LIVE
        return other or time.monotonic() - known.t > AGAIN_S


def _look(seen: Seen, mark: tuple[object, ...]) -> _Found:
    m = material.made(seen.rundir, seen.state, seen.status, seen.spec)
    m = replace(m, state=_thinned(seen.state))
    findings = [finding for rule in RULES for finding in rule(m)]
    red = next((finding for finding in worst(findings) if finding.level == "red"), None)
    return _Found(mark, time.monotonic(), red, findings, len(m.state.steps) < len(seen.state.steps))


def _sentence(found: _Found, say: Words) -> str:
    told = telling.words(say.language)
    if found.red is not None:
        key = f"finding.{found.red.signal}.{found.red.key}"
        if not (found.thinned and "{count}" in told(key)):  # it would count the steps that were looked at
            return told(key, **found.red.values)
    return "" if run_verdict(found.findings) in _SAYS_NOTHING else said_verdict(found.findings, told)


def _thinned(state: RunState) -> RunState:
    """The state with the columns the rules read, of MOST_STEPS steps that lie evenly. Not their means: the noise from
    step to step is what a trend is measured against."""
    count = len(state.steps)
    if count <= MOST_STEPS:
        return state
    places = [round(n * (count - 1) / (MOST_STEPS - 1)) for n in range(MOST_STEPS)]
    thin = RunState(attempts=state.attempts, started=state.started, final=state.final, plan=state.plan)
    thin.evals, thin.alerts, thin.checkpoints = state.evals, state.alerts, state.checkpoints
    thin.steps = [state.steps[place] for place in places]
    thin.metrics, thin.groups = _rows(state.metrics, places), _rows(state.groups, places)
    return thin


def _rows(table: Table, places: list[int]) -> Table:
    found = Table()
    for name, column in table.items():
        found[name] = Column(column[place] for place in places)
    found.rows = len(places)
    return found
