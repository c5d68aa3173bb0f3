"""One prompt through the run: its reward at every step it was asked at, the best completion of each, two side by side.

Pure functions; the groups are read by `texts`, which the caller gives.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from trainer.run.groups import Completion, Group
from trainer.show import charts
from trainer.show.downsampling import picture
from trainer.text import Words, forms
from trainer.ui import elements
from trainer.ui.groups.cards import chip
from trainer.ui.groups.index import Appearance
from trainer.ui.groups.listing import SHAPES
from trainer.ui.groups.safe_text import inert, plain

MOST_ROWS = 24  # whose best completion is shown
_SHORT = 160
_SIDE = 4000
Texts = Callable[[Appearance], Group | None]


def history(
    found: Sequence[Appearance], share: float, step: int, pair: tuple[int | None, int | None], texts: Texts, say: Words
) -> str:
    """found: in order. share: of the files that is read. step: the one that is looked at."""
    reading = "" if share >= 1 else elements.element("p", say("groups.reading", share=share), "gg-reading")
    title = elements.element("h3", say("groups.history")) + reading
    if not found:
        return f'<div class="gg-history">{title}</div>'
    if len(found) == 1 and share >= 1:
        once = elements.element("p", say("groups.history_once", step=found[0].step), "g-empty")
        return f'<div class="gg-history">{title}{once}</div>'
    shown = sampled(found, MOST_ROWS)
    left, right = sides(found, pair)
    picture = charts.render(_chart(found, step, say), say("chart.step"), say("groups.history_none"))
    some = elements.element("p", say("groups.history_some", shown=len(shown), count=len(found)), "g-empty")
    rows = "".join(_row(one, one.step == step, (left, right), texts, say) for one in shown)
    head = "".join(
        elements.element("th", say(f"groups.history_{name}")) for name in ("step", "paid", "best", "compare")
    )
    table = f'<table class="gg-times"><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>'
    table = f'<div class="gg-scroll" tabindex="0">{table}</div>'
    below = some if len(shown) < len(found) else ""
    return f'<div class="gg-history">{title}{picture}{table}{below}{_beside(left, right, texts, say)}</div>'


def sampled(found: Sequence[Appearance], most: int) -> list[Appearance]:
    """At most `most`, the first and the last among them, evenly between."""
    if len(found) <= most:
        return list(found)
    return [found[round(n * (len(found) - 1) / (most - 1))] for n in range(most)]


def sides(found: Sequence[Appearance], pair: tuple[int | None, int | None]) -> tuple[Appearance, Appearance]:
    """The two that are compared: those of the steps that were picked, else the first and the last."""
    by_step = {one.step: one for one in found}
    left, right = (by_step.get(step) if step is not None else None for step in pair)
    return left or found[0], right or found[-1]


def _chart(found: Sequence[Appearance], step: int, say: Words) -> charts.Chart:
    means = [(one.step, one.mean) for one in found if one.mean is not None]
    stds = [(one.step, one.std) for one in found if one.std is not None]
    few = len(found) <= 60
    lines = [
        charts.Line(say("groups.history_spread"), "dotted", picture(*_columns(stds), points=charts.MOST_POINTS // 2)),
        charts.Line(
            say("groups.history_mean"),
            "joined" if few else "strong",
            picture(*_columns(means), points=charts.MOST_POINTS // 2),
        ),
    ]
    return charts.Chart(say("groups.history_chart"), lines, low=0.0, headline=False, marks=[step])


def _columns(points: Sequence[tuple[int, float]]) -> tuple[list[int], list[float]]:
    return [step for step, _ in points], [value for _, value in points]


def _best(one: Appearance, texts: Texts) -> Completion | None:
    group = texts(one)
    return group.completions[one.best] if group is not None and one.best < len(group.completions) else None


def _row(one: Appearance, here: bool, pair: tuple[Appearance, Appearance], texts: Texts, say: Words) -> str:
    best = _best(one, texts)
    text = say("groups.history_gone") if best is None else plain(best.text, _SHORT) or say("groups.text_empty")
    paid = "" if best is None else elements.element("b", forms.number(best.reward)) + " "
    mark = ' class="gg-current" aria-current="true"' if here else ""
    go = f'<button type="button" class="gg-link" data-step="{one.step}" data-group="{one.place}">{one.step:,}</button>'
    told = say("groups.row", mean=forms.number(one.mean), spread=forms.number(one.std))
    outcome = f"{SHAPES[one.outcome]} {say(f'groups.{one.outcome}')}"
    picks = "".join(
        f'<button type="button" class="gg-pick" data-side="{side}" data-at="{one.step}" '
        f'aria-pressed="{str(one is chosen).lower()}">{elements.escape(say(f"groups.side_{side}"))}</button>'
        for side, chosen in zip(("left", "right"), pair, strict=True)
    )
    state = elements.element("span", outcome, f"gg-outcome gg-{one.outcome}")
    return (
        f"<tr{mark}><td>{go}</td><td>{elements.escape(told)}<br>{state}</td>"
        f'<td class="gg-short">{paid}<span dir="auto">{elements.escape(text)}</span></td><td>{picks}</td></tr>'
    )


def _beside(left: Appearance, right: Appearance, texts: Texts, say: Words) -> str:
    if left is right:
        return ""
    made = "".join(_side(one, texts, say) for one in (left, right))
    return elements.element("h4", say("groups.beside")) + f'<div class="gg-beside">{made}</div>'


def _side(one: Appearance, texts: Texts, say: Words) -> str:
    best = _best(one, texts)
    head = elements.element("b", say("groups.side", step=f"{one.step:,}"))
    if best is None:
        return f"<div>{head}{elements.element('p', say('groups.history_gone'), 'g-empty')}</div>"
    head += elements.element("span", forms.number(best.reward), "gg-paid") + chip(best.advantage, say)
    shown = inert(best.text[:_SIDE]) + ("\u2026" if len(best.text) > _SIDE else "")
    return f'<div><p class="gg-card-head">{head}</p><div class="gg-text" dir="auto" tabindex="0">{shown}</div></div>'
