"""The words on the buttons that fix a problem. No gradio."""

from __future__ import annotations

from collections.abc import Mapping

from trainer.text import Words
from trainer.ui.train import fields
from trainer.ui.train.fixes import Way, key_of

LONGEST = 60  # characters of a value on a button


def of_way(way: Way, where: str, before: Mapping[str, str], say: Words) -> str:
    """where: the field the button stands beside, which need not be named again; "" beside none. before: {key: value}
    of what the form started from, as shown."""
    told = [_of_change(change, where, say) for change in way.changes]
    if not way.changes:
        told.append(_of_undo(way.undo, where, before, say))
    return ", ".join(told)


def _of_change(change: str, where: str, say: Words) -> str:
    key, value = key_of(change), change.partition("=")[2]
    field = next((each for each in fields.every() if each.key == key), None)
    default = field.default if field is not None and len(field.default) <= LONGEST else ""
    shown = value.strip('"') if value.startswith('"') and value.count('"') == 2 else value
    if key != where:
        return f"{key} = {shown}" if value else say("train.leave_key_out", key=key)
    if default and shown in ("", default):
        return say("train.use_default", value=default)
    return say("train.use", value=shown) if value else say("train.use_none")


def _of_undo(keys: tuple[str, ...], where: str, before: Mapping[str, str], say: Words) -> str:
    value = before.get(keys[0], "")
    is_group = any(each.key == keys[0] and each.kind == "group" for each in fields.every())
    if len(keys) > 1 or is_group or not value or len(value) > LONGEST or "\n" in value:
        return say("train.take_back", key=", ".join(keys))
    key = "train.back_to" if keys[0] == where else "train.key_back_to"
    return say(key, key=keys[0], value=value)
