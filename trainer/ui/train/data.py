"""The rows of a form shown: as they stand in the file, as prompts, how long they are, what is odd about them.

HTML from trainer.ui.elements; no gradio. Local files are read here, the first rows only where they are large; a Hub
dataset and all rows of a large file are read by a process of its own (aside.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from trainer import presets
from trainer.data import guess, preview, shapes
from trainer.data.preview import Glance
from trainer.data.rows import needed_columns, own_arguments, wanted
from trainer.errors import DataError
from trainer.spec import RunSpec
from trainer.tasks import catalogue, generated
from trainer.text import Message, Words
from trainer.ui.elements import element, escape
from trainer.ui.train import aside, hub_rows, rows, tokens
from trainer.ui.train import form as forms
from trainer.ui.train.fixes import key_of
from trainer.ui.train.form import Form
from trainer.ui.train.tokens import Reader

DELIMITERS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}
LEFT_OUT = ("data.eval_path", "data.eval_split", "data.few_shot", "data.instruction", "model.warm_start", "data.name")
"""Keys of the preset's other rows, as they are named when somebody's own take their place."""
SHOWN_ROWS, SHOWN_PROMPTS = 5, 3
MOST_BARE = 2  # words of a prompt that asks nothing
CELL, PROMPT = 160, 4000  # characters shown
SURVEY_S = 300.0


def shown(form: Form, ask: Any, say: Words) -> str:
    """The panel under Data. ask: `fetch` the first rows of a Hub dataset, look at `all` rows; else what is at hand.

    Raises TrainerError for settings that are wrong elsewhere than in the data.
    """
    spec = _spec(form)
    told = ""
    if spec.data.path is None and rows.fetched(spec) is None:
        if ask != "fetch":
            return element("p", say("train.rows_on_hub", name=spec.data.name or "-"), "g-empty") + _button("fetch", say)
        hub_rows.fetched(spec)
    if ask == "all" and spec.data.path is not None:
        told = _survey(aside.run("survey", spec, {}, SURVEY_S), say)
    try:
        glance: Glance | None = rows.glanced(spec)
        wrong = ""
    except DataError as error:
        glance = None
        said = [each.said(say) for each in error.problems]
        items = "".join(f"<li>{element('b', each.where)} {escape(each.what)}</li>" for each in said)
        wrong = f'<div class="g-wrong"><p>{escape(say("train.rows_wrong"))}</p><ul>{items}</ul></div>'
    raw = _raw(spec)
    typed = {key_of(change) for change in form.changes}
    is_own = "data.path" in typed if spec.data.path else {"data.name", "data.eval_fraction"} <= typed
    own = _own(form, spec, say) if is_own and spec.data.task is None else ""
    pieces = [own, _task(spec, say), _mapping(spec, raw, say), wrong, told, _table(raw, say)]
    if glance is not None:
        pieces += [_counts(spec, glance, bool(told), say), *_prompts(spec, glance, say)]
    return "".join(pieces)


def _spec(form: Form) -> RunSpec:
    """The settings, with the rows unread."""
    base = forms.source(form)
    draft = presets.draft(base.raw, form.changes, base.where)
    if draft.spec is None:
        raise forms.HeldBack(draft.problems)
    return draft.spec


def _button(ask: str, say: Words) -> str:
    key = {"fetch": "train.fetch", "all": "train.look_all"}[ask]
    return f'<button type="button" data-ask="{ask}">{escape(say(key))}</button>'


def _raw(spec: RunSpec) -> list[dict[str, Any]]:
    """The first rows under their own columns."""
    fetched = rows.fetched(spec)
    if fetched is not None:
        return fetched.rows[:SHOWN_ROWS]
    try:
        return preview.first_records(str(spec.data.path), SHOWN_ROWS, spec.data.encoding)
    except DataError:
        return []


# ---- pieces


def _own(form: Form, spec: RunSpec, say: Words) -> str:
    """Somebody's own file: how it was read, what is held out, what of the preset's is left out, and the way back."""
    path, told = str(spec.data.path or spec.data.name), list[str]()
    try:
        delimiter = guess.delimiter(path, spec.data.encoding) if spec.data.path else ""
    except (OSError, DataError):
        delimiter = ""
    if spec.data.encoding:
        told.append(say("own.encoding", name=spec.data.encoding.upper()))
    if delimiter:
        told.append(say(f"own.delimiter.{DELIMITERS.get(delimiter, 'other')}", sign=delimiter))
    if spec.data.eval_fraction is not None:
        told.append(say("own.held_out", share=spec.data.eval_fraction))
    told.append(say("own.model", model=spec.model.name.rpartition("/")[2]))
    if (bare := _bare(spec)) is not None:
        told.append(say("own.bare", example=bare))
    gone = [key for key in LEFT_OUT if f"{key}=" in form.changes]
    if spec.data.path is None:
        told.append(say("own.on_hub", count=hub_rows.FETCHED))
    if gone:
        told.append(say("own.left_out", keys=gone))
    name = element("b", path.replace("\\", "/").rpartition("/")[2])
    back = f'<button type="button" data-own-back>{escape(say("own.back"))}</button>'
    return f'<div class="t-own"><p>{name} {escape(" ".join(told))}</p>{back}</div>'


def _bare(spec: RunSpec) -> str | None:
    """The first prompt where all there is to read is a word or two: nobody would know what is asked."""
    if spec.data.prompt_template != "{prompt}":
        return None
    column = spec.data.columns.get("prompt", "prompt")
    prompts = [str(row.get(column, "")) for row in _raw(spec)]
    bare = [
        one for one in prompts if one and len(one.split()) <= MOST_BARE and not one.rstrip().endswith(("?", "\uff1f"))
    ]
    return bare[0] if prompts and len(bare) == len(prompts) else None


def _task(spec: RunSpec, say: Words) -> str:
    """Rows that were made here: by what, and what came with them."""
    if spec.data.task is None:
        return ""
    told = say("own.task", package=catalogue.PACKAGE, version=generated.version_of(str(spec.data.path)) or "-")
    return f'<div class="t-own"><p>{element("b", spec.data.task)} {escape(told)}</p></div>'


def _mapping(spec: RunSpec, raw: Sequence[dict[str, Any]], say: Words) -> str:
    """Ours = theirs, for every column the templates and rewards read; theirs may lie inside an object."""
    theirs = list(dict.fromkeys(name for row in raw for name in shapes.leaves(row)))
    if not theirs or spec.data.task is not None:  # of a task the columns are what they are
        return ""
    chosen = []
    taken = shapes.mapped(raw[0], spec.data, wanted(spec)).taken
    for ours in dict.fromkeys([*needed_columns(spec), *own_arguments(spec), *spec.data.columns]):
        now = spec.data.columns.get(ours, ours)
        names = theirs
        if now not in theirs and shapes.reach(raw[0], now) is not shapes.NOTHING:
            names = [*theirs, now]  # a place in a list
        hint = say("train.taken", theirs=taken[ours]) if ours in taken else ""
        hint = hint or ("" if now in names else say("train.no_column"))
        options = f'<option value="" selected>{escape(hint)}</option>' if hint else ""
        options += "".join(
            f'<option value="{escape(name)}"{" selected" if name == now and not hint else ""}>{escape(name)}</option>'
            for name in names
        )
        word = element("span", say(f"own.column.{ours}")) + " " if f"own.column.{ours}" in say else ""
        select = f'<select data-column="{escape(ours)}">{options}</select>'
        chosen.append(f"<label>{word}<code>{escape(ours)}</code> = {select}</label>")
    used = {spec.data.columns.get(ours, ours) for ours in (*wanted(spec), *spec.data.columns)} | {*taken.values()}
    rest = [name for name in raw[0] if name not in used]
    others = element("p", say("own.rest", names=rest), "t-small") if rest else ""
    return f'<div class="t-mapping"><h4>{escape(say("train.mapping"))}</h4>{"".join(chosen)}{others}</div>'


def _table(raw: Sequence[dict[str, Any]], say: Words) -> str:
    if not raw:
        return ""
    columns = list(dict.fromkeys(str(name) for row in raw for name in row))
    heads = "".join(element("th", name) for name in columns)
    body = "".join(f"<tr>{''.join(_cell(row.get(name, '')) for name in columns)}</tr>" for row in raw)
    head = element("h4", say("train.first_rows", count=len(raw)))
    return f'{head}<div class="t-scroll" tabindex="0"><table class="t-rows"><tr>{heads}</tr>{body}</table></div>'


def _cell(value: Any) -> str:
    """A few lines of it: a task's own notes on a row must not push the rest off a phone's screen."""
    return f"<td>{element('div', _cut(str(value), CELL))}</td>"


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[:most]} \u2026"


def _counts(spec: RunSpec, glance: Glance, told: bool, say: Words) -> str:
    """How many rows, duplicates, leaks; and what is odd."""
    found, is_all = glance.found, glance.is_all
    try:
        whole = rows.surveyed(spec)
    except DataError:
        whole = None  # what is wrong farther down is said beside the field
    if whole is not None:
        found, is_all = whole, True
    key = "train.all_rows" if is_all else "train.some_rows"
    numbers = {"rows": found.rows or 0, "held": found.held_out or 0, "twice": found.duplicates, "leaked": found.leaked}
    shown = element("p", say(key, **numbers))
    if not is_all and spec.data.path is not None and not told:
        shown += _button("all", say)
    return shown + _listed([say.said(each) for each in found.warnings])


def _survey(found: dict[str, Any], say: Words) -> str:
    numbers = {"rows": found["rows"] or 0, "held": found["held_out"] or 0}
    told = say("train.all_rows", **numbers, twice=found["duplicates"], leaked=found["leaked"])
    said = [say.said(Message.read(each)) for each in found["warnings"]]
    return f'<div class="g-right">{element("p", told)}{_listed(said)}</div>'


def _listed(texts: Sequence[str]) -> str:
    return f'<ul class="t-list">{"".join(element("li", text) for text in texts)}</ul>' if texts else ""


def _prompts(spec: RunSpec, glance: Glance, say: Words) -> list[str]:
    """Prompts as they are sent, and how long all of them are."""
    prompts, shown = [row["prompt"] for row in glance.rows], []
    try:
        reader = tokens.reader(spec)
        sent = reader.sent(prompts)
    except DataError as error:
        reader = tokens.reader(spec, with_template=False)
        sent = reader.sent(prompts)
        said = error.problems[0].said(say).what
        shown.append(element("p", say("train.template_fails", error=said[:200]), "t-small"))
    counts = [reader.tokens(prompt, text) for prompt, text in zip(prompts, sent, strict=True)]
    first = zip(prompts[:SHOWN_PROMPTS], sent, counts, strict=False)
    shown += [_prompt(prompt, reader, text, count, say) for prompt, text, count in first]
    return [element("h4", say("train.as_sent")), *shown, _lengths(spec, counts, reader, say)]


def _prompt(prompt: Any, reader: Reader, sent: str | None, count: int, say: Words) -> str:
    """Text, or messages with their roles; in the model's template too where that is on this machine."""
    about = element("p", say(f"train.tokens_{reader.basis}", count=count), "t-small")
    if isinstance(prompt, str):
        return f'<div class="t-prompt">{_block(prompt)}{about}</div>'
    messages = "".join(f"{element('b', str(each['role']))}{_block(str(each['content']))}" for each in prompt)
    if sent is None:
        put = element("p", say("train.no_template"), "t-small")
    else:
        put = f"<details>{element('summary', say('train.in_template'))}{_block(sent)}</details>"
    return f'<div class="t-prompt">{messages}{put}{about}</div>'


