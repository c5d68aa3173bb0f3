"""The controls of a form as HTML, without their values: the script of the page fills those in. No gradio."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from trainer.text import DEFAULT, Words
from trainer.ui.elements import escape
from trainer.ui.train import fields
from trainer.ui.train.fields import Field


def parts(say: Words) -> dict[str, str]:
    """{part of the form: its HTML}, everything that does not depend on the settings."""
    known = fields.sections()
    by_key = {field.key: field for field in fields.every()}
    own_place = {*fields.BASIC, *fields.BASIC_DATA, fields.COMPONENTS, fields.COLUMNS}

    def rest(section: str) -> list[Field]:
        return [field for field in known[section] if field.key not in own_place]

    advanced = [_folded(section, rest(section), say) for section in known if section not in ("", "data", "reward")]
    return {
        "data": _all((by_key[key] for key in fields.BASIC_DATA), say),
        "data_more": _folded("data", rest("data"), say),
        "reward_more": _folded("reward", rest("reward"), say),
        "basic": _all((by_key[key] for key in fields.BASIC), say),
        "advanced": "".join(advanced) + _trl(say) + control(by_key["titles"], say),
        "title": control(by_key["title"], say),
    }


def _all(found: Iterable[Field], say: Words) -> str:
    return "".join(control(field, say) for field in found)


def _folded(section: str, found: Sequence[Field], say: Words) -> str:
    about = fields.help_of(f"{section}.about", say)
    count = f'<span class="t-count" data-count="{escape(section)}."></span>'
    head = f"<summary><b>{escape(section)}</b> <span>{escape(about)}</span> {count}{_all_of_it(say)}</summary>"
    body = f'<div class="t-fields">{_all(found, say)}</div>'
    return f'<details class="t-fold" data-section="{escape(section)}">{head}{body}</details>'


def _all_of_it(say: Words) -> str:
    """Seen where a fold shows what is wrong in it, and nothing else."""
    return f' <span class="t-rest">{escape(say("train.show_rest"))}</span>'


def control(field: Field, say: Words, key: str = "", help_key: str = "", with_name: bool = True) -> str:
    """One field: label, control, help, what it started from, room for an error. key: where its value lies. with_name:
    as it is called in TOML, beside its words."""
    key = key or field.key
    if field.kind == "group":
        return _group(field, say)
    name = f"t-{key}"
    label = _label(field, help_key or key, say)
    is_named = with_name and label.lower().replace(" ", "_") != field.name
    term = f" <code>{escape(field.name)}</code>" if is_named else ""
    about = fields.help_of(help_key or key, say)
    hint = " ".join(filter(None, (about, _bounds(field, say))))
    undo = f'<button type="button" class="t-undo" data-undo="{escape(key)}" hidden></button>'
    return (
        f'<div class="t-field t-{field.kind}" data-field="{escape(key)}">'
        f'<label for="{escape(name)}" title="{escape(about)}"><span>{escape(label)}</span>{term}</label>'
        f"{_input(field, key, name)}{undo}"
        f'<p class="t-help" id="{escape(name)}-help">{escape(hint)}</p>'
        f'<div class="t-error" id="{escape(name)}-error" hidden></div></div>'
    )


def _label(field: Field, key: str, say: Words) -> str:
    """Its words; else its name, in English as words."""
    if f"field.{key}" in say:
        return say(f"field.{key}")
    return field.name.replace("_", " ") if say.language == DEFAULT else field.name


_LIMITS = {">=": "ge", ">": "gt", "<=": "le", "<": "lt"}


def _limits(field: Field, say: Words) -> str:
    """The bounds of a number in words."""
    found = {sign: f"{number:.10g}" for sign, number in field.bounds}
    if found.keys() == {">=", "<="}:
        return say("train.limit_both", low=found[">="], high=found["<="])
    return ", ".join(say(f"train.limit_{_LIMITS[sign]}", number=number) for sign, number in found.items())


def _bounds(field: Field, say: Words) -> str:
    """The rule of a number or table, and the default."""
    told = []
    if field.kind == "number":
        kind = say("train.whole" if field.is_whole else "train.number")
        told.append(say("train.rule", rule=" ".join(filter(None, (kind, _limits(field, say))))))
    elif field.kind == "value":
        told.append(say("train.as_toml", rule=field.rule))
    if field.is_required and field.key.startswith("params."):
        told.append(say("train.must_be_there"))
    if field.default and field.kind != "lines":
        told.append(say("train.default", value=field.default))
    elif not field.is_required and not field.default:
        told.append(say("train.may_be_empty"))
    return " ".join(told)


def _input(field: Field, key: str, name: str) -> str:
    shared = (
        f'id="{escape(name)}" data-key="{escape(key)}" data-kind="{field.kind}"'
        f' aria-describedby="{escape(name)}-help {escape(name)}-error"'
    )
    if field.kind == "flag":
        return f'<input type="checkbox" {shared}>'
    if field.kind == "choice":
        options = "".join(f'<option value="{escape(one)}">{escape(one or "-")}</option>' for one in field.choices)
        return f"<select {shared}>{options}</select>"
    if field.kind == "lines":
        return f'<textarea rows="2" spellcheck="false" {shared}></textarea>'
    mode = ' inputmode="decimal"' if field.kind == "number" else ""
    proposed = f' list="{escape(name)}-list"' if field.choices else ""
    shown = f'<input type="text" autocomplete="off" spellcheck="false"{mode}{proposed} {shared}>'
    if field.choices:
        options = "".join(f'<option value="{escape(one)}"></option>' for one in field.choices)
        shown += f'<datalist id="{escape(name)}-list">{options}</datalist>'
    return shown


def _group(field: Field, say: Words) -> str:
    """A section inside a section, which may be left out as a whole."""
    about = fields.help_of(f"{field.key}.about", say)
    out = (
        f'<button type="button" class="t-out" data-out="{escape(field.key)}">{escape(say("train.leave_out"))}</button>'
    )
    return (
        f'<fieldset class="t-group" data-group="{escape(field.key)}"><legend>{escape(field.name)}</legend>'
        f'<p class="t-help">{escape(about)} <span class="t-off">{escape(say("train.is_out"))}</span> {out}</p>'
        f'<div class="t-error" id="t-{escape(field.key)}-error" hidden></div>'
        f'<div class="t-fields">{_all(field.parts, say)}</div></fieldset>'
    )


def _trl(say: Words) -> str:
    about = fields.help_of("trl", say)
    count = '<span class="t-count" data-count="trl."></span>'
    return (
        f'<details class="t-fold"><summary><b>trl</b> <span>{escape(about)}</span> {count}</summary>'
        f'<div class="t-field" data-field="trl"><label for="t-trl"><span>{escape(say("train.trl"))}</span></label>'
        '<textarea id="t-trl" rows="4" spellcheck="false" data-trl aria-describedby="t-trl-help"></textarea>'
        f'<p class="t-help" id="t-trl-help">{escape(say("train.trl_help"))}</p>'
        '<div class="t-error" id="t-trl-error" hidden></div></div></details>'
    )
