"""Lengths of the completions, and how many are cut at the limit."""

from __future__ import annotations

from collections.abc import Iterator

from trainer.report import series
from trainer.report.finding import Advice, Finding, Level
from trainer.report.material import Material

CUT_AMBER, CUT_RED = 0.3, 0.8  # share of completions, mean of the last fifth
GREW, SHRANK = 1.5, 0.67  # last fifth over first
ROUND = 64  # tokens; limits are chosen in such steps


def length(m: Material) -> Iterator[Finding]:
    """Growth is what reasoning looks like, and what paying for length looks like: the reward tells them apart."""
    points = m.points("train/completions/mean_length")
    if len(points) < series.LEAST_FOR_TREND:
        yield Finding("length", "unknown", "unknown")
        return
    first, now = series.mean(series.oldest(points)), series.mean(series.newest(points))
    found = series.trend(points)
    assert first is not None and now is not None and found is not None
    values = {"first": first.value, "now": now.value, "factor": now.value / first.value if first.value else 0.0}
    if values["factor"] >= GREW and found.direction > 0:
        reward = series.trend(m.points("train/reward"))
        better = reward is not None and reward.direction > 0
        limit = m.setting("generation.max_completion_length")
        penalty = Advice("length_penalty", "reward.components", None, {"limit": limit})
        yield Finding("length", "note" if better else "amber", "grew" if better else "grew_only", values,
                      advice=() if better else (penalty,))  # fmt: skip
    elif values["factor"] <= SHRANK and found.direction < 0:
        yield Finding("length", "note", "shrank", values)
    else:
        yield Finding("length", "green", "steady", values)


def truncation(m: Material) -> Iterator[Finding]:
    """Cut completions never reach their answer: their reward says nothing about it."""
    points = m.group_points("truncated_frac") or m.points("train/completions/clipped_ratio")
    if not points:
        yield Finding("truncation", "unknown", "unknown")
        return
    now = series.mean(series.newest(points))
    assert now is not None
    level: Level = "red" if now.value > CUT_RED else "amber" if now.value > CUT_AMBER else "green"
    limit = m.setting("generation.max_completion_length")
    values = {"now": now.value, "most": max(value for _, value in points), "limit": limit}
    ways: tuple[Advice, ...] = ()
    if level != "green" and isinstance(limit, int):
        longer = -(-limit * 3 // 2 // ROUND) * ROUND if limit >= ROUND else limit + limit // 2 + 1
        context, prompt = m.setting("model.max_seq_length"), m.setting("data.max_prompt_length")
        holds = context is None or prompt is None or context >= prompt + longer
        also = () if holds else (("model.max_seq_length", prompt + longer),)
        ways = (Advice("longer", "generation.max_completion_length", longer, {"now": limit}, also),)
        if m.setting("grpo.mask_truncated_completions") is False:
            ways += (Advice("mask_truncated", "grpo.mask_truncated_completions", True),)
    key = "often" if level != "green" else "seldom" if values["most"] > 0 else "never"
    yield Finding("truncation", level, key, values, advice=ways)
