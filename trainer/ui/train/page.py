"""The form of Train as HTML: its places, which the script fills. No gradio."""

from __future__ import annotations

from collections.abc import Sequence

from trainer.data.files import SUFFIXES
from trainer.text import Words
from trainer.ui.elements import element, escape
from trainer.ui.train import cards, components, controls, recipes
from trainer.ui.train.cards import PresetCard
from trainer.ui.train.form import FIRST


def rendered(say: Words) -> str:
    """Everything that depends on the language and on this machine only."""
    parts = controls.parts(say)
    notice = (
        '<p class="t-notice" data-slot="notice" role="status" hidden><span></span> '
        f'<button type="button" data-undo-all>{escape(say("train.undo_all"))}</button></p>'
    )
    main = _data(parts, say), _rewards(parts, say), recipes.rendered(say), _settings(parts, say)
    found = cards.cards()
    return (
        f'{_first(found, say)}<div class="t-head">{element("h2", say("train.question"))}'
        f"{element('p', cards.machine(say), 't-small')}</div>"
        f'<fieldset class="t-presets"><legend>{escape(say("train.preset"))}</legend>'
        f"{cards.rendered(found, say)}</fieldset>{notice}"
        f'<div class="t-split"><div class="t-main">{"".join(main)}</div>'
        f'<div class="t-side">{_start(parts, say)}{_plan(say)}</div></div>'
    )


def _first(found: Sequence[PresetCard], say: Words) -> str:
    """What this is for, and the two ways to begin: the preset that any machine trains, and one's own rows."""
    name = next((card.info.name for card in found if card.info.name == FIRST and not card.info.problems), None)
    own = f'<button type="button" class="t-way" data-own>{escape(say("train.own"))}</button>'
    see = (
        f'<button type="button" class="t-way t-go" data-first="{escape(name)}">{escape(say("train.see"))}</button>'
        if name
        else ""
    )
    return (
        f'<section class="t-first">{element("p", say("train.lead"), "t-lead")}<div class="t-ways">{see}{own}</div>'
        '<div data-slot="first"></div></section>'
    )


def _section(title: str, about: str, body: str, name: str = "", attributes: str = "") -> str:
    told = element("p", about, "t-small") if about else ""
    part = (f' data-part="{name}"' if name else "") + attributes
    return f'<section class="t-part"{part}>{element("h3", title)}{told}{body}</section>'


def _data(parts: dict[str, str], say: Words) -> str:
    look = f'<button type="button" data-ask="look">{escape(say("train.look"))}</button>'
    take = f'<button type="button" data-own-hub hidden>{escape(say("own.take_hub"))}</button>'
    body = (
        f'{_choosing(say)}<div class="t-fields">{parts["data"]}</div>{take}'
        f'<div class="t-looked" data-slot="looked"></div><div class="t-actions">{look}</div>{parts["data_more"]}'
    )
    return _section(say("train.data"), say("train.data_about"), body, "data")


def _choosing(say: Words) -> str:
    """A file dropped or chosen, or rows pasted."""
    accepted = ",".join(SUFFIXES)
    pasted, hint = escape(say("own.paste")), escape(say("own.paste_hint"))
    return (
        f'<div class="t-drop" data-drop><p>{escape(say("own.drop"))}</p><div class="t-actions">'
        f'<label class="t-link">{escape(say("own.choose"))}<input type="file" accept="{accepted}" data-choose></label>'
        f'<details class="t-paste"><summary>{pasted}</summary>'
        f'<textarea data-pasted rows="4" spellcheck="false" aria-label="{pasted}" placeholder="{hint}"></textarea>'
        f'<button type="button" data-paste>{escape(say("own.take_pasted"))}</button></details></div>'
        '<div data-slot="chosen" role="status"></div></div>'
    )


def _rewards(parts: dict[str, str], say: Words) -> str:
    typed = escape(say("train.try_typed"))
    body = (
        f'<div data-slot="rewards"></div><div class="t-error" id="t-reward-error" hidden></div>'
        f"{components.adding(say)}{parts['reward_more']}<h4>{escape(say('train.try_head'))}</h4>"
        f'<p class="t-small">{escape(say("train.try_about"))}</p><div class="t-actions">'
        f'<textarea data-typed rows="2" maxlength="4000" aria-label="{typed}" placeholder="{typed}"></textarea>'
        f'<button type="button" data-try>{escape(say("train.try"))}</button></div>'
        '<div class="t-looked" data-slot="tried"></div>'
    )
    return _section(say("train.rewards"), say("train.rewards_about"), body)


def _settings(parts: dict[str, str], say: Words) -> str:
    advanced = (
        f'<details class="t-advanced"><summary><b>{escape(say("train.advanced"))}</b></summary>'
        f"{parts['advanced']}</details>"
    )
    return (
        f'<details class="t-part"><summary>{element("h3", say("train.settings"))}'
        f"{element('span', say('train.settings_about'), 't-small')}</summary>"
        f'<div class="t-fields">{parts["basic"]}</div>{advanced}</details>'
    )


def _plan(say: Words) -> str:
    return _section(say("train.plan"), "", '<div data-slot="plan" aria-live="off"></div>')


def _start(parts: dict[str, str], say: Words) -> str:
    """The name, what is wrong, Start, and how to do the same without a browser."""
    name = (
        f'<div class="t-field"><label for="t-name"><span>{escape(say("train.name"))}</span></label>'
        f'<input type="text" id="t-name" data-name maxlength="64" autocomplete="off" spellcheck="false"'
        f' aria-describedby="t-name-help"><p class="t-help" id="t-name-help">{escape(say("train.name_info"))}</p></div>'
    )
    save, load = escape(say("train.save_toml")), escape(say("train.load_toml"))
    files = (
        f'<div class="t-actions"><button type="button" data-copy>{escape(say("train.copy"))}</button>'
        f'<a class="t-link" data-toml href="#" download>{save}</a>'
        f'<label class="t-link">{load}<input type="file" accept=".toml" data-load></label></div>'
    )
    body = (
        f'<div data-slot="verdict"></div>'
        f'<button type="button" class="t-start" data-start disabled>{escape(say("train.start"))}</button>'
        f'{name}<p class="t-small" data-slot="note" role="status"></p>'
        f'<details class="t-fold"><summary><b>{escape(say("train.command"))}</b></summary>'
        f'<pre class="t-pre" data-slot="command" tabindex="0"></pre>{files}{parts["title"]}</details>'
    )
    named = f' id="t-start" tabindex="-1" aria-label="{escape(say("train.start"))}"'
    return _section(say("train.start"), "", body, "start", named)
