"""The reward of a form as an editor: a row a component, what it pays for in words, weight, arguments. No gradio.

Values are filled in by the script of the page, as those of all controls. Functions come from the library or from a
person's own file, which is read here and never run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from trainer.errors import RewardError
from trainer.machine.project import in_full
from trainer.rewards import own_file
from trainer.rewards.library import REWARDS
from trainer.spec import SUM
from trainer.text import Words
from trainer.ui.elements import element, escape
from trainer.ui.train import controls, fields, toml
from trainer.ui.train.fields import Field

FIRST = ("function", "weight")
"""Fields of a row; the arguments come next, the others are folded."""
_GAP = "\0"
HEAVIEST = 2.0
"""The end of a slider; a number beyond it can be typed."""


def rendered(components: Any, say: Words) -> str:
    """The reward as a sentence, then its components, those inside sums below them."""
    found = _rows(components, fields.COMPONENTS, say)
    return _sentence(components, say) + found if found else element("p", say("train.no_rewards"), "g-empty")


def _sentence(components: Sequence[Any], say: Words) -> str:
    """`1.0 for the right answer + 0.2 for the form, up to 0.5 off for its length`: the numbers follow the sliders."""
    told = ""
    for place, component in enumerate(one for one in components if isinstance(one, dict)):
        off = f"off.{component.get('function')}"
        takes = off in say and not component.get("file")
        words = say("reward.penalty", weight=_GAP, what=say(off)) if takes else _part(component, say)
        before, _, after = words.partition(_GAP)
        told += "" if not told else ", " if takes else " + "
        told += f'{escape(before)}<b data-weight-of="{fields.COMPONENTS}.{place}.weight"></b>{escape(after)}'
    return f'<p class="t-sum">{told}</p>'


def _part(component: Mapping[str, Any], say: Words) -> str:
    return say("reward.part", weight=_GAP, what=pays(component, say))


def pays(component: Mapping[str, Any], say: Words) -> str:
    """What a component pays for, in words; of a function of one's own its first line, else its name."""
    function = str(component.get("function"))
    if component.get("file"):
        known = dict(_described(str(component["file"])))
        return known.get(function) or function
    return say(f"pays.{function}") if f"pays.{function}" in say else function


def _rows(components: Any, prefix: str, say: Words) -> str:
    shown = []
    for place, component in enumerate(components if isinstance(components, list) else ()):
        if isinstance(component, dict):
            shown.append(_row(component, f"{prefix}.{place}", place, say))
    return "".join(shown)


def _row(component: Mapping[str, Any], key: str, place: int, say: Words) -> str:
    title = str(component.get("name") or component.get("function") or place)
    known = {field.key: field for field in fields.of_component()}
    more = [field for name, field in known.items() if name not in (*FIRST, "file", "params")]
    own = [known["file"], known["params"]] if component.get("file") else []
    arguments = "".join(_control(field, key, say) for field in (*fields.params_of(component), *own))
    inside = _rows(component.get("components"), f"{key}.components", say)
    inside = f'<div class="t-inside">{inside}</div>' if inside else ""
    is_top = key.rpartition(".")[0] == fields.COMPONENTS
    gone = escape(say("train.remove", name=title))
    remove = f'<button type="button" class="t-remove" data-remove="{place}">{gone}</button>' if is_top else ""
    return (
        f'<div class="t-reward" role="group" aria-label="{escape(title)}" data-field="{escape(key)}">'
        f'<div class="t-pays"><p><b>{escape(pays(component, say))}</b> <code>{escape(title)}</code></p>{remove}</div>'
        f'<div class="t-error" id="t-{escape(key)}-error" hidden></div>'
        f'<div class="t-fields">{_weight(known["weight"], key, say)}'
        f"{_function(known['function'], component, key, say)}</div>"
        f'<div class="t-folds">{_folded("reward.arguments", arguments, say)}'
        f"{_folded('train.more', ''.join(_control(field, key, say) for field in more), say)}"
        f"{_as_text(place, say) if is_top else ''}</div>"
        f"{inside}</div>"
    )


def _control(field: Field, prefix: str, say: Words, with_name: bool = True) -> str:
    is_argument = field.key.startswith("params.")
    words_of = f"argument.{field.name}" if is_argument else f"component.{field.key}"
    return controls.control(field, say, f"{prefix}.{field.key}", words_of, with_name)


