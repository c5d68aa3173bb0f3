"""The rewards of a form tried on a few rows, before anything is trained: which answer gets which reward?

In a process of its own (aside.py): rewards are a person's code or hold a model. HTML; no gradio.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from trainer.errors import Problem, SpecError
from trainer.preflight import rewards as preflight
from trainer.rewards import check
from trainer.spec import Reward
from trainer.text import Message, Words
from trainer.text import forms as numbers
from trainer.ui.elements import element, escape
from trainer.ui.train import actions, aside, rows
from trainer.ui.train import form as forms
from trainer.ui.train.form import Form

ROWS = 3
MOST_TYPED = 4000  # characters of an answer of one's own
LIMIT_S = 120.0


def shown(form: Form, typed: Any, say: Words) -> str:
    """A table: rows and answers down, the reward and its components across. Raises TrainerError."""
    checked = actions.check(form)
    if checked.spec is None:
        raise (forms.HeldBack if checked.held_back else SpecError)(checked.problems)
    spec = checked.spec
    problems = list(preflight.problems(spec))
    if problems:
        raise SpecError(problems)
    if spec.data.path is None and rows.fetched(spec) is None:
        raise SpecError(Problem("page.fetch_first", "data.name"))
    own = [typed[:MOST_TYPED]] if isinstance(typed, str) and typed.strip() else []
    # A local file is read there: JSON has no dates and no Decimal.
    given = rows.glanced(spec).rows if spec.data.path is None else None
    found = aside.run("trial", spec, {"rows": given, "tried": ROWS, "typed": own}, LIMIT_S)
    linear = None if any(each.components for each in spec.reward.components) else spec.reward
    return _verdict(found, say) + _kinds(found["tries"], say) + _folded(_table(found["tries"], linear, say), say)


def _verdict(found: dict[str, Any], say: Words) -> str:
    problems = [Problem.read(each).said(say) for each in found["wrong"]]
    told = [f"{one.where}: {one.what}" for one in problems]
    told += [say.said(Message.read(each)) for each in found["warnings"]]
    if not told:
        return f'<div class="g-right" role="status">{element("p", say("train.try_good"))}</div>'
    items = "".join(element("li", text) for text in told)
    return f'<div class="g-wrong" role="status"><ul>{items}</ul></div>'


def _kinds(tries: Sequence[dict[str, Any]], say: Words) -> str:
    """What the right answer, an empty one and junk earn on the average; the script of the page keeps it true while
    weights are moved."""
    chips = []
    for what in (check.TYPED, check.GOLD, "empty", "junk"):
        paid = [one["reward"] for one in tries if one["what"] == what and one["reward"] is not None]
        if paid:
            mean = _number(sum(paid) / len(paid))
            chips.append(f'<span>{escape(say(_key(what)))} <b data-mean="{what}">{escape(mean)}</b></span>')
    rows = len({one["row"] for one in tries})
    over = element("span", say("train.try_mean", count=rows), "t-small") if rows > 1 else ""
    return f'<p class="t-kinds">{"".join(chips)}{over}</p>'


def _folded(table: str, say: Words) -> str:
    return f"<details><summary>{escape(say('train.try_all'))}</summary>{table}</details>"


def _key(what: str) -> str:
    return "train.try_typed_one" if what == check.TYPED else f"train.try_{what.replace(' ', '_')}"


def _table(tries: Sequence[dict[str, Any]], linear: Reward | None, say: Words) -> str:
    """linear: the reward where it is the weighted sum of the components that are shown."""
    names = list(tries[0]["components"]) if tries else []
    heads = [say("train.try_row"), say("train.try_answer"), say("train.try_reward"), *names]
    body = []
    for one in tries:
        answer = f"{element('b', say(_key(one['what'])))} {escape(one['completion'][:80])}"
        cells = [str(one["row"]), None, _number(one["reward"]), *(_of(one, name, say) for name in names)]
        tds = "".join(f"<td>{answer}</td>" if cell is None else element("td", cell) for cell in cells)
        values = "" if linear is None or one["failures"] else _values(one, linear)
        body.append(f'<tr data-what="{one["what"]}"{values}>{tds}</tr>')
    head = "".join(element("th", name) for name in heads)
    divided = f' data-divide="{linear.divide_by}"' if linear is not None else ""
    table = f'<table class="t-rows"{divided}><tr>{head}</tr>{"".join(body)}</table>'
    return f'<div class="t-scroll" tabindex="0">{table}</div>'


def _values(one: dict[str, Any], linear: Reward) -> str:
    """Of each component before its weight, for the script of the page."""
    found = [one["components"].get(each.title) for each in linear.components]
    return f' data-values="{escape(json.dumps(found))}"'


def _of(one: dict[str, Any], name: str, say: Words) -> str:
    failed = one["failures"].get(name)
    if name in one["unpaid"]:
        return say("rewards.try.unpaid", value=_number(one["unpaid"][name]))
    return f"! {say.said(Message.read(failed))}" if failed else _number(one["components"].get(name))


def _number(value: float | None) -> str:
    return "-" if value is None else numbers.number(value)
