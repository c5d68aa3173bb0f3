"""A report as blocks, before it is Markdown or HTML. Words are in it, form is not. Imports findings and charts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from trainer.report.finding import Level
from trainer.show.charts import Chart


@dataclass(frozen=True)
class Text:
    """A paragraph. lead: the one sentence that matters most of its section."""

    text: str
    kind: Literal["plain", "lead", "small"] = "plain"


@dataclass(frozen=True)
class Heading:
    text: str


@dataclass(frozen=True)
class Table:
    """Cells as text. numbers: columns that hold numbers and are aligned to the right. course: the one with a curve
    drawn in characters."""

    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    numbers: frozenset[int] = frozenset()
    course: int | None = None


@dataclass(frozen=True)
class Said:
    """A finding in words. level_word: never colour alone."""

    level: Level
    level_word: str
    name: str
    text: str


@dataclass(frozen=True)
class Sayings:
    items: Sequence[Said]


@dataclass(frozen=True)
class Charts:
    """Small multiples; Markdown leaves them out. step, empty: words of the axis and of a chart without points."""

    charts: Sequence[Chart]
    step: str
    empty: str


@dataclass(frozen=True)
class Completion:
    title: str
    facts: str
    advantage: float | None
    text: str


@dataclass(frozen=True)
class Group:
    """One prompt and its completions, as the model wrote them: shown as inert text."""

    title: str
    prompt_word: str
    prompt: str
    completions: Sequence[Completion]


@dataclass(frozen=True)
class Code:
    """Lines to type."""

    lines: Sequence[str]


Block = Text | Heading | Table | Sayings | Charts | Group | Code


@dataclass(frozen=True)
class Section:
    id: str
    title: str
    blocks: Sequence[Block]


@dataclass(frozen=True)
class Report:
    language: str
    title: str
    subtitle: str
    sections: Sequence[Section]
    footer: str = field(default="")
