"""The loop of a function that judges one row at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from trainer.errors import Unfit, reason
from trainer.rewards.contract import Failure, Value
from trainer.text import Message


def each_row(judge: Callable[..., Value], *columns: Iterable[Any]) -> list[Value]:
    """judge(one value of each column) for every row. A row that raises TimeoutError, or Unfit of its gold answer,
    becomes a Failure that says so."""
    return [_judged(judge, row) for row in zip(*columns, strict=True)]


def _judged(judge: Callable[..., Value], row: tuple[Any, ...]) -> Value:
    # Anything else a function raises goes up: the pool, or in_process, finds the row and says where it was raised.
    try:
        return judge(*row)
    except TimeoutError as error:
        return Failure(reason(error))
    except Unfit as error:
        return Failure(Message("rewards.failed.gold", why=error.message))
