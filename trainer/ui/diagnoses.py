"""Diagnoses of runs, made in the background and kept until the run has gone on; Live and Health show the same one.

The rules look at the whole history: of 100,000 steps they take seconds, far longer than a tick may. So a thread reads
with followers of its own, and the page shows the newest diagnosis there is. No gradio.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

from trainer.errors import Problem, TrainerError
from trainer.report import material, rules
from trainer.report.finding import Finding
from trainer.report.material import GENERATE, Material
from trainer.report.rules.evaluation import evals, score, shared_key
from trainer.run.records import RunFailedEvent
from trainer.run.rundir import RunDir
from trainer.run.state import RunFollower
from trainer.run.status import Status
from trainer.show.downsampling import Points, smooth
from trainer.spec import Method
from trainer.text import Message
from trainer.ui.stamps import Stamp, stamp_of

EVERY_S = 10.0  # between two diagnoses of a run that goes on
SHARE = 4  # and so many times what a diagnosis takes: a long run does not keep the page busy
STILL_S = 1.0  # without a change: the log of a run that has ended is whole; less than a tick
AT_ONCE_S = 0.3  # a first diagnosis is waited for once: that of most runs takes less
KEEP = 4  # runs
POINTS = 40  # of a small line

Mark = tuple[Stamp | None, ...]

# The column whose course a signal is about; without one there is no line. "seconds", "evals": not columns of a table.
COLUMNS: dict[str, tuple[str, ...]] = {
    "dead_groups": ("dead_frac", "train/reward_std"),
    "zero_loss": ("train/loss",),
    "dynamic_sampling": ("train/sampler/thrown_frac",),
    "replay": ("train/sampler/replay_outside_frac", "train/sampler/replayed_frac"),
    "skip_dead": ("train/sampler/skipped_frac",),
    "reward_trend": ("train/reward",),
    "reward_plateau": ("train/reward",),
    "reward_dips": ("train/reward",),
    "dip_period": ("train/reward",),
    "reward_spikes": ("train/reward",),
    "components": ("group_std",),
    "reward_model": ("train/reward_model/accuracy_before",),
    "evaluation": ("evals",),
    "over_optimised": ("evals",),
    "loss_trend": ("train/loss",),
    "overfitting": ("evals",),
    "kl": ("train/kl",),
    "entropy": ("train/entropy",),
    "clip_ratio": ("train/clip_ratio/region_mean",),
    "grad_norm": ("train/grad_norm",),
    "length": ("train/completions/mean_length",),
    "truncation": ("truncated_frac", "train/completions/clipped_ratio"),
    "time_share": ("seconds",),
    "slow_steps": ("seconds",),
    "generation_floor": (GENERATE,),
    "lost_cache": (GENERATE,),
    "memory_creep": ("used_gib", "rss_gib"),
}


@dataclass(frozen=True)
class Diagnosis:
    """What the rules found at one moment. Holds nothing of the run's state, which goes on in another thread.

    broken: what went wrong instead. known: how many settings of an imported run are known, None of one made here.
    lines: {signal: (step, value) pairs}.
    """

    run: str
    status: Status | None = None
    last_step: int = 0
    findings: list[Finding] = field(default_factory=list)
    lines: dict[str, Points] = field(default_factory=dict)
    known: int | None = None
    readable: bool = True
    reasons: list[Problem] = field(default_factory=list)
    broken: Message | None = None
    method: Method = "grpo"


@dataclass
class _Watched:
    """follower: for the thread alone, which makes it."""

    follower: RunFollower | None = None
    mark: Mark | None = None
    found: Diagnosis | None = None
    at: float = 0.0
    took: float = 0.0
    awaited: bool = False
    asked: Mark | None = None
    since: float = 0.0
    thread: threading.Thread | None = None


class Diagnoses:
    """Safe to use from several threads. follower: makes one for a run that was not looked at before."""

    def __init__(self, follower: Callable[[RunDir], RunFollower] = RunFollower) -> None:
        self._follower = follower
        self._lock = threading.Lock()
        self._one = threading.Lock()  # one diagnosis at a time: they share the processor with the ticks
        self._watched: OrderedDict[tuple[str, int], _Watched] = OrderedDict()

    def newest(self, rundir: RunDir, ended: bool = False) -> Diagnosis | None:
        """The newest diagnosis there is; None while the first one is made. Sees to it that it does not grow old: of a
        run that has `ended` as soon as its log stays as it is."""
        with self._lock:
            watched = self._watch(rundir)
            mark, now = _mark(rundir), time.monotonic()
            if watched.asked != mark:
                watched.asked, watched.since = mark, now
            # A log that grows has not ended, whatever became of its worker: however quickly it is asked again.
            rest = 0.0 if ended and now - watched.since >= STILL_S else max(EVERY_S, SHARE * watched.took)
            old = watched.mark != mark and (watched.found is None or now - watched.at >= rest)
            if old and watched.thread is None:
                watched.thread = threading.Thread(
                    target=self._diagnose,
                    args=(rundir, watched, mark),
                    name=f"diagnosis of {rundir.name}",
                    daemon=True,
                )
                watched.thread.start()
            thread = None if watched.awaited else watched.thread
            watched.awaited = True
        if thread is not None:
            thread.join(AT_ONCE_S)
        return watched.found

    def _watch(self, rundir: RunDir) -> _Watched:
        """By the folder too: a later run of the same name is another one."""
        key = rundir.name, rundir.path.stat().st_ino
        watched = self._watched.pop(key, None) or _Watched()
        self._watched[key] = watched
        while len(self._watched) > KEEP:
            self._watched.popitem(last=False)
        return watched

    def _diagnose(self, rundir: RunDir, watched: _Watched, mark: Mark) -> None:
        with self._one:
            began = time.monotonic()
            try:
                watched.follower = watched.follower or self._follower(rundir)
                found = diagnosis(material.of(rundir, watched.follower))
            except TrainerError as error:
                found = Diagnosis(rundir.name, broken=error.problems[0].message())
            except Exception as error:  # whatever a log may hold: the page says so and goes on
                said = f"{type(error).__name__}: {error}"
                found = Diagnosis(rundir.name, broken=Message("plain.text", text=said))
            now = time.monotonic()
        with self._lock:
            watched.found, watched.mark, watched.at, watched.took = found, mark, now, now - began
            watched.thread = None


def diagnosis(m: Material) -> Diagnosis:
    """What the rules find in a run, and the small lines that belong to them."""
    failed = m.state.final if m.status == "failed" and isinstance(m.state.final, RunFailedEvent) else None
    return Diagnosis(
        run=m.name,
        status=m.status,
        last_step=m.state.last_step,
        findings=rules.diagnose(m),
        lines={signal: line for signal, names in COLUMNS.items() if (line := _line(m, names))},
        known=None if m.known is None else len(m.known),
        readable=m.spec is not None,
        reasons=failed.reasons() if failed is not None else [],
        method=m.method,
    )


def _line(m: Material, names: tuple[str, ...]) -> Points:
    """Of the first of these columns that has values."""
    state = m.state
    width = max(1, len(state.steps) // POINTS)
    for name in names:
        if name == "evals":
            key = shared_key(event for _, event in evals(m))
            return [(step, score(event, key)) for step, event in evals(m)]
        column = state.seconds if name == "seconds" else None
        for table in (state.metrics, state.groups, state.memory):
            column = column if column is not None else table.get(name)
        points = smooth(state.steps, column, width, points=POINTS) if column is not None else []
        if points:
            return points
    return []


def _mark(rundir: RunDir) -> Mark:
    """Changes when a diagnosis could."""
    return tuple(map(stamp_of, (rundir.events, rundir.spec, rundir.identity)))