def _block(text: str) -> str:
    return f'<pre class="t-pre" tabindex="0">{escape(_cut(text, PROMPT))}</pre>'


def _lengths(spec: RunSpec, counts: Sequence[int], reader: Reader, say: Words) -> str:
    """A histogram of tokens with the limit, and what becomes of what is longer."""
    limit = spec.data.max_prompt_length
    bars = tokens.histogram(counts, limit)
    most = max((number for _, _, number in bars), default=0) or 1
    top = bars[-1][1] + 1
    drawn = "".join(
        f'<i class="{"t-over" if low > limit else ""}" style="height:{100 * number / most:.1f}%"'
        f' title="{low}-{high}: {number}"></i>'
        for low, high, number in bars
    )
    over = sum(count > limit for count in counts)
    ordered = sorted(counts)
    middle, longest = (ordered[len(ordered) // 2], ordered[-1]) if ordered else (0, 0)
    told = say("train.lengths", middle=middle, longest=longest, limit=limit)
    fate = say(f"train.over_{spec.data.overlong}", count=over, all=len(counts)) if over else say("train.over_none")
    basis = say(f"train.basis_{reader.basis}")
    mark = f'<u style="left:{100 * limit / top:.1f}%"></u>'
    return (
        f"<details{' open' if over else ''}>{element('summary', say('train.length_head'))}"
        f"{element('p', f'{told} {fate}')}"
        f'<div class="t-hist" role="img" aria-label="{escape(f"{told} {fate}")}">{drawn}{mark}</div>'
        f'<p class="t-axis"><span>0</span><span>{top}</span></p>{element("p", basis, "t-small")}</details>'
    )
