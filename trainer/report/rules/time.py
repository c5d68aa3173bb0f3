"""Where the seconds go: the phase that takes most of a step, and steps that took much longer or shorter than others."""

from __future__ import annotations

import statistics
from array import array
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, Literal

import numpy as np

from trainer.report import series
from trainer.report.finding import Advice, Finding
from trainer.report.material import GENERATE, Material
from trainer.run.columns import Column
from trainer.run.state import PROFILED

REWARDS_AMBER = 0.4  # share of a step
DOMINATES = 0.5
MOST_WORKERS = 64  # the bound of reward.workers
SLOW = 1.5  # times the usual step, at least; below it nobody notices
LONGER = 1.3  # times the usual tokens: then the length explains the time
# Spans (trainer/grpo/spans.py) by what they are to a person. What is in none of them is "other".
PHASES: dict[str, tuple[str, ...]] = {
    "generate": ("transformers.generate", "vLLM.generate", "sync_weights"),  # vLLM is brought the weights to generate
    "rewards": ("_calculate_rewards", "ComponentRewardWrapper"),
    "logprobs": ("_get_per_token_logps_and_entropies",),
    "backward": ("compute_loss", "backward", "training_step"),
    "optimizer": ("optimizer",),
    "record": ("record_rollouts",),
}


def phase_of_spans(spans: Collection[str], vllm: bool) -> dict[str, str]:
    """{span: phase} for a run with these spans. vllm: it wrote the completions."""
    names = {span: phase for phase, members in PHASES.items() for span in members}
    if vllm and "vLLM.generate" not in spans:  # runs before 2026-12: it wrote inside this span and had none of its own
        names["_generate_and_score_completions"] = "generate"
    return names


def phase_columns(m: Material) -> dict[str, series.Points]:
    """{phase: seconds of each step}, which add up to the step; without spans what the profiling metrics tell."""
    names = phase_of_spans(m.state.self_s, m.by_vllm)
    spans: dict[str, list[Column]] = {}
    for span, column in m.state.self_s.items():
        phase = "rewards" if span.startswith("reward.") else names.get(span, "other")
        spans.setdefault(phase, []).append(column)
    if spans:
        order = [*PHASES, "other"]
        return {name: series.known(m.state.steps, _summed(spans[name])) for name in order if name in spans}
    told = {"generate": m.points(GENERATE), "rewards": m.points(f"{PROFILED}_calculate_rewards")}
    return {name: points for name, points in told.items() if points}


def _summed(columns: Sequence[Column]) -> Column:
    """Step by step, over those that have a value there."""
    if len(columns) == 1:
        return columns[0]
    total = np.array(columns[0].values)
    for column in columns[1:]:
        values = np.array(column.values)
        total = np.where(np.isnan(total), values, total + np.nan_to_num(values))
    return Column(array("d", total.tobytes()))


def shares(m: Material) -> dict[str, float]:
    """{phase: share of all seconds in steps}, without the steps that warm up."""
    total = float(series.values_of(m.seconds).sum())
    if not total:
        return {}
    found: dict[str, float] = {}
    for name, points in phase_columns(m).items():
        warm = np.isin(series.steps_of(points), series.steps_of(m.seconds))
        found[name] = float(series.values_of(points)[warm].sum()) / total
    return found


def time_share(m: Material) -> Iterator[Finding]:
    found = shares(m)
    if not found:
        yield Finding("time_share", "unknown", "unknown")
        return
    most = max(found, key=lambda name: found[name])
    values = {"phase": most, "share": found[most], "rewards": found.get("rewards", 0.0), "shares": found}
    usual = statistics.fmean if (m.updates_per_phase or 1) > 1 else statistics.median  # not every step generates
    values["seconds"] = usual(value for _, value in m.seconds)
    if found.get("rewards", 0.0) > REWARDS_AMBER:
        workers = m.setting("reward.workers")
        more = min(2 * workers, MOST_WORKERS) if workers else 8
        ways = (Advice("more_workers", "reward.workers", more, {"now": workers}),) if more != workers else ()
        yield Finding("time_share", "amber", "rewards", values, advice=ways)
    elif found[most] >= DOMINATES:
        yield Finding("time_share", "note", "one", values)
    else:
        yield Finding("time_share", "note", "several", values)


