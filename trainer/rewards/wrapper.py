"""ComponentRewardWrapper: several reward functions as the one that TRL sees.

TRL names a reward by its class, so its metrics are `rewards/ComponentRewardWrapper/mean` and `/std`; each component's
mean and std are logged beside them under its own name through TRL's `log_metric`.
"""

from __future__ import annotations

import math
import re
import statistics
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from trainer.errors import Problem, RewardError
from trainer.rewards.contract import RewardFunction
from trainer.rewards.library import REWARDS
from trainer.spec import Component, Reward


class ComponentRewardWrapper:
    """Weighted sum of components; same contract as a TRL reward function.

    After a call, `last_components` holds {name: value of each row, scaled and clipped, before the weight} and
    `last_correct` whether each row reached `reward.correct_at` in the component that tells right from wrong. A value
    that is None or not finite leaves its component out of the row's sum; a row without any value is None.
    """

    def __init__(
        self,
        reward: Reward,
        spans: Callable[[str], AbstractContextManager[None]] = lambda name: nullcontext(),
    ) -> None:
        self.components = [(component.name or component.function, component) for component in reward.components]
        self.functions = [(name, _make(name, component)) for name, component in self.components]
        self.correct_name = reward.correct or self.components[0][0]
        self.correct_at = reward.correct_at
        self.spans = spans
        self.last_components: dict[str, list[float | None]] = {}
        self.last_correct: list[bool | None] = []

    def __call__(
        self,
        prompts: Sequence[Any],
        completions: Sequence[Any],
        log_metric: Any = None,
        **columns: Any,
    ) -> list[float | None]:
        with self.spans(type(self).__name__):
            values = {
                name: self._evaluate(name, function, prompts, completions, columns) for name, function in self.functions
            }
        self.last_components = values
        self.last_correct = [None if value is None else value >= self.correct_at for value in values[self.correct_name]]
        if log_metric is not None:
            for name, column in values.items():
                _log_spread(log_metric, name, column)
        return [self._total(row) for row in zip(*values.values(), strict=True)]

    def _evaluate(
        self,
        name: str,
        function: RewardFunction,
        prompts: Sequence[Any],
        completions: Sequence[Any],
        columns: dict[str, Any],
    ) -> list[float | None]:
        """One component on all rows, scaled and clipped; every value is finite or None."""
        with self.spans(f"reward.{name}"):
            try:
                # Copies: a function that edits what it is given must not change the data of the next one.
                raw = function(prompts=list(prompts), completions=list(completions), **columns)
            except Exception as error:
                raise RewardError(
                    Problem(
                        f"reward component {name}",
                        f"raised {type(error).__name__}: {error}",
                        "fix the function or its params",
                    )
                ) from error
        if not isinstance(raw, (list, tuple)) or len(raw) != len(completions):
            seen = f"{len(raw)} values" if isinstance(raw, (list, tuple)) else type(raw).__name__
            raise RewardError(
                Problem(
                    f"reward component {name}",
                    f"must return {len(completions)} values, one a completion; it returned {seen}",
                )
            )
        component = dict(self.components)[name]
        return [_adjust(name, value, component) for value in raw]

    def _total(self, row: Sequence[float | None]) -> float | None:
        known = [
            value * component.weight
            for value, (_, component) in zip(row, self.components, strict=True)
            if value is not None
        ]
        return sum(known) if known else None


def _make(name: str, component: Component) -> RewardFunction:
    try:
        return REWARDS[component.function](**component.params)
    except (TypeError, ValueError, re.error) as error:
        raise RewardError(
            Problem(f"reward component {name}", f"params do not fit {component.function}: {error}")
        ) from error


def _adjust(name: str, value: Any, component: Component) -> float | None:
    """Scale, then clip. None for a value that is None or not finite."""
    if value is None:
        return None
    try:
        number = float(value) * component.scale
    except (TypeError, ValueError) as error:
        raise RewardError(Problem(f"reward component {name}", f"returned {value!r}, which is not a number")) from error
    if not math.isfinite(number):
        return None
    if component.clip is not None:
        number = min(max(number, component.clip[0]), component.clip[1])
    return number


def _log_spread(log_metric: Callable[[str, float], None], name: str, column: Sequence[float | None]) -> None:
    known = [value for value in column if value is not None]
    if known:
        log_metric(f"rewards/{name}/mean", statistics.fmean(known))
        log_metric(f"rewards/{name}/std", statistics.stdev(known) if len(known) > 1 else 0.0)
