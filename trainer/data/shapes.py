"""Columns of a record as a run reads them: renamed, taken out of objects, and from the shapes rows commonly have.

A name with dots leads into objects and lists (`reward_model.ground_truth`, `messages.-1.content`), where no column is
called so. What a row lacks is looked for in the shapes of chat logs (`messages`, ShareGPT's `conversations`), of TRL
(`prompt` and `completion`), of verl (`reward_model.ground_truth`) and of Alpaca (`instruction`, `input`, `output`).
No library.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from trainer.data.decoding import DECODER
from trainer.spec import Data
from trainer.text import Message

CONVERSATIONS = ("messages", "conversations", "conversation")
IMAGES = frozenset({"image", "images"})
GOLD = ("reward_model.ground_truth", "ground_truth")
ROLES = {
    "human": "user",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "bot": "assistant",
    "model": "assistant",
    "ai": "assistant",
    "function_call": "assistant",
    "observation": "tool",
    "function": "tool",
} | {role: role for role in ("system", "developer", "user", "assistant", "tool")}
"""{role in small letters: as chat templates call it}."""
WHO, WHAT = ("role", "from"), ("content", "value")
"""Keys of a turn."""
NOTHING: Any = object()


@dataclass
class Mapped:
    """columns: under our names. taken: {ours: where it was found} of what nobody has named. cut: the conversation whose
    last turn is no part of the prompt."""

    columns: dict[str, Any]
    taken: dict[str, str] = field(default_factory=dict)
    cut: str = ""
    written: bool = False
    """The prompt is a text that spells a conversation, and was read as one."""

    def notes(self) -> Iterator[Message]:
        if self.cut:
            key = "data.odd.turns" if self.taken.get("answer") == self.cut else "data.odd.cut"
            yield Message(key, theirs=escaped(self.cut))
        if self.written:
            yield Message("data.odd.written")
        for ours, theirs in self.taken.items():
            if theirs != self.cut:
                yield Message("data.odd.taken", ours=ours, theirs=escaped(theirs))


def mapped(columns: Mapping[str, Any], data: Data, wanted: Collection[str]) -> Mapped:
    """A record with our columns. wanted: those that templates and rewards name; the others are taken as they are."""
    found = Mapped(_renamed(columns, data))
    row = found.columns
    for name in IMAGES & row.keys():
        if not _holds(row[name]):
            del row[name]
    for name in wanted:
        if name not in row and name not in data.columns:
            _find(name, found)
    if "prompt" in row:
        _as_messages(found, data, wanted)
    elif "prompt" in wanted and "prompt" not in data.columns:
        _conversation(found, data, wanted) or _alpaca(found, data, wanted)
    _completion(found, data)
    for ours, theirs in data.columns.items():  # of what was made just now
        if ours not in row and theirs in row:
            row[ours] = row[theirs]
    return found


def _renamed(columns: Mapping[str, Any], data: Data) -> dict[str, Any]:
    """Under our names: `data.columns` maps ours = theirs, and wins over a column that has our name already."""
    if not data.columns:
        return dict(columns)
    row = {name: value for name, value in columns.items() if name not in {*data.columns, *data.columns.values()}}
    for ours, theirs in data.columns.items():
        value = reach(columns, theirs)
        if value is not NOTHING:
            row[ours] = value
    return row


def reach(here: Any, name: str) -> Any:
    """What a name leads to, the longest keys first; NOTHING where it leads nowhere."""
    if isinstance(here, str):
        here = _parsed(here)
    if isinstance(here, list):
        step, _, rest = name.partition(".")
        if not re.fullmatch(r"-?\d{1,9}", step) or not -len(here) <= int(step) < len(here):
            return NOTHING
        return reach(here[int(step)], rest) if rest else here[int(step)]
    if not isinstance(here, Mapping):
        return NOTHING
    if name in here:
        return here[name]
    steps = name.split(".")
    for count in range(len(steps) - 1, 0, -1):
        key = ".".join(steps[:count])
        if key in here and (found := reach(here[key], ".".join(steps[count:]))) is not NOTHING:
            return found
    return NOTHING


def _parsed(text: str) -> Any:
    """The list or object in a cell of text, as a table without types has it, in JSON or as Python writes it; any other
    text as it is."""
    if not text.startswith(("{", "[")):
        return text
    try:
        return ast.literal_eval(text) if text.startswith(("[{'", "{'")) else DECODER.decode(text)
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        return text


def _holds(images: Any) -> bool:
    """Whether there is an image: not in [], "", null, nor in what holds only these."""
    if isinstance(images, Mapping):
        images = list(images.values())
    return any(map(_holds, images)) if isinstance(images, list | tuple) else images not in (None, "")


def _find(name: str, found: Mapped) -> None:
    """A name with dots, a header with a second line or with space around it; `answer` where verl has it."""
    row = found.columns
    if "." in name and (value := reach(row, name)) is not NOTHING:
        row[name] = value
        return
    alike = [theirs for theirs in row if str(theirs).strip().partition("\n")[0].strip() == name]
    if len(alike) == 1:
        row[name] = row.pop(alike[0])
        found.taken[name] = alike[0]
    elif name == "answer":
        known = {theirs: value for theirs in GOLD if (value := reach(row, theirs)) is not NOTHING}
        theirs = next((theirs for theirs in known if known[theirs] is not None), next(iter(known), None))
        if theirs is not None:
            row[name], found.taken[name] = known[theirs], theirs


# ---- conversations


def turns(value: Any) -> list[dict[str, Any]] | None:
    """Messages with role and content as chat templates want them; None of what is no list of turns. A system turn that
    says nothing is left out."""
    value = _parsed(value) if isinstance(value, str) else value
    if not isinstance(value, list) or not value or not all(_is_turn(turn) for turn in value):
        return None
    made = [_turn(turn) for turn in value]
    return [turn for turn in made if turn["role"] != "system" or turn["content"] not in ("", None)]


def _is_turn(turn: Any) -> bool:
    return isinstance(turn, dict) and not any(turn.keys().isdisjoint(names) for names in (WHO, WHAT))


def _turn(turn: dict[str, Any]) -> dict[str, Any]:
    """As it is where it is right already. Keys that hold null are left out: a table has every key in every turn."""
    role, content = (next(turn[name] for name in names if name in turn) for names in (WHO, WHAT))
    known, text = ROLES.get(str(role).strip().lower(), role), _text(content)
    if (turn.get("role"), turn.get("content")) == (known, text) and None not in turn.values():
        return turn
    others = {key: value for key, value in turn.items() if key not in ("role", "content", "from", "value", "weight")}
    return {"role": known, "content": text} | {key: value for key, value in others.items() if value is not None}


def _text(content: Any) -> Any:
    """Parts of text in one; anything else as it is."""
    if not isinstance(content, list) or not content:
        return content
    parts = [part.get("text") if isinstance(part, dict) else part for part in content]
    return "".join(map(str, parts)) if all(isinstance(part, str) for part in parts) else content


def _as_messages(found: Mapped, data: Data, wanted: Collection[str]) -> None:
    """A prompt that is a conversation. One that was chosen by name may end with the answer."""
    prompt = found.columns["prompt"]
    as_it_is = data.chat and data.prompt_template == "{prompt}"
    if not isinstance(prompt, list) and "prompt" not in data.columns and not as_it_is:
        return
    made = turns(prompt)
    found.written = isinstance(prompt, str) and made is not None
    if made is not None and "prompt" in data.columns:
        _put(found, made, data.columns["prompt"], data, wanted)
    elif made is not None:
        found.columns["prompt"] = made


def _conversation(found: Mapped, data: Data, wanted: Collection[str]) -> bool:
    """The one column that is a conversation as prompt and answer."""
    known = {name: made for name in CONVERSATIONS if (made := turns(found.columns.get(name))) is not None}
    if len(known) != 1:
        return False
    name, made = known.popitem()
    found.taken["prompt"] = name
    _put(found, made, name, data, wanted)
    if name not in wanted:
        del found.columns[name]
    return True


def _put(found: Mapped, made: list[dict[str, Any]], name: str, data: Data, wanted: Collection[str]) -> None:
    """The assistant's last turn is the answer, what stands before it the prompt; a column `system` comes first."""
    row = found.columns
    if made and made[-1]["role"] == "assistant":
        *made, last = made
        found.cut = name
        if "answer" not in row and "answer" not in data.columns:
            row["answer"], found.taken["answer"] = last["content"], name
    row["prompt"] = [*_system(row, made, wanted), *made]


