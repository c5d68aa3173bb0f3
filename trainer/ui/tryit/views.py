"""Views of a run that is tried: questions, answers and their rewards, a conversation. Values -> HTML; no gradio.

What a model wrote and what was typed goes through `escape`. Class names are those of style.css of this room.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from trainer.errors import Problem
from trainer.show.charts import Style
from trainer.spec import RunSpec
from trainer.text import Message, Words, forms
from trainer.tryit.parent import IDLE_S
from trainer.tryit.reading import Answered, Process, Side
from trainer.tryit.request import SIDES
from trainer.ui import elements
from trainer.ui.elements import element, escape

_DOTS = {"ready": "running", "answering": "running", "starting": "starting", "loading": "starting", "lost": "lost"}


def status(found: Process, step: int, spec: RunSpec | None, words: Words) -> str:
    """Is a model loaded, which, and what follows: in a sentence."""
    device = words(f"tryit.state.{'gpu' if _on_gpu(found, spec) else 'cpu'}")
    key = found.state
    if key == "ended":
        key = f"ended_{found.why}" if found.why in ("idle", "asked") else "ended_failed"  # type: ignore[assignment]
    if key == "answering" and found.step is None:
        key = "loading"
    shown = found.step if found.step is not None else step
    text = words(f"tryit.state.{key}", step=f"{shown:,}", device=device, idle=words.duration(IDLE_S))
    kind = _DOTS.get(found.state, "stopped")
    parts = [f'<p class="try-state">{elements.dot(kind)}{escape(text)}</p>']  # type: ignore[arg-type]
    if found.at_work and found.device == "cuda":
        parts.append(element("p", words("tryit.state.busy"), "g-more"))
    if spec is not None and not spec.data.chat:
        parts.append(element("p", words("tryit.plain"), "g-more"))
    if spec is not None and spec.data.prompt_template != "{prompt}":
        template = forms.printable(spec.data.prompt_template.replace("\n", " \u21b5 "))[:300]
        parts.append(element("p", words("tryit.template", template=template), "g-more"))
    return "".join(parts)


def judge(run: str, words: Words) -> str:
    """What can be done with a reward model: nothing here."""
    return element("p", words("tryit.judge", run=run), "try-state")


def _on_gpu(found: Process, spec: RunSpec | None) -> bool:
    if found.device is not None:
        return found.device == "cuda"
    return spec is not None and spec.model.device == "cuda"


def question(one: Answered | None, words: Words) -> str:
    """What was asked, and of a held-out row what would be right."""
    if one is None:
        return ""
    if one.request.row is None:
        text = one.request.turns[-1]["content"] if one.request.turns else ""
        return element("h3", words("tryit.asked")) + _text(text)
    if one.prompt is None:
        return element("h3", words("tryit.row_wait")) + _text("")
    row, rows = (one.row or 0) + 1, one.rows or 0
    parts = [element("h3", words("tryit.row", row=f"{row:,}", rows=f"{rows:,}"))]
    if isinstance(one.prompt, list):
        for message in one.prompt:
            role = str(message.get("role", ""))
            named = words(f"tryit.role_{role}") if f"tryit.role_{role}" in words else role
            parts.append(element("p", named, "try-role") + _text(str(message.get("content", ""))))
    else:
        parts.append(_text(str(one.prompt)))
    gold = words("tryit.gold_none") if one.gold is None else one.gold
    parts.append(element("p", words("tryit.gold"), "try-role") + _text(gold))
    return "".join(parts)


def answers(one: Answered | None, colours: Mapping[str, Style], words: Words) -> str:
    """Base left, tuned right, always of the same size; above them what the rewards say of the two."""
    cards = "".join(_card(one, side, colours, words) for side in SIDES)
    above = question(one, words)
    verdict = _verdict(one, words)
    if one is not None and one.problems:
        verdict += refused(one.problems, words)
    return f'<div class="try-asked">{above}</div>{verdict}<div class="try-pair">{cards}</div>'


def refused(found: Sequence[Problem], words: Words) -> str:
    """Why a question was not answered, or an export not started."""
    return elements.problems(words("tryit.failed"), found, words("train.type_this"), words)


def no_gguf(problem: Problem, words: Words) -> str:
    """Why no GGUF file can be made here, and what would change that."""
    if problem.key == "export.tool_missing":
        return words("tryit.export.no_llama_cpp", variable=problem.values["variable"])
    return words("tryit.export.no_tool", what=str(problem.said(words)))


def _verdict(one: Answered | None, words: Words) -> str:
    paid = {name: side.reward for name, side in (one.sides if one else {}).items()}
    base, tuned = paid.get("base"), paid.get("tuned")
    if base is None or tuned is None:
        return ""
    key = "paid_same" if tuned == base else "paid_more" if tuned > base else "paid_less"
    difference = forms.number(abs(tuned - base))
    values = {"tuned": forms.number(tuned), "base": forms.number(base), "more": difference, "less": difference}
    return element("p", words(f"tryit.{key}", **values), "g-lead")


def _card(one: Answered | None, side: str, colours: Mapping[str, Style], words: Words) -> str:
    step = one.step if one is not None else None
    note = words("tryit.base_note" if side == "base" else "tryit.tuned_none")
    if side == "tuned" and step is not None:
        note = words("tryit.tuned_note", step=f"{step:,}")
    head = f"<h3>{escape(words(f'tryit.{side}'))} <small>{escape(note)}</small></h3>"
    said = one.sides.get(side) if one is not None else None
    foot = "".join(element("p", text, "try-foot") for text in _feet(one, side, said, words))
    scores = _scores(said, colours, words) if said is not None and said.tokens is not None else ""
    body = (
        _text(said.text, "try-answer") if said is not None and said.text else '<div class="try-text try-answer"></div>'
    )
    return (
        f'<section class="try-card" aria-label="{escape(words(f"tryit.{side}"))}">{head}{body}{foot}{scores}</section>'
    )


def _feet(one: Answered | None, side: str, said: Side | None, words: Words) -> list[str]:
    """What stands below an answer, in every state of it."""
    if one is None:
        return [words("tryit.empty")]
    if said is not None and said.tokens is not None:
        parts = [] if said.text else [words("tryit.nothing")]
        seconds = said.seconds or 0.0
        values = {"tokens": f"{said.tokens:,}", "time": words.duration(seconds)}
        rate = forms.number(said.tokens / seconds) if seconds > 0.1 else None
        parts.append(words("tryit.foot", rate=rate, **values) if rate else words("tryit.foot_short", **values))
        return [*parts, words("tryit.cut", tokens=f"{said.tokens:,}")] if said.truncated else parts
    if one.progress == "answering":
        before = SIDES[: SIDES.index(side)]
        turn = all(
            name in one.sides and one.sides[name].tokens is not None for name in before if name in one.request.sides
        )
        return [words("tryit.writing" if turn else "tryit.waiting")]
    return [words(f"tryit.{'empty' if one.progress == 'done' else one.progress}")]


def _scores(said: Side, colours: Mapping[str, Style], words: Words) -> str:
    """Each component with a bar in its colour, the total, right or wrong."""
    if not said.components and said.reward is None:
        return ""
    top = max([1.0, *(abs(value) for value in said.components.values() if value is not None)])
    rows = []
    for name, value in said.components.items():
        width = 0.0 if value is None else 100 * abs(value) / top
        bar = f'<span class="try-bar"><i class="try-{colours.get(name, "c8")}" style="width:{width:.0f}%"></i></span>'
        shown = escape(forms.number(value) if value is not None else "-")
        rows.append(f"<tr><th>{escape(name)}</th><td>{bar}</td><td>{shown}</td></tr>")
    total = forms.number(said.reward) if said.reward is not None else "-"
    mark = {True: f"\u2713 {words('tryit.right')}", False: f"\u2715 {words('tryit.wrong')}", None: ""}[said.correct]
    rows.append(
        f'<tr class="try-total"><th>{escape(words("tryit.reward"))}</th><td>{escape(mark)}</td>'
        f"<td>{escape(total)}</td></tr>"
    )
    failures = [f"{name}: {words.said(Message.read(why))}" for name, why in said.failures.items()]
    failed = "".join(
        element("p", words("tryit.unjudged", why=forms.printable(why)[:300]), "try-foot") for why in failures
    )
    return f'<table class="try-scores"><tbody>{"".join(rows)}</tbody></table>{failed}'


def earlier(found: Sequence[Answered], words: Words) -> str:
    """Questions before the one that is shown, folded, the newest first."""
    items = []
    for one in reversed(found):
        asked = one.request.turns[-1]["content"] if one.request.turns else _last(one.prompt)
        lines = [f"{words(f'tryit.{side}')}: {said.text}" for side, said in one.sides.items()]
        items.append(f"<li>{element('p', asked[:200], 'try-role')}{_text(chr(10).join(lines))}</li>")
    if not items:
        return ""
    return f'<details>{element("summary", words("tryit.earlier"))}<ol class="try-list">{"".join(items)}</ol></details>'


def _last(prompt: Any) -> str:
    return str(prompt[-1].get("content", "")) if isinstance(prompt, list) and prompt else str(prompt or "")


def conversation(found: Sequence[Answered], spec: RunSpec | None, words: Words) -> str:
    """What was said, the oldest first, with who said it."""
    if not found:
        alone = spec is not None and not spec.data.chat
        return element("p", words("tryit.chat.alone" if alone else "tryit.chat.empty"), "g-empty")
    turns = []
    for one in found:
        text = one.request.turns[-1]["content"] if one.request.turns else ""
        turns.append(
            f'<div class="try-turn try-user">{element("p", words("tryit.role_user"), "try-role")}{_text(text)}</div>'
        )
        side = one.request.sides[0]
        said = one.sides.get(side)
        foot = "".join(element("p", line, "try-foot") for line in _feet(one, side, said, words))
        body = _text(said.text) if said is not None and said.text else ""
        body += refused(one.problems, words) if one.problems else ""
        turns.append(f'<div class="try-turn">{element("p", words(f"tryit.{side}"), "try-role")}{body}{foot}</div>')
    return f'<div class="try-talk" tabindex="0">{"".join(turns)}</div>'


def _text(text: str, kind: str = "") -> str:
    """As it was written: line ends and spaces stay, wide lines are broken."""
    return f'<div class="{f"try-text {kind}".strip()}">{escape(text)}</div>'
