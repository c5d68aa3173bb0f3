"""Messages as fields of the plan: in plan.json and in the event `plan` as Message.stored() makes them.

A plan of an older version has English sentences there; they are read as they are.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import PlainSerializer, PlainValidator

from trainer.text import Message


def _read(value: Any) -> Message:
    return value if isinstance(value, Message) else Message.read(value)


StoredMessage = Annotated[
    Message,
    PlainValidator(_read),
    PlainSerializer(Message.stored, return_type=dict[str, Any]),
]