def _system(row: dict[str, Any], made: list[dict[str, Any]], wanted: Collection[str]) -> list[dict[str, Any]]:
    if any(turn["role"] == "system" for turn in made) or not isinstance(row.get("system"), str):
        return []
    text = row["system"] if "system" in wanted else row.pop("system")
    return [{"role": "system", "content": text}] if text.strip() else []


# ---- texts in columns of their own


def _alpaca(found: Mapped, data: Data, wanted: Collection[str]) -> bool:
    row = found.columns
    asked, more = row.get("instruction"), row.get("input") or ""
    texts = all(isinstance(text, str) for text in (asked, more, row.get("output")))
    if not texts or data.instruction is not None or "output" in data.columns:
        return False
    prompt: Any = f"{asked}\n\n{more}" if more.strip() else asked
    used: list[str] = [name for name in ("instruction", "input") if name in row]
    if "system" in row or "history" in row:
        before = [pair for pair in row.get("history") or () if isinstance(pair, list | tuple) and len(pair) == 2]
        said = [
            {"role": role, "content": text}
            for pair in before
            for role, text in zip(("user", "assistant"), pair, strict=True)
        ]
        used += [name for name in ("system", "history") if name in row]
        prompt = [*_system(row, [], wanted), *said, {"role": "user", "content": prompt}]
    row["prompt"], found.taken["prompt"] = prompt, ", ".join(used)
    if "answer" not in row and "answer" not in data.columns:
        row["answer"], found.taken["answer"] = row["output"], "output"
        used.append("output")
    for name in {*used} - {*wanted}:
        row.pop(name, None)
    return True


