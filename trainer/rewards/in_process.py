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
from trainer.rewards.contract import RewardFunction


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
        """A batch that raises is tried row by row, so that the row that cannot be judged is found."""
        try:
            return ask(self.functions[call.name], call)
        except RewardError:
            raise
        except Exception as error:
            if out_of_memory.is_out_of_memory(error):
                raise  # the whole step is tried again in smaller pieces
            # Twice the work, in the rare case only: a whole batch that raises does not say which row is to blame.
            if call.rows == 1:
                return Answer([failure(error)], 0.0)
        answers = [self._answer(call.of([row])) for row in range(call.rows)]
        values = [value for answer in answers for value in answer.values]
        return Answer(values, sum(answer.seconds for answer in answers))

    def close(self) -> None:
        pass
