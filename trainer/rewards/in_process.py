"""Reward functions called in this process.

No deadline, and a function that exits ends the process: for functions that hold a model, which belongs on the GPU of
the training, for scoring after a run, for tests.

Imports no library; what the functions import is theirs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext

from trainer.errors import RewardError
from trainer.machine import out_of_memory
from trainer.rewards.calls import Answer, Call, ask, failure
from trainer.rewards.contract import Failure, RewardFunction, together


class Here:
    """A Runner that calls the functions itself; `spans` times each as reward.NAME."""

    def __init__(
        self,
        functions: Mapping[str, RewardFunction],
        spans: Callable[[str], AbstractContextManager[None]] = lambda name: nullcontext(),
    ) -> None:
        self.functions = functions
        self.spans = spans

    def run(self, calls: Sequence[Call]) -> dict[str, Answer]:
        answers = {}
        for call in calls:
            with self.spans(f"reward.{call.name}"):
                answers[call.name] = self._answer(call)
        return answers

    def _answer(self, call: Call) -> Answer:
        """A batch that raises is tried row by row, so that the row that cannot be judged is found, and without such
        rows once more, because a function may judge a row by the others of its batch."""
        answer = self._asked(call)
        if isinstance(answer, Answer) or call.rows == 1:
            return answer if isinstance(answer, Answer) else Answer([answer], 0.0)
        # Twice the work, in the rare case only: a whole batch that raises does not say which row is to blame.
        alone = [self._answer(call.of([row])) for row in range(call.rows)]
        found = Answer([value for one in alone for value in one.values], sum(one.seconds for one in alone))
        good = [row for row, value in enumerate(found.values) if not isinstance(value, Failure)]
        if good and not self.functions[call.name].rowwise:
            again = self._asked(call.of(good))
            if isinstance(again, Answer):
                found.seconds, found.said = found.seconds + again.seconds, again.said
            values = again.values if isinstance(again, Answer) else [together(again.why)] * len(good)
            for row, value in zip(good, values, strict=True):
                found.values[row] = value
        return found

    def _asked(self, call: Call) -> Answer | Failure:
        """The answer to the whole call, or why it raised."""
        try:
            return ask(self.functions[call.name], call)
        except RewardError:
            raise
        except Exception as error:
            if out_of_memory.is_out_of_memory(error):
                raise  # the whole step is tried again in smaller pieces
            return failure(error)

    def close(self) -> None:
        pass