def _completion(found: Mapped, data: Data) -> None:
    """TRL's column of answers, which TRL would not pass to a reward; an answer that is a message is its text."""
    row = found.columns
    if "completion" in row and "answer" not in row and "answer" not in data.columns:
        row["answer"], found.taken["answer"] = row.pop("completion"), "completion"
    if isinstance(row.get("answer"), list) and (made := turns(row["answer"])):
        row["answer"] = made[-1]["content"]


# ---- what to type


def escaped(name: str) -> str:
    """A name in a sentence: in one line."""
    return str(name).replace("\n", "\\n").replace("\r", "\\r")


def change(ours: str, theirs: str) -> str:
    """`data.columns.OURS=THEIRS` as after --set: in quotes where TOML would read it as something else."""
    plain = theirs == theirs.strip() and theirs[:1] not in ("", '"', "'") and not re.search(r"[\x00-\x1f\x7f]", theirs)
    return f"data.columns.{ours}={theirs if plain else json.dumps(theirs, ensure_ascii=False)}"


def typed(setting: str) -> str:
    """A setting as a shell takes it."""
    return (
        setting
        if not re.search(r"[\s'\"$`\\|&;<>()*?\[\]{}~#!]", setting)
        else "'" + setting.replace("'", "'\\''") + "'"
    )


def leaves(row: Mapping[str, Any]) -> list[str]:
    """Names of a record's columns, and of what is inside its objects: of a conversation the first question and the
    assistant's last turn."""
    found = []
    for name, value in row.items():
        found.append(str(name))
        value = _parsed(value) if isinstance(value, str) else value
        if isinstance(value, Mapping):
            found += [f"{name}.{inner}" for inner in leaves(value)]
        elif made := turns(value):
            content = "content" if "content" in value[0] else "value"
            first = next((place for place, turn in enumerate(value) if _turn(turn)["role"] == "user"), None)
            found += [] if first is None else [f"{name}.{first}.{content}"]
            found += [f"{name}.-1.{content}"] if made[-1]["role"] == "assistant" else []
    return found
