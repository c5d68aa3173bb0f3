"""Training on examples: does the loss fall, and does what is learnt from them still carry over?"""

from __future__ import annotations

from collections.abc import Iterator

from trainer.report import series
from trainer.report.finding import Advice, Finding
from trainer.report.material import Material
from trainer.report.rules.evaluation import evals, since_best


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
    found = since_best(m) if m.is_supervised else None
    if found is None:
        return
    if not found.fell:
        yield Finding("overfitting", "green", "together", {"count": len(evals(m))})
        return
    best_step = found.steps[0]
    ways = (Advice("stop_earlier", "optim.max_steps", best_step, {"step": best_step}),) if best_step else ()
    loss = series.trend([point for point in m.points("train/loss") if point[0] >= best_step])
    falls = loss is not None and loss.direction < 0
    kind = f"{'apart' if falls else 'fell'}_{found.key}"
    yield Finding("overfitting", "red" if falls else "amber", kind, found.values, found.steps, ways)
