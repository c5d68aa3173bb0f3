"""Messages as fields of the plan: in plan.json and in the event `plan` as keys and values, without their English.

A plan of an older version has English sentences there; they are read as they are.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import PlainSerializer, PlainValidator

from trainer.text import Message


def _read(value: Any) -> Message:
    return value if isinstance(value, Message) else Message.read(value)


def _without_english(message: Message) -> dict[str, Any]:
    """A plan has dozens of messages, and the event that holds it has to stay below 8 KB."""
    return message.stored(english=False)


StoredMessage = Annotated[
    Message,
    PlainValidator(_read),
    PlainSerializer(_without_english, return_type=dict[str, Any]),
]
