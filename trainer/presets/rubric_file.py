"""`params.rubric` of a judge: the path of a text file that says what the judge is asked.

What is read becomes `params.prompt`: a run keeps the text, whatever becomes of the file. A file that cannot be used
stays named, and what the judge says of it (trainer.rewards.library.rubric) is the problem of its params.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from trainer.errors import Unfit
from trainer.rewards.library.rubric import read
from trainer.spec.reward import ASKED

RUBRIC, PROMPT = "rubric", "prompt"


def params_of(component: Any) -> Any:
    """The params of a judge of the library; None of any other function, whose `rubric` is its own affair."""
    return component.get("params") if _is_judge(component) else None


def _is_judge(component: Any) -> bool:
    return isinstance(component, dict) and component.get("function") in ASKED and not component.get("file")


def is_named(raw: Mapping[str, Any], path: Sequence[int | str]) -> bool:
    """Is the value at this key of the tables the path of a rubric?"""
    here: Any = raw
    for step in path[:-2]:
        if isinstance(here, list):
            here = here[step] if isinstance(step, int) and step < len(here) else None
        else:
            here = here.get(step) if isinstance(here, dict) else None
    return tuple(path[-2:]) == ("params", RUBRIC) and _is_judge(here)


def put_in(raw: dict[str, Any]) -> dict[str, Any]:
    """The raw spec with the text of every rubric that can be read in place of its path."""
    reward = raw.get("reward")
    if not isinstance(reward, dict):
        return raw
    return {**raw, "reward": _with_texts(reward)}


def _with_texts(table: dict[str, Any]) -> dict[str, Any]:
    """The same for the components of `reward` or of a sum."""
    components = table.get("components")
    if not isinstance(components, list):
        return table
    return {**table, "components": [_with_text(one) if isinstance(one, dict) else one for one in components]}


def _with_text(component: dict[str, Any]) -> dict[str, Any]:
    params = params_of(component)
    if not isinstance(params, dict) or not isinstance(params.get(RUBRIC), str) or PROMPT in params:
        return _with_texts(component)
    try:
        text = read(params[RUBRIC])
    except Unfit:
        return component
    return {**component, "params": {name: value for name, value in params.items() if name != RUBRIC} | {PROMPT: text}}