def _folded(title: str, inside: str, say: Words) -> str:
    if not inside:
        return ""
    return f'<details><summary>{escape(say(title))}</summary><div class="t-fields">{inside}</div></details>'


def _weight(field: Field, prefix: str, say: Words) -> str:
    """The number, and a slider that moves it."""
    key, name = f"{prefix}.weight", escape(say("field.component.weight"))
    slider = (
        f'<input type="range" min="-1" max="{HEAVIEST:g}" step="0.1" data-slider="{escape(key)}" aria-label="{name}">'
    )
    return f'<div class="t-weight">{slider}{_control(field, prefix, say, with_name=False)}</div>'


def _function(field: Field, component: Mapping[str, Any], prefix: str, say: Words) -> str:
    """Chosen from the library, or from the functions of a person's own file, with a line on each."""
    key, now = f"{prefix}.function", str(component.get("function") or "")
    if component.get("file"):
        known = dict(_described(str(component["file"])))
    else:
        known = {name: say(f"pays.{name}") for name in (*REWARDS, *([SUM] if now == SUM else []))}
    about = known.get(now, "") if component.get("file") else fields.help_of(f"function.{now}", say)
    names = list(dict.fromkeys([*known, now]))
    options = "".join(
        f'<option value="{escape(name)}">{escape(_titled(name, known.get(name, "")))}</option>'
        for name in names
        if name
    )
    label = escape(say("field.component.function"))
    return (
        f'<div class="t-field t-choice" data-field="{escape(key)}">'
        f'<label for="t-{escape(key)}"><span>{label}</span></label><select id="t-{escape(key)}"'
        f' data-key="{escape(key)}" data-kind="choice"'
        f' aria-describedby="t-{escape(key)}-help t-{escape(key)}-error">{options}</select>'
        f'<button type="button" class="t-undo" data-undo="{escape(key)}" hidden></button>'
        f'<p class="t-help" id="t-{escape(key)}-help">{escape(about)}</p>'
        f'<div class="t-error" id="t-{escape(key)}-error" hidden></div></div>'
    )


def _titled(name: str, about: str) -> str:
    return f"{name}: {about}" if about else name


def _as_text(place: int, say: Words) -> str:
    title = escape(say("reward.as_text"))
    return (
        f'<details><summary>{title}</summary><textarea rows="4" spellcheck="false" data-component-text="{place}"'
        f' aria-label="{title}"></textarea></details>'
    )


def adding(say: Words) -> str:
    """Another component: of the library, or of a Python file that is chosen or named."""
    options = "".join(
        f'<option value="{escape(name)}">{escape(_titled(name, say(f"pays.{name}")))}</option>' for name in REWARDS
    )
    function, path = escape(say("train.add_function")), escape(say("reward.own_path"))
    choose, look = escape(say("reward.own_choose")), escape(say("reward.own_look"))
    return (
        f'<div class="t-add"><label>{function} <select data-add-function>{options}</select></label>'
        f'<button type="button" data-add>{escape(say("train.add"))}</button></div>'
        f'<details class="t-fold"><summary><b>{escape(say("reward.own"))}</b></summary>'
        f'<p class="t-small">{escape(say("reward.own_about"))}</p><div class="t-actions">'
        f'<label class="t-link">{choose}<input type="file" accept=".py" data-choose-code></label>'
        f'<input type="text" data-code-path spellcheck="false" autocomplete="off" aria-label="{path}"'
        f' placeholder="{path}"><button type="button" data-code-look>{look}</button></div>'
        '<div data-slot="code" role="status"></div></details>'
    )


# ---- a file of one's own


def _described(path: str) -> list[tuple[str, str]]:
    try:
        return own_file.described(path)
    except RewardError:
        return []


def of_file(given: str, say: Words) -> str:
    """The reward functions of a file with their first lines, each to be added; raises RewardError for a wrong one."""
    path = str(in_full(given))
    found = own_file.described(path, Path(path).name)
    if not found:
        raise RewardError(own_file.without_rewards(path))
    add = escape(say("train.add"))
    items = [
        f"<li><b>{escape(name)}</b> {escape(about)} "
        f'<button type="button" data-add-own="{escape(_component(name, path))}">{add}</button></li>'
        for name, about in found
    ]
    return f'{element("p", say("reward.own_found", file=path), "t-small")}<ul class="t-list">{"".join(items)}</ul>'


def _component(name: str, path: str) -> str:
    return toml.inline({"function": name, "file": path, "weight": 1.0})