def slow_steps(m: Material) -> Iterator[Finding]:
    """Steps far from the usual duration, and whether longer completions explain it."""
    points, kind = timed(m)
    if len(points) < series.LEAST_FOR_TREND:
        return
    usual = statistics.median(value for _, value in points)
    slow, fast = series.apart(_far(points, "high")), series.apart(_far(points, "low"))
    what: dict[str, Any] = {"what": kind, "usual": usual}
    if slow:
        most = max(slow, key=lambda one: one.value)
        steps = tuple(one.step for one in slow)
        values = what | {"steps": list(steps), "most": most.value, "at": most.step, "factor": most.value / usual}
        values |= _written(m, most.step) | _longer(m, most.step)
        yield Finding("slow_steps", "note", "slow_alone" if m.is_supervised else _reason(values), values, steps)
    if fast and not m.is_supervised:  # nothing is written that could have ended early
        least = min(fast, key=lambda one: one.value)
        steps = tuple(one.step for one in fast)
        values = what | {"steps": list(steps), "least": least.value, "at": least.step}
        yield Finding("slow_steps", "note", "fast", values | _written(m, least.step), steps)
    if not slow and not fast:
        yield Finding("slow_steps", "green", "none", what)


def timed(m: Material) -> tuple[series.Points, Literal["step", "generate"]]:
    """What is compared from step to step: the whole step, or generation where not every step generates, because those
    that do are slower by themselves, and where nothing else was recorded."""
    reused = (m.updates_per_phase or 1) > 1 and bool(m.generate_s)
    return (m.generate_s, "generate") if reused or len(m.seconds) < len(m.generate_s) else (m.seconds, "step")


def _far(points: series.Points, side: Literal["low", "high"]) -> list[series.Away]:
    """Steps beyond the noise of their neighbours, or beyond nearly all others, by the factor SLOW at least.

    The second because times vary with what is written: where they do, only what even the slowest twentieth never takes
    stands out.
    """
    around = series.usual(points)
    found = {one.step: one for one in series.away(points, side)}
    values = series.values_of(points)
    beyond = values >= SLOW * around.high if side == "high" else values * SLOW <= around.low
    for place in np.flatnonzero(beyond).tolist():
        step, value = points[place]
        found.setdefault(step, series.Away(step, value, around.median))
    chosen = (found[step] for step in sorted(found))
    if side == "high":
        return [one for one in chosen if one.value >= SLOW * one.usual]
    return [one for one in chosen if one.value * SLOW <= one.usual]


def _longer(m: Material, step: int) -> dict[str, Any]:
    """The part of a step that took most longer than usual, and by how much."""
    extra: dict[str, float] = {}
    for name, points in phase_columns(m).items():
        at = dict(points).get(step)
        if at is not None:
            extra[name] = at - statistics.median(value for _, value in points)
    if not extra:
        return {}
    part = max(extra, key=lambda name: extra[name])
    return {"part": part, "extra": extra[part]}


def _written(m: Material, step: int) -> dict[str, float]:
    """What was generated at a step against the usual: longest completion and tokens, where they are known."""
    found: dict[str, float] = {}
    for key, name in (("longest", "train/completions/max_length"), ("mean", "train/completions/mean_length")):
        points = m.points(name)
        at = dict(points).get(step)
        if at is not None:
            found[key] = at
            found[f"{key}_usual"] = statistics.median(value for _, value in points)
    return found


def _reason(values: Mapping[str, Any]) -> str:
    longest, usual = values.get("longest"), values.get("longest_usual")
    if longest is None or not usual or "part" not in values:
        return "slow"
    return "slow_long" if longest >= LONGER * usual else "slow_same_length"
