"""A completion of several turns as people read it.

TRL 1.14.2 keeps it as messages: the model's, with its tool calls, and what the tools answered.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

# Where trl.chat_template_utils (1.14.2) has the parsers of answers put what a model thought: LFM2.5 has its own name.
_THOUGHT = ("reasoning_content", "thinking")


@dataclass
class Call:
    """result: None where the call was never answered."""

    name: str
    arguments: str
    result: str | None = None

    @property
    def text(self) -> str:
        return f"{self.name}({self.arguments})"


@dataclass
class Turn:
    """One message of the model. said: beside its calls. thought: what it wrote before that, where the template marks
    it."""

    said: str
    calls: list[Call] = field(default_factory=list)
    thought: str = ""


def turns_of(completion: Any) -> list[Turn]:
    """Of a completion in TRL's form; of a text the one turn that it is."""
    if isinstance(completion, str):
        return [Turn(completion)]
    found: list[Turn] = []
    for message in completion:
        if message.get("role") == "tool":
            waiting = [call for call in found[-1].calls if call.result is None] if found else []
            if waiting:
                waiting[0].result = _content(message.get("content"))
        else:
            calls = [_call(each) for each in message.get("tool_calls") or ()]
            thought = next((message[name] for name in _THOUGHT if message.get(name)), None)
            found.append(Turn(_content(message.get("content")), calls, _content(thought)))
    return found


def text(turns: Sequence[Turn]) -> str:
    """A line each: what the model said, what it called, and behind an arrow what that answered.

    Without what it thought: an answer is looked for in this text.
    """
    lines: list[str] = []
    for turn in turns:
        lines += [turn.said] if turn.said or not turn.calls else []
        for call in turn.calls:
            lines += [call.text] if call.result is None else [call.text, f"-> {call.result}"]
    return "\n".join(lines)


def _call(raw: Any) -> Call:
    function = raw.get("function") if isinstance(raw, dict) else None
    if not isinstance(function, dict):
        return Call("?", json.dumps(raw, ensure_ascii=False, default=str))
    arguments = function.get("arguments")
    if isinstance(arguments, dict):
        written = [f"{name}={json.dumps(value, ensure_ascii=False, default=str)}" for name, value in arguments.items()]
        return Call(str(function.get("name")), ", ".join(written))
    return Call(str(function.get("name")), str(arguments or ""))


def _content(content: Any) -> str:
    if isinstance(content, list):
        return " ".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    return "" if content is None else str(content)
