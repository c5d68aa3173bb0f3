"""A small line of how a number went, without axes: for a cell of a table. Pure functions; no gradio."""

from __future__ import annotations

from collections.abc import Sequence

from trainer.show.markup import escape

_WIDTH, _HEIGHT = 96, 24  # units of the drawing, and pixels where a style sheet says nothing else
_EDGE = 2.5  # so that a line at the edge is not cut


def sparkline(points: Sequence[tuple[int, float]], label: str) -> str:
    """The line as one SVG, its end marked by a dot; nothing for no points. label: what is read out instead of it."""
    if not points:
        return ""
    first, last = points[0][0], points[-1][0]
    values = [value for _, value in points]
    low, high = min(values), max(values)

    def place(step: int, value: float) -> tuple[float, float]:
        along = (step - first) / (last - first) if last > first else 0.5
        above = (value - low) / (high - low) if high > low else 0.5
        return _EDGE + along * (_WIDTH - 2 * _EDGE), _HEIGHT - _EDGE - above * (_HEIGHT - 2 * _EDGE)

    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in (place(*point) for point in points))
    x, y = place(*points[-1])
    line = f'<path d="M{path}"/>' if len(points) > 1 else ""
    return (
        f'<svg class="g-spark" viewBox="0 0 {_WIDTH} {_HEIGHT}" width="{_WIDTH}" height="{_HEIGHT}" role="img" '
        f'aria-label="{escape(label)}">{line}<circle cx="{x:.1f}" cy="{y:.1f}" r="2.2"/></svg>'
    )
