"""The controls of a form as HTML, without their values: the script of the page fills those in. No gradio."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Sequence
from typing import Any

from trainer.rewards.library import REWARDS
from trainer.text import DEFAULT, Words
from trainer.ui.elements import element, escape
from trainer.ui.train import fields
from trainer.ui.train.fields import Field

# Shown for each reward at once; its other fields are folded.
FIRST_OF_REWARD = ("function", "weight", "normalise", "clip")


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
        "reward_add": _add_reward(say),
        "basic": _all((by_key[key] for key in fields.BASIC), say),
        "advanced": "".join(advanced) + _trl(say) + control(by_key["titles"], say),
        "title": control(by_key["title"], say),
    }


def _all(found: Iterable[Field], say: Words) -> str:
    return "".join(control(field, say) for field in found)


def _folded(section: str, found: Sequence[Field], say: Words) -> str:
    about = fields.help_of(f"{section}.about", say)
    count = f'<span class="t-count" data-count="{escape(section)}."></span>'
    head = f"<summary><b>{escape(section)}</b> <span>{escape(about)}</span> {count}</summary>"
    return f'<details class="t-fold">{head}<div class="t-fields">{_all(found, say)}</div></details>'


def control(field: Field, say: Words, key: str = "", help_key: str = "") -> str:
    """One field: label, control, help, what it started from, room for an error. key: where its value lies."""
    key = key or field.key
    if field.kind == "group":
        return _group(field, say)
    name = f"t-{key}"
    label = _label(field, key, say)
    term = f" <code>{escape(field.name)}</code>" if label.lower().replace(" ", "_") != field.name else ""
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


def _bounds(field: Field, say: Words) -> str:
    """The rule of a number or table, and the default."""
    told = []
    if field.kind == "number":
        kind = say("train.whole" if field.is_whole else "train.number")
        told.append(say("train.rule", rule=f"{kind} {field.bounds}".strip()))
    elif field.kind == "value":
        told.append(say("train.as_toml", rule=field.rule))
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


# ---- rewards


def rewards(components: Any, say: Words) -> str:
    """The reward components of a raw spec, each with its controls; those inside sums below them."""
    found = _rewards(components, fields.COMPONENTS, say)
    return found or element("p", say("train.no_rewards"), "g-empty")


def _rewards(components: Any, prefix: str, say: Words) -> str:
    shown = []
    for place, component in enumerate(components if isinstance(components, list) else ()):
        if not isinstance(component, dict):
            continue
        key = f"{prefix}.{place}"
        title = str(component.get("name") or component.get("function") or place)
        known = {field.key: field for field in fields.of_component()}
        first = "".join(_of_reward(known[name], key, say) for name in FIRST_OF_REWARD)
        more = "".join(_of_reward(field, key, say) for name, field in known.items() if name not in FIRST_OF_REWARD)
        more += _arguments(component, say)
        inside = _rewards(component.get("components"), f"{key}.components", say)
        inside = f'<div class="t-inside">{inside}</div>' if inside else ""
        gone = say("train.remove", name=title)
        remove = f'<button type="button" class="t-remove" data-remove="{place}">{escape(gone)}</button>'
        shown.append(
            f'<div class="t-reward" role="group" aria-label="{escape(title)}" data-field="{escape(key)}">'
            f'<div class="t-error" id="t-{escape(key)}-error" hidden></div><div class="t-fields">{first}</div>'
            f"<details><summary>{escape(say('train.more'))}</summary><div class='t-fields'>{more}</div></details>"
            f"{inside}{remove if prefix == fields.COMPONENTS else ''}</div>"
        )
    return "".join(shown)


def _arguments(component: dict[str, Any], say: Words) -> str:
    """Which params a function of the library takes."""
    known = REWARDS.get(str(component.get("function"))) if component.get("file") is None else None
    if known is None:
        return ""
    names = [
        name if one.default is one.empty else f"{name} = {fields.shown(one.default) or '-'}"
        for name, one in inspect.signature(known).parameters.items()
    ]
    return element("p", say("train.params", names=", ".join(names) or "-"), "t-small t-lines")


def _of_reward(field: Field, prefix: str, say: Words) -> str:
    return control(field, say, f"{prefix}.{field.key}", f"component.{field.key}")


def _add_reward(say: Words) -> str:
    """A new component: its function, chosen from the library, and its weight."""
    options = "".join(f'<option value="{escape(name)}">{escape(name)}</option>' for name in REWARDS)
    function, weight = escape(say("train.add_function")), escape(say("train.add_weight"))
    return (
        f'<div class="t-add"><label>{function} <select data-add-function>{options}</select></label>'
        f'<label>{weight} <input type="text" inputmode="decimal" data-add-weight value="1"></label>'
        f'<button type="button" data-add>{escape(say("train.add"))}</button></div>'
    )
