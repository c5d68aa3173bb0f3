"""A report as Markdown: reads well as plain text too. Charts are left out, the course of a metric is in its table."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from trainer.report.document import Block, Charts, Code, Group, Heading, Report, Sayings, Table, Text

_SPECIAL = re.compile(r"([\\`*_\[\]<>|~])")


def render(report: Report) -> str:
    """The whole report; what the model wrote stands in code fences and cannot become markup."""
    parts = [f"# {inline(report.title)}", inline(report.subtitle)]
    for section in report.sections:
        inside = [part for block in section.blocks for part in _block(block)]
        parts += [f"## {inline(section.title)}", *inside] if inside else []
    parts += [f"---\n{inline(report.footer)}"] if report.footer else []
    return "\n\n".join(parts) + "\n"


def inline(text: str) -> str:
    """Text whose characters mean nothing but themselves; `code` stays code."""
    parts = text.replace("\n", " ").split("`")
    if len(parts) % 2 == 0:  # an odd backtick is only a character
        return _SPECIAL.sub(r"\\\1", text.replace("\n", " "))
    return "`".join(part if number % 2 else _SPECIAL.sub(r"\\\1", part) for number, part in enumerate(parts))


def _block(block: Block) -> Iterator[str]:
    if isinstance(block, Text):
        yield f"**{inline(block.text)}**" if block.kind == "lead" else inline(block.text)
    elif isinstance(block, Heading):
        yield f"### {inline(block.text)}"
    elif isinstance(block, Table):
        yield _table(block)
    elif isinstance(block, Sayings):
        yield "\n".join(f"- **{inline(s.name)}** ({inline(s.level_word)}): {inline(s.text)}" for s in block.items)
    elif isinstance(block, Code):
        yield fenced("\n".join(block.lines))
    elif isinstance(block, Group):
        yield from _group(block)
    else:
        assert isinstance(block, Charts)


def _table(table: Table) -> str:
    rule = ["---:" if column in table.numbers else "---" for column in range(len(table.head))]
    rows: list[Sequence[str]] = [[inline(cell) for cell in table.head], rule]
    rows += [[inline(cell) for cell in row] for row in table.rows]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _group(group: Group) -> Iterator[str]:
    yield f"### {inline(group.title)}"
    yield f"{inline(group.prompt_word)}:"
    yield fenced(group.prompt)
    for completion in group.completions:
        yield f"**{inline(completion.title)}**: {inline(completion.facts)}"
        yield fenced(completion.text)


def fenced(text: str) -> str:
    """In a fence that is longer than any run of backticks in the text."""
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}text\n{text}\n{fence}"
