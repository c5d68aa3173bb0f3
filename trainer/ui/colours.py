"""The colour of each reward component: by its place in the preset, the same on every tab."""

from __future__ import annotations

from collections.abc import Sequence

from trainer.show.charts import COLOURS, Style


def component_colours(names: Sequence[str]) -> dict[str, Style]:
    """{name: style of charts.css}, in the order given. Beyond eight the colours begin again: charts have no ninth that
    can be distinguished."""
    return {name: COLOURS[place % len(COLOURS)] for place, name in enumerate(names)}
