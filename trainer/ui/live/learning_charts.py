"""The chart of a reward model that learns. Only where the run has set it, or has recorded it. No gradio, no files."""

from __future__ import annotations

from collections.abc import Callable

from trainer.run.columns import Column
from trainer.show.charts import Chart, Line, Style
from trainer.spec import RunSpec
from trainer.text import Words, forms
from trainer.ui.live.drawing import Pen

HEAD = "train/reward_model/"
_STYLES: tuple[tuple[str, Style], ...] = (("accuracy", "strong"), ("accuracy_before", "dashed"))


def charts(pen: Pen, spec: RunSpec | None, say: Words, make: Callable[..., Chart]) -> list[Chart]:
    """make: as trainer.ui.live.sampling_charts has it."""
    found = [(name, style, pen.state.metrics.get(HEAD + name, Column())) for name, style in _STYLES]
    if not any(column for _, _, column in found) and (spec is None or spec.reward.learning is None):
        return []
    lines = [Line(say(f"chart.{name}"), style, pen.raw(column)) for name, style, column in found if column]
    share = {"low": 0.0, "high": 1.0, "format": forms.percent, "mark": forms.percent}
    return [make("reward_model", lines, found[0][2], **share)]
