"""How numbers, times and foreign text are written wherever a person reads them: console, page, report.

Pure functions; the standard library only.
"""

from __future__ import annotations

import math
import time
from typing import Any


def printable(text: str) -> str:
    """One line without control characters: names and messages may come from a model."""
    return "".join(char if char.isprintable() else " " for char in text)


def number(value: Any) -> str:
    """Three digits that count: 0.0123, 1.24, 12,345; n/a for None. Below 0.00005 it is 0.0000."""
    if not isinstance(value, int | float):
        return "n/a"
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    if isinstance(value, int) or abs(value) >= 999.5:
        return f"{value:,.0f}"
    return f"{value:#.3g}".removesuffix(".") if abs(value) >= 5e-5 else "0.0000"


def percent(share: Any) -> str:
    return f"{100 * share:.0f} %" if isinstance(share, int | float) else "n/a"


def duration(seconds: float | None) -> str:
    if seconds is None:
        return "n/a"
    if seconds < 119.5:
        return f"{seconds:.1f} s" if seconds < 59.95 else f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def clock(t: float | None) -> str:
    """Local time of a moment in unix seconds; "-" where it is none that a calendar has."""
    try:
        return time.strftime("%Y-%m-%d %H:%M", time.localtime(t)) if t is not None else "-"
    except (OverflowError, ValueError, OSError):
        return "-"


def moment(t: float, now: float) -> str:
    """Local time of a moment that is not far from now: 23:40, with its date where that is another day."""
    shown = clock(t)
    return shown.removeprefix(f"{clock(now)[:10]} ")


def size(count: Any) -> str:
    if not isinstance(count, int | float):
        return "n/a"
    return f"{count / 2**20:.1f} MiB" if count < 2**30 else f"{count / 2**30:.2f} GiB"
