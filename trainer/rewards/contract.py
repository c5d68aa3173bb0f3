"""What a reward function is given and what it may return.

The contract is TRL's (1.14.2, its page on the GRPO trainer, "Using a custom reward function"): fn(prompts, completions,
**columns) -> one number a completion, or None for one it cannot judge. A completion is text, or a list with one
assistant message; of an episode the messages of all turns. Every list has B entries, one a completion: a prompt and its
columns are repeated for each of its G completions. Beyond TRL a value may be a Failure, which says why the row could
not be judged, and with process supervision a list with one value a step.

Imports no library.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from trainer.errors import Problem, RewardError
from trainer.text import Message

Completion = str | list[dict[str, Any]]
LARGEST = 1e9
"""Of a larger value the group's spread overflows float32, and the weights with it: no reward means that."""

NOT_REACHED = "rewards.failed.not_reached"
"""Key of the reason of a row that there was no time for."""


@dataclass(frozen=True)
class Failure:
    """Why a row could not be judged: it raised, hung, or returned what is no number."""

    why: Message
    """The end of a sentence that begins with the function's name."""
    tried: bool = True
    """False: there was no time left for it, so nothing is known against it."""

    @property
    def reason(self) -> str:
        """In English, as rollout files keep it."""
        return str(self.why)


def together(why: Message) -> Failure:
    """Of rows that each alone could be judged and together could not."""
    return Failure(Message("rewards.failed.together", why=why))


Value = float | None | Failure
Values = list[Any]
"""One Value a completion; where a function judges steps, a list with one a step."""


@dataclass(frozen=True)
class RewardFunction:
    """A function of the library with its parameters put in; call it as TRL would."""

    call: Callable[..., Any]
    columns: tuple[str, ...] = ()
    """Columns of the data it reads, beside the completions."""
    rowwise: bool = True
    """A row's value depends on that row only, so a batch may be split over processes."""
    runs_in: Literal["pool", "trainer"] = "pool"
    """`trainer`: it holds a model, which belongs on the GPU of the training process."""
    answer: Callable[[str], str | None] | None = None
    """The answer it finds in a text, for majority votes; None when it knows no answers."""
    gold: Callable[[Any], list[str]] | None = None
    """What a person would write for a value of its first column, one text an accepted answer; None when that column
    holds no gold answers. Raises Unfit, as the end of a sentence, for a value that it cannot compare with any answer.
    """
    pieces: Callable[[str], list[str]] | None = None
    """A text of that column as it cuts it into accepted answers; None when it cuts none."""
    from_trainer: tuple[str, ...] = ()
    """Beside columns: `completion_ids`, `trainer_state`, `steps` (texts of the steps), `environments` (what the
    environments say of the episodes, trainer.rewards.played) where it reads it."""
    prepare: Callable[[], object] | None = None
    """What takes long at the first call, such as an import: called once in each process that will call the function,
    before it is given rows. Raises RewardError."""
    cost: Callable[[], dict[str, float]] | None = None
    """{unit: number} of what it has asked of a server since this was last called, such as requests and tokens; logged
    beside its values."""
    classifier: Any = None
    """The model behind it, where it can go on learning (trainer.grpo.learner)."""

    def __call__(self, /, **arguments: Any) -> Any:
        return self.call(**arguments)


Factory = Callable[..., RewardFunction]
"""Params of a component -> the function. Cheap: models load at the first call. TypeError, ValueError or re.error where
the params do not fit."""


def text_of(completion: Completion) -> str:
    """The text of a completion in either of TRL's forms; of several turns what the model said last."""
    if isinstance(completion, str):
        return completion
    said = [message for message in completion if message.get("role", "assistant") == "assistant"]
    return str(said[-1].get("content") or "") if said else ""


def checked(raw: Any, rows: int, name: str, steps: Sequence[int] | None = None) -> Values:
    """What a function returned as plain values, (B,). A row that is no finite number of sane size becomes a Failure.

    rows: B, the completions it was called with. steps: steps of each completion, for a function that judges steps; it
    may still return one value a completion.
    Raises RewardError when the shape is wrong: then no value can be told to belong to a row.
    """
    # A list of another length cannot be repaired by guessing: every value would go to somebody else's completion.
    values = _listed(raw, name, Message("rewards.asked.completions", count=rows), rows)
    if steps is None:
        return [_value(value, name, row) for row, value in enumerate(values)]
    return [_of_steps(value, steps[row], name, row) for row, value in enumerate(values)]


def _of_steps(value: Any, steps: int, name: str, row: int) -> Any:
    """A list with one value a step; a single value is of the whole completion and stays one."""
    if not _is_list(value):
        return _value(value, name, row)
    where = Message("rewards.completion_of", name=name, row=row)
    asked = Message("rewards.asked.steps", count=steps)
    return [_value(part, name, row) for part in _listed(value, where, asked, steps)]


def _is_list(value: Any) -> bool:
    value = value.tolist() if hasattr(value, "tolist") else value
    return isinstance(value, (list, tuple))


def _listed(raw: Any, name: str | Message, asked: Message, count: int) -> list[Any]:
    """asked: `count` completions or steps, in words."""
    # Tensors and numpy arrays of shape (B,) are as good as lists; their own classes are not imported for that.
    if hasattr(raw, "detach"):  # a tensor, perhaps with a gradient
        raw = raw.detach()
    if hasattr(raw, "tolist"):
        raw = raw.tolist()
    # A dict would be read as its keys, a set has no order, a text is a list of letters.
    if raw is None or isinstance(raw, (str, bytes, dict, set, frozenset)) or not isinstance(raw, Iterable):
        if isinstance(raw, dict):
            raise RewardError(Problem("rewards.returned_dict", name=name, asked=asked, count=count))
        raise RewardError(Problem("rewards.returned_no_list", name=name, seen=_seen(raw), asked=asked, count=count))
    values = list(raw)
    if len(values) != count:
        raise RewardError(Problem("rewards.returned_count", name=name, got=len(values), asked=asked, count=count))
    return values


def _value(value: Any, name: str, row: int) -> Value:
    if value is None or isinstance(value, Failure):
        return value
    if isinstance(value, (str, bytes)) or _is_list(value) or not hasattr(value, "__float__"):
        raise RewardError(Problem("rewards.returned_no_number", name=name, seen=_seen(value), row=row))
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError) as error:  # a tensor of several elements, an int beyond float64
        return Failure(Message("rewards.failed.no_number", seen=_seen(value), said=str(error)))
    if math.isnan(number):  # TRL turns None into NaN before it sums the components: the two mean "no reward"
        return None
    # Infinity too: one such reward makes mean and std of its group NaN, and with them every advantage of it.
    if not abs(number) <= LARGEST:
        return Failure(Message("rewards.failed.too_large", seen=f"{number:g}", most=f"{LARGEST:g}"))
    return number


def _seen(value: Any) -> str:
    text = repr(value)
    return f"{type(value).__name__} {text if len(text) <= 40 else text[:37] + '...'}"
