"""The rewards of a form tried on a few rows, before anything is trained: which answer gets which reward?

In a process of its own (aside.py): rewards are a person's code or hold a model. HTML; no gradio.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from trainer.errors import Problem, SpecError
from trainer.preflight import rewards as preflight
from trainer.rewards import check
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
    return _verdict(found, say) + _table(found["tries"], say)


def _verdict(found: dict[str, Any], say: Words) -> str:
    problems = [Problem.read(each).said(say) for each in found["wrong"]]
    told = [f"{one.where}: {one.what}" for one in problems]
    told += [say.said(Message.read(each)) for each in found["warnings"]]
    if not told:
        return f'<div class="g-right" role="status">{element("p", say("train.try_good"))}</div>'
    items = "".join(element("li", text) for text in told)
    return f'<div class="g-wrong" role="status"><ul>{items}</ul></div>'


def _table(tries: Sequence[dict[str, Any]], say: Words) -> str:
    names = list(tries[0]["components"]) if tries else []
    heads = [say("train.try_row"), say("train.try_answer"), say("train.try_reward"), *names]
    body = []
    for one in tries:
        kind = say(
            "train.try_typed_one" if one["what"] == check.TYPED else f"train.try_{one['what'].replace(' ', '_')}"
        )
        answer = f"{element('b', kind)} {escape(one['completion'][:80])}"
        cells = [str(one["row"]), None, _number(one["reward"]), *(_of(one, name, say) for name in names)]
        tds = "".join(f"<td>{answer}</td>" if cell is None else element("td", cell) for cell in cells)
        body.append(f"<tr>{tds}</tr>")
    head = "".join(element("th", name) for name in heads)
    return f'<div class="t-scroll" tabindex="0"><table class="t-rows"><tr>{head}</tr>{"".join(body)}</table></div>'


def _of(one: dict[str, Any], name: str, say: Words) -> str:
    failed = one["failures"].get(name)
    if name in one["unpaid"]:
        return say("rewards.try.unpaid", value=_number(one["unpaid"][name]))
    return f"! {say.said(Message.read(failed))}" if failed else _number(one["components"].get(name))


def _number(value: float | None) -> str:
    return "-" if value is None else numbers.number(value)
