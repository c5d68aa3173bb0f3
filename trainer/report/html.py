"""A report as one self-contained HTML file: opens offline, prints well, runs no script, fetches nothing.

Every text goes through trainer.show.markup.escape: what a model wrote stays inert, and the file's own policy forbids
scripts and anything from elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from trainer.report.document import Block, Charts, Code, Group, Heading, Report, Said, Sayings, Section, Table, Text
from trainer.show import charts
from trainer.show.markup import element, escape

STYLE = Path(__file__).with_name("report.css")
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
# Never colour alone: each level also has a shape, and its word stands beside it.
_SHAPES = {"red": "\u25a0", "amber": "\u25b2", "green": "\u25cf", "note": "\u25cb", "unknown": "?", "na": "\u2013"}


def render(report: Report) -> str:
    """The whole file."""
    style = "\n".join(path.read_text(encoding="utf-8") for path in (charts.STYLE, STYLE))
    contents = "".join(f'<li><a href="#{s.id}">{escape(s.title)}</a></li>' for s in report.sections)
    body = sections(report)
    head = (
        f'<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}"><meta name="color-scheme" content="light">'
        f"<title>{escape(report.title)}</title><style>\n{style}</style>"
    )
    return (
        f'<!doctype html>\n<html lang="{report.language}"><head>{head}</head><body><main>'
        f"<header>{element('h1', report.title)}{element('p', report.subtitle, 'r-small')}</header>"
        f"<nav><ol>{contents}</ol></nav>{body}<footer>{inline(report.footer)}</footer></main></body></html>\n"
    )


def sections(report: Report) -> str:
    """All sections, without the document around them: for a page that has styles of its own for the r-classes."""
    return "".join(map(_section, report.sections))


def _section(section: Section) -> str:
    inside = "".join(part for block in section.blocks for part in _block(block))
    return f'<section id="{section.id}">{element("h2", section.title)}{inside}</section>\n'


def _block(block: Block) -> Iterator[str]:
    if isinstance(block, Text):
        yield f'<p class="r-{block.kind}">{inline(block.text)}</p>'
    elif isinstance(block, Heading):
        yield element("h3", block.text)
    elif isinstance(block, Table):
        yield _table(block)
    elif isinstance(block, Sayings):
        yield f'<ul class="r-said">{"".join(map(_said, block.items))}</ul>'
    elif isinstance(block, Code):
        yield f"<pre>{escape(chr(10).join(block.lines))}</pre>"
    elif isinstance(block, Group):
        yield _group(block)
    else:
        assert isinstance(block, Charts)
        drawn = "".join(charts.render(chart, block.step, block.empty) for chart in block.charts)
        yield f'<div class="r-charts">{drawn}</div>'


def inline(text: str) -> str:
    """Escaped text with `code` as code."""
    parts = text.split("`")
    if len(parts) % 2 == 0:  # an odd backtick is only a character
        return escape(text)
    return "".join(element("code", part) if number % 2 else escape(part) for number, part in enumerate(parts))


def _cell(text: str) -> str:
    """A long name may be broken after its slashes, and nowhere else."""
    return inline(text).replace("/", "/<wbr>") if " " not in text else inline(text)


def _said(said: Said) -> str:
    shape = f'<span class="r-shape" aria-hidden="true">{_SHAPES[said.level]}</span>'
    word = f'<span class="r-level">{shape} {escape(said.level_word)}</span>'
    return f'<li class="r-{said.level}">{word}<div>{element("b", said.name)} {inline(said.text)}</div></li>'


def _table(table: Table) -> str:
    def cells(tag: str, row: object) -> str:
        assert isinstance(row, list | tuple)
        return "".join(
            f'<{tag} class="{_kind(table, column)}">{_cell(cell)}</{tag}>' for column, cell in enumerate(row)
        )

    head = f"<thead><tr>{cells('th', list(table.head))}</tr></thead>" if any(table.head) else ""
    body = "".join(f"<tr>{cells('td', list(row))}</tr>" for row in table.rows)
    kind = "r-table" if any(table.head) else "r-table r-facts"
    return f'<div class="r-wide"><table class="{kind}">{head}<tbody>{body}</tbody></table></div>'


def _kind(table: Table, column: int) -> str:
    return "r-number" if column in table.numbers else "r-course" if column == table.course else ""


def _group(group: Group) -> str:
    cards = []
    for completion in group.completions:
        sign = "zero" if not completion.advantage else "plus" if completion.advantage > 0 else "minus"
        title = element("b", completion.title)
        cards.append(
            f'<div class="r-completion r-{sign}"><p>{title} <span class="r-paid">{escape(completion.facts)}</span></p>'
            f"<pre>{escape(completion.text)}</pre></div>"
        )
    prompt = f'<p class="r-small">{escape(group.prompt_word)}</p><pre>{escape(group.prompt)}</pre>'
    return f'<div class="r-group">{element("h3", group.title)}{prompt}<div class="r-cards">{"".join(cards)}</div></div>'
