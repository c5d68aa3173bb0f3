"""How far the policy has moved: KL to the reference, entropy, clipped ratios, gradient norms.

The bounds are rules of thumb of the field (Axolotl's training_stability guide; grpo-doctor's measurements on why a
falling entropy alone is no alarm), not laws; the report says so.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator

from trainer.report import series
from trainer.report.finding import Advice, Finding, Level
from trainer.report.material import Material

KL_AMBER, KL_RED = 0.5, 2.0  # nats a token, mean of the last fifth
ENTROPY_LOW = 0.01  # nats a token
ENTROPY_FELL = 0.1  # of its first value
CLIP_AMBER, CLIP_RED = 0.1, 0.3  # share of tokens
SPIKE = 10.0  # times the usual norm
RATIO_PARTS = ("region_mean", "low_mean", "high_mean")


def kl(m: Material) -> Iterator[Finding]:
    """Only a run with beta > 0 has a reference model to compare with."""
    beta = m.setting("grpo.beta")
    points = m.points("train/kl")
    if beta == 0:
        yield Finding("kl", "na", "no_reference")
        return
    if not points:
        yield Finding("kl", "unknown", "unknown")
        return
    now = series.mean(series.newest(points))
    assert now is not None
    found = series.trend(points)
    values = {"now": now.value, "most": max(v for _, v in points), "beta": beta, "first": points[0][1]}
    level: Level = "red" if now.value > KL_RED else "amber" if now.value > KL_AMBER else "green"
    grows = found is not None and found.direction > 0
    key = "far" if level != "green" else "grows" if grows else "near"
    ways: tuple[Advice, ...] = ()
    if level != "green" and beta:
        ways = (Advice("more_beta", "grpo.beta", 2 * beta, {"now": beta}),)
    yield Finding("kl", level, key, values, advice=ways)


def entropy(m: Material) -> Iterator[Finding]:
    """Entropy falls in healthy runs as well; it is a collapse when nothing is left to sample from."""
    points = m.points("train/entropy")
    if len(points) < series.LEAST_FOR_TREND:
        yield Finding("entropy", "unknown", "unknown")
        return
    first, now = series.mean(series.oldest(points)), series.mean(series.newest(points))
    assert first is not None and now is not None
    values = {"first": first.value, "now": now.value}
    if now.value < ENTROPY_LOW and now.value < ENTROPY_FELL * first.value:
        rate = m.setting("optim.learning_rate")
        ways = (Advice("lower_rate", "optim.learning_rate", rate / 2, {"now": rate}),) if rate else ()
        reward = series.trend(m.points("train/reward"))
        worse = reward is not None and reward.direction < 0
        yield Finding("entropy", "red" if worse else "amber", "collapsed", values, advice=ways)
    else:
        yield Finding("entropy", "green", "fell" if now.value < 0.5 * first.value else "kept", values)


def clip_ratio(m: Material) -> Iterator[Finding]:
    """With one update for each generation every ratio is 1: nothing can be clipped, and 0 says nothing."""
    updates, iterations = m.updates_per_phase, m.setting("grpo.num_iterations")
    if m.ratios_are_one and iterations == 1:
        yield Finding("clip_ratio", "na", "on_policy")
        return
    columns = [points for part in RATIO_PARTS if (points := m.points(f"train/clip_ratio/{part}"))]
    if not columns:
        yield Finding("clip_ratio", "unknown", "unknown")
        return
    shares = [found.value for points in columns if (found := series.mean(series.newest(points))) is not None]
    now = max(shares)
    if m.setting("grpo.importance_sampling_level") == "sequence":  # GSPO clips whole sequences, many by design
        yield Finding("clip_ratio", "note", "sequences", {"now": now})
        return
    level: Level = "red" if now > CLIP_RED else "amber" if now > CLIP_AMBER else "green"
    rate = m.setting("optim.learning_rate")
    ways = (Advice("lower_rate", "optim.learning_rate", rate / 2, {"now": rate}),) if rate and level != "green" else ()
    key = "often" if level != "green" else "seldom"
    yield Finding("clip_ratio", level, key, {"now": now, "updates": updates}, advice=ways)


def grad_norm(m: Material) -> Iterator[Finding]:
    """Steps whose gradient is ten times the usual one, and those without any."""
    points = m.points("train/grad_norm")
    if len(points) < series.LEAST_FOR_TREND:
        yield Finding("grad_norm", "unknown", "unknown")
        return
    moving = [value for _, value in points if value > 0]
    none = [step for step, value in points if value == 0]
    usual = statistics.median(moving) if moving else 0.0
    spikes = [(step, value) for step, value in points if usual and value > SPIKE * usual]
    bound = m.setting("optim.max_grad_norm")
    values = {
        "usual": usual,
        "most": max(value for _, value in points),
        "none": len(none),
        "count": len(points),
        "steps": [step for step, _ in spikes],
        "bound": bound,
    }
    if spikes:
        rate = m.setting("optim.learning_rate")
        ways: tuple[Advice, ...] = ()
        if bound == 0:
            ways = (Advice("clip_gradient", "optim.max_grad_norm", 1.0),)
        elif rate:
            ways = (Advice("lower_rate", "optim.learning_rate", rate / 2, {"now": rate}),)
        key = "spikes" if bound == 0 or bound is None else "spikes_clipped"
        level: Level = "amber" if bound == 0 else "note"
        yield Finding("grad_norm", level, key, values, tuple(values["steps"]), ways)
    elif moving:
        yield Finding("grad_norm", "green", "steady", values)
    if none:
        yield Finding("grad_norm", "amber" if len(none) > len(points) / 2 else "note", "none", values, tuple(none))
