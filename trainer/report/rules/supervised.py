"""Training on examples: does the loss fall, and does what is learnt from them still carry over?"""

from __future__ import annotations

import math
from collections.abc import Iterator
from statistics import NormalDist

from trainer.report import series
from trainer.report.finding import Advice, Finding
from trainer.report.material import Material
from trainer.report.rules.evaluation import error, evals, score, shared_key


def loss_trend(m: Material) -> Iterator[Finding]:
    """The loss of the examples; GRPO's is near 0 by construction and says nothing."""
    if not m.is_supervised:
        return
    points = m.points("train/loss")
    found = series.trend(points)
    if found is None:
        yield Finding("loss_trend", "unknown", "short", {"count": len(points)})
        return
    values = {"first": found.first, "last": found.last}
    rate = m.setting("optim.learning_rate")
    if found.direction < 0:
        yield Finding("loss_trend", "green", "falls", values)
    elif found.direction > 0:
        ways = (Advice("lower_rate", "optim.learning_rate", rate / 2, {"now": rate}),) if rate else ()
        yield Finding("loss_trend", "red", "rises", values, advice=ways)
    else:
        ways = (Advice("higher_rate", "optim.learning_rate", 2 * rate, {"now": rate}),) if rate else ()
        yield Finding("loss_trend", "amber", "flat", values, advice=ways)


def overfitting(m: Material) -> Iterator[Finding]:
    """A held-out score that falls from its best while the loss still falls: the examples are learnt by heart."""
    found = evals(m) if m.is_supervised else []
    if len(found) < 3:
        return
    key = shared_key(event for _, event in found)
    best_step, best = max(found[:-1], key=lambda pair: score(pair[1], key))
    last_step, last = found[-1]
    errors = [error(event, key) for event in (best, last)]
    if None in errors:
        return
    # The best of several is high by luck as well: the interval is that of as many comparisons (Bonferroni).
    sure = NormalDist().inv_cdf(1 - 0.025 / (len(found) - 1))
    bound = sure * math.hypot(*(one for one in errors if one is not None))
    values = {"best": score(best, key), "at": best_step, "last": score(last, key), "step": last_step, "rows": last.rows}
    values |= {"error": bound}
    if not score(best, key) - score(last, key) > bound > 0:
        yield Finding("overfitting", "green", "together", {"count": len(found)})
        return
    ways = (Advice("stop_earlier", "optim.max_steps", best_step, {"step": best_step}),) if best_step else ()
    loss = series.trend([point for point in m.points("train/loss") if point[0] >= best_step])
    falls = loss is not None and loss.direction < 0
    steps = (best_step, last_step)
    yield Finding(
        "overfitting", "red" if falls else "amber", f"{'apart' if falls else 'fell'}_{key}", values, steps, ways
    )
