"""The form of Train as HTML: its places, which the script fills. No gradio."""

from __future__ import annotations

from trainer.text import Words
from trainer.ui.elements import element, escape
from trainer.ui.train import cards, controls


def rendered(say: Words) -> str:
    """Everything that depends on the language and on this machine only."""
    parts = controls.parts(say)
    notice = (
        '<p class="t-notice" data-slot="notice" role="status" hidden><span></span> '
        f'<button type="button" data-undo-all>{escape(say("train.undo_all"))}</button></p>'
    )
    main = _data(parts, say), _rewards(parts, say), _settings(parts, say)
    return (
        f'<div class="t-head">{element("h2", say("train.question"))}{element("p", cards.machine(say), "t-small")}</div>'
        f'<fieldset class="t-cards"><legend>{escape(say("train.preset"))}</legend>'
        f"{cards.rendered(cards.cards(), say)}</fieldset>{notice}"
        f'<div class="t-split"><div class="t-main">{"".join(main)}</div>'
        f'<div class="t-side">{_plan(say)}{_start(parts, say)}</div></div>'
    )


def _section(title: str, about: str, body: str) -> str:
    told = element("p", about, "t-small") if about else ""
    return f'<section class="t-part">{element("h3", title)}{told}{body}</section>'


def _data(parts: dict[str, str], say: Words) -> str:
    look = f'<button type="button" data-ask="look">{escape(say("train.look"))}</button>'
    body = (
        f'<div class="t-fields">{parts["data"]}</div>{parts["data_more"]}'
        f'<div class="t-actions">{look}</div><div class="t-looked" data-slot="looked"></div>'
    )
    return _section(say("train.data"), say("train.data_about"), body)


def _rewards(parts: dict[str, str], say: Words) -> str:
    typed = escape(say("train.try_typed"))
    body = (
        f'<div data-slot="rewards"></div><div class="t-error" id="t-reward-error" hidden></div>'
        f"{parts['reward_add']}{parts['reward_more']}<h4>{escape(say('train.try_head'))}</h4>"
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
    return _section(say("train.settings"), "", f'<div class="t-fields">{parts["basic"]}</div>{advanced}')


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
        f'{name}{parts["title"]}<div data-slot="verdict"></div>'
        f'<button type="button" class="t-start" data-start disabled>{escape(say("train.start"))}</button>'
        f'<h4>{escape(say("train.command"))}</h4><pre class="t-pre" data-slot="command" tabindex="0"></pre>'
        f'<p class="t-small" data-slot="note" role="status"></p>{files}'
    )
    return _section(say("train.start"), "", body)
