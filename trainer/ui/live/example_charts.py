"""Charts of a training on examples: its loss, what of them the model would write itself or prefers, and held-out rows.
Nothing is written while it trains: held-out rows alone say whether it writes better answers. Pure functions; no gradio.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from trainer.run.columns import Column
from trainer.show.charts import Chart, Line, Style
from trainer.spec import RunSpec
from trainer.text import Words, forms
from trainer.ui.live.drawing import Pen, Points

MOST_EVALS = 240
SHARE: dict[str, Any] = {"low": 0.0, "high": 1.0, "format": forms.percent, "mark": forms.percent}


def charts(pen: Pen, spec: RunSpec | None, say: Words, chart: Callable[..., Chart]) -> list[Chart]:
    """The loss first. chart: makes one of its key in `chart`, lines and column."""
    dpo = spec is not None and spec.run.method == "dpo"

    def of(key: str, name: str, **more: Any) -> Chart:
        column = pen.state.metrics.get(name, Column())
        mean = say("chart.smooth", count=f"{pen.view.width:,}")
        return chart(key, pen.two(column, say("chart.each"), mean), column, **more)

    if spec is not None and spec.is_reward_model:
        return _of_a_judge(pen, spec.reward_model.objective == "pairwise", say, chart, of)
    found = [of("loss_pairs" if dpo else "loss_tokens", "train/loss", low=0.0)]
    for what in ("correct", "reward"):
        line = Line(say("chart.evaluations"), "joined", _held_out(pen, what))
        found.append(chart(f"held_out_{what}", [line], **(SHARE if what == "correct" else {})))
    if not dpo:
        return [*found, of("token_accuracy", "train/mean_token_accuracy", **SHARE | {"low": None})]
    parts: list[tuple[str, Style]] = [("chosen", "c3"), ("rejected", "c6")]
    gained = [
        pen.one(say(f"chart.{name}"), style, pen.state.metrics.get(f"train/rewards/{name}", Column()))
        for name, style in parts
    ]
    return [
        *found,
        of("pair_accuracy", "train/rewards/accuracies", **SHARE),
        of("margins", "train/rewards/margins"),
        chart("gained", gained, headline=False),
    ]


def _of_a_judge(
    pen: Pen, pairwise: bool, say: Words, chart: Callable[..., Chart], of: Callable[..., Chart]
) -> list[Chart]:
    """Whether it tells completions apart, those it is trained on and those of held-out rows."""
    loss = of("loss_judge" if pairwise else "loss_scores", "train/loss", low=0.0)
    own = [of("pair_order", "train/accuracy", **SHARE), of("score_margin", "train/margin")]
    held = [
        chart(f"held_out_{name}", [Line(say("chart.pairs_held_out"), "joined", _held_out(pen, what))], **form)
        for name, what, form in (("ordered", "correct", SHARE), ("correlation", "correlation", {}))
    ]
    return [loss, *held, *(own if pairwise else [of("score_error", "train/absolute_error", low=0.0)])]


def _held_out(pen: Pen, what: str) -> Points:
    points: Points = []
    for event in pen.state.evals[-MOST_EVALS:]:
        value = {"correct": event.correct_frac, "correlation": event.correlation, "reward": event.reward}[what]
        if value is not None and pen.view.holds(event.step):
            points.append((max(pen.view.first, event.step), float(value)))
    return points
