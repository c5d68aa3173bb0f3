"""The section [trl]: every argument of GRPOConfig that has no key of ours."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from trainer.errors import Problem
from trainer.presets.explain import nearest, shown
from trainer.presets.rules.registry import rule
from trainer.spec import FIXED, SET_ELSEWHERE, RunSpec, trl_homes, trl_table
from trainer.text import Message
from trainer.text.chain import chain


def _kind(value: object) -> str:
    for kind, name in (
        (bool, "bool"),
        (int, "int"),
        (float, "float"),
        (str, "str"),
        (list, "list"),
        (dict, "dict"),
    ):
        if isinstance(value, kind):
            return name
    return "another kind"


_KINDS = {
    "bool": Message("presets.rule.flag"),
    "int": Message("presets.rule.whole"),
    "float": Message("presets.rule.number"),
    "str": Message("presets.rule.text"),
    "list": Message("presets.rule.any_list"),
    "dict": Message("presets.rule.table"),
}


_OF_TRL = ("conversation", "chat_template", "tools", "add_generation_prompt", "tokenize", "return_dict")
_OF_TOKENIZER = ("continue_final_message", "padding", "truncation", "max_length", "return_tensors", "tokenizer_kwargs")


@rule("trl")
def _template_arguments(spec: RunSpec) -> Iterator[Problem]:
    """What TRL 1.14.2 gives to apply_chat_template itself (`_tokenize_prompts`), and what is none of the template's."""
    kwargs, where = spec.trl.get("chat_template_kwargs"), "trl.chat_template_kwargs"
    if isinstance(kwargs, str):
        yield Problem("presets.refused", where, seen=shown(kwargs), rule=Message("presets.rule.table"), fix="")
    elif isinstance(kwargs, dict):
        for name in kwargs.keys() & {*_OF_TRL, *_OF_TOKENIZER}:
            key = "presets.own_chat_template" if name == "chat_template" else "presets.not_of_the_template"
            yield Problem(key, f"{where}.{name}", name=name)


@rule("trl")
def _trl_arguments(spec: RunSpec) -> Iterator[Problem]:
    for key, value in spec.trl.items():
        problem = _trl_argument(key, value)
        if problem is not None:
            yield problem


def _trl_argument(key: str, value: Any) -> Problem | None:
    where, home = f"trl.{key}", trl_homes().get(key)
    if home is None:
        close = nearest(key, trl_table())
        fix = Message("presets.fix.did_you_mean", name=trl_homes()[close[0]]) if close else ""
        return Problem("presets.no_such_trl_argument", where, fix=fix)
    if key in SET_ELSEWHERE or home != where:
        return Problem("presets.set_elsewhere", where, home=home)
    if key in FIXED:
        right, reason = FIXED[key]
        if value != right or isinstance(value, bool) != isinstance(right, bool):
            values = {"seen": shown(value), "right": shown(right), "why": Message(reason), "key": where}
            return Problem("presets.fixed", where, **values)
        return None
    kinds = trl_table()[key]
    kind = _kind(value)
    if kind not in kinds and not (kind == "int" and "float" in kinds):
        known = [_KINDS[name] for name in kinds if name in _KINDS]
        return Problem("presets.refused", where, seen=shown(value), rule=chain("presets.rule.or", known), fix="")
    if isinstance(value, float) and not math.isfinite(value):
        return Problem("presets.refused", where, seen=f"{value}", rule=Message("presets.rule.finite"), fix="")
    return None
