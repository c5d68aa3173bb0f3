"""Which column is likely meant where one is missing, and what to type so that it is taken. Standard library."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Any

from trainer.data import shapes
from trainer.data.values import printable

_MOST = 24  # names of columns in a sentence
# What people call a question, and its answer.
_ASKED = (*shapes.CONVERSATIONS, "question", "problem", "query", "instruction", "input", "text", "task")
_ANSWERED = (
    "answer", "ground_truth", "solution", "gold", "label", "target", "output", "response", "reference", "completion",
    "expected_answer", "final_answer", "reference_answer", "assistant",
)  # fmt: skip


def proposed(name: str, theirs: str, raw: Mapping[str, Any], free: Sequence[str], is_asked: bool) -> dict[str, str]:
    """Values of a problem. name: ours; theirs: what data.columns calls it; free: columns of the record that nothing
    else reads; is_asked: whether it is put into the prompt."""
    known = shapes.leaves(raw)
    turn = ".0." if is_asked else ".-1."  # of a conversation
    turns = [each for each in known if turn in each and name != "prompt"]
    if not is_asked:  # a conversation is no answer: its last turn would be taken, the question where nothing follows
        free = [each for each in free if each not in shapes.CONVERSATIONS and shapes.turns(raw[each]) is None]
    others = turns or (free if len(free) == 1 else [""])
    likely = _likely(theirs, known) or _likely(name, known) or others[0]
    return {
        "ours": name,
        "likely": printable(likely),
        "change": printable(shapes.typed(shapes.change(name, likely or "COLUMN"))),
        "known": printable(shapes.escaped(", ".join(known[:_MOST]))),
    }


def _likely(name: str, known: Sequence[str]) -> str:
    """The column that is meant: of the same name but for case, in an object, a common name of the same, or alike."""
    lower = {theirs.lower(): theirs for theirs in reversed(known)}
    last = {theirs.rpartition(".")[2].lower(): theirs for theirs in reversed(known)}
    for asked in (name, *(_ASKED if name == "prompt" else _ANSWERED if name == "answer" else ())):
        asked = asked.lower()
        if theirs := lower.get(asked) or lower.get(f"{asked} (1)") or last.get(asked, ""):
            return theirs
    return lower[close[0]] if (close := difflib.get_close_matches(name.lower(), lower, 1)) else ""
