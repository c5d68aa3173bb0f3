"""ComponentRewardWrapper: several reward functions as the one that TRL sees.

TRL names a reward by its class, so its metrics are `rewards/ComponentRewardWrapper/mean` and `/std`; mean, std and
seconds of every component are logged beside them under its own name through TRL's `log_metric`.

Why one function and not TRL's list of them with `reward_weights` (1.14.2): its nansum leaves out the None of
one function in silence, an exception of one ends the run, and one that hangs holds it for ever; it knows no clip,
scale or nested sum. TRL's own part stays: it takes the (B,) rewards that `__call__` returns, compares the G
completions of each prompt and turns None into NaN.

    B = P * G  completions of a call      S  steps of a completion, under process supervision
    C  cells: B of them, or under process supervision the sum of all S; arithmetic.py works on cells
"""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from types import SimpleNamespace
from typing import Any

from trainer.errors import Problem, RewardError
from trainer.rewards import arithmetic, building, played, steps
from trainer.rewards import cells as cells_of
from trainer.rewards.calls import Answer, Call, Runner
from trainer.rewards.contract import Completion, Failure, Value, text_of
from trainer.rewards.in_process import Here
from trainer.rewards.notes import Notes
from trainer.rewards.pool import Pool
from trainer.spec import Component, Reward
from trainer.text import Message

BATCHES = 3
"""Batches in a row without a single value of a component, or without a single reward, after which the run ends."""


class ComponentRewardWrapper:
    """Weighted sum of components; same contract as a TRL reward function.

    pooled: run the functions in processes with a deadline, as a training must; else in this one.
    What the newest call found, row by row:
    last_components  {name of a function: value, scaled and clipped, 0 where it is not paid, before its weight; with
                      steps their sum}
    last_unpaid      {name of a function: the value that its only_if, or that of a sum it is in, did not let count}
    last_objectives  (K, B): what each of the K components outside of sums gives to a row, before its weight; once
                      `objectives` was asked for
    last_correct     did the component that tells right from wrong reach reward.correct_at; None when it said nothing
    last_seconds     {name of a function: seconds inside it, summed over processes}
    last_reasons     {name of a function: why it could not judge the row}; empty when all is well
    last_steps       with process supervision the texts of the completion's steps, (B, S), else []
    last_step_rewards  (B, S), the reward of each step; a value for the whole completion counts at its last step
    """

    def __init__(
        self,
        reward: Reward,
        spans: Callable[[str], AbstractContextManager[None]] = lambda name: nullcontext(),
        pooled: bool = False,
    ) -> None:
        self.reward = reward
        self.supervision = reward.supervision
        self.spans = spans
        self.leaves = {leaf.title: leaf for leaf in reward.leaves()}
        # A person's own file is only ever run in its own process: what it does there cannot hurt the training.
        known = {name: building.make(leaf) for name, leaf in self.leaves.items() if leaf.file is None or not pooled}
        self._reads = {name: building.reads(function, self.leaves[name]) for name, function in known.items()}
        self.here = {name: function for name, function in known.items() if not pooled or function.runs_in == "trainer"}
        away = [leaf for name, leaf in self.leaves.items() if name not in self.here]
        self._runners: list[tuple[list[str], Runner]] = [(list(self.here), Here(self.here, spans))]
        if away:
            pool = Pool(away, reward.deadline_s, reward.workers)
            self._runners.append(([leaf.title for leaf in away], pool))
        outcome = reward.supervision == "outcome"
        self._light = {n for n in self.leaves if outcome and (n not in known or known[n].runs_in == "pool")}
        self.correct_name = reward.correct or next(iter(self.leaves))
        self._answer = known[self.correct_name].answer if self.correct_name in known else None
        self._separate = False
        # Of the newest training batch; before the first, where a check or an evaluation asks, that of the beginning.
        self._state = SimpleNamespace(global_step=0, epoch=0.0, max_steps=1, num_train_epochs=1)
        self._judged: set[str] = set()  # components that have ever given a value
        self._silent: dict[str, int] = {}  # batches in a row in which a component failed for all rows
        self._gaps: set[str] = set()  # components that have left rows without a value
        self._without = 0  # batches in a row without any reward
        self.last_components: dict[str, list[float | None]] = {}
        self.last_unpaid: list[dict[str, float]] = []
        self.last_objectives: list[list[float | None]] = []
        self.last_correct: list[bool | None] = []
        self.last_seconds: dict[str, float] = {}
        self.last_reasons: list[dict[str, Message]] = []
        self.last_steps: list[list[str]] = []
        self.last_step_rewards: list[list[float | None]] = []

    def __call__(
        self,
        /,  # a column may be called self
        prompts: Sequence[Any],
        completions: Sequence[Completion],
        log_metric: Callable[[str, float], None] | None = None,
        log_extra: Callable[[str, list[Any]], None] | None = None,
        **columns: Any,
    ) -> list[float | None]:
        """(B,): the reward of each completion while training; None where nothing could judge it.

        TRL calls it, with the columns of the data and its own arguments (trainer_state, log_metric, log_extra,
        completion_ids) by name. Raises RewardError as `reward.on_error` wants.
        """
        with self.spans(type(self).__name__):
            answers = self._ask(prompts, completions, columns)
            rewards = self._weigh(prompts, answers, training=True)
        if log_metric is not None:
            self._log(answers, log_metric)
        for which, name, what in (word for answer in answers.values() for word in answer.said):
            listener = log_metric if which == "log_metric" else log_extra
            if listener is not None:
                listener(name, what)
        return rewards

    def score(self, /, prompts: Sequence[Any], completions: Sequence[Completion], **columns: Any) -> list[float | None]:
        """(B,): the same outside of training: nothing is taken relative to the batch, and a failure is only noted."""
        with self.spans(type(self).__name__):
            return self._weigh(prompts, self._ask(prompts, completions, columns), training=False)

    def light(
        self, /, prompts: Sequence[Any], completions: Sequence[Completion], **columns: Any
    ) -> dict[str, list[Value]]:
        """{name of a function: (B,) values as it returns them}, of those that hold no model and ask no server. Nothing
        is noted of them. Under process supervision none: a function may then judge steps."""
        arguments = {"prompts": prompts, "completions": completions, **columns}
        answers: dict[str, Answer] = {}
        for names, runner in self._runners:
            shared = {"trainer_state": self._state}
            calls = [self._call(name, len(completions), arguments, shared) for name in names if name in self._light]
            answers |= runner.run(calls) if calls else {}
        return {name: answer.values for name, answer in answers.items()}

    def answer_of(self, text: str) -> str | None:
        """The answer in a completion, for majority votes: what the deciding component looks at, else the whole text."""
        return self._answer(text) if self._answer is not None else text.strip()

    def objectives(self) -> list[Objective]:
        """The components outside of sums as K reward functions, for a trainer that normalises each by itself."""
        self._separate = True
        return [Objective(self, place, part.title) for place, part in enumerate(self.reward.components)]

    def notes(self) -> Notes:
        titles = [part.title for part in self.reward.components]
        return Notes(
            components=self.last_components,
            unpaid=self.last_unpaid,
            objectives=dict(zip(titles, self.last_objectives, strict=False)),  # [] where nobody asked for them
            correct=self.last_correct,
            reasons=self.last_reasons,
            steps=self.last_steps,
            step_rewards=self.last_step_rewards,
        )

    def close(self) -> None:
        for _, runner in self._runners:
            runner.close()

    # ---- asking

    def _ask(
        self, prompts: Sequence[Any], completions: Sequence[Completion], columns: dict[str, Any]
    ) -> dict[str, Answer]:
        rows = len(completions)
        process = self.supervision == "process"
        self.last_steps = [steps.split(text_of(c), self.reward.step_split) for c in completions] if process else []
        episodes = played.of(columns.get("environments"))
        arguments: dict[str, Any] = {"prompts": prompts, "completions": completions}
        # What TRL passes beside columns is no list of B (log_metric, environments): it belongs to no completion.
        arguments |= {name: values for name, values in columns.items() if _one_a_row(values, rows)}
        if episodes:
            arguments["environments"] = episodes
        # TRL hands over the live TrainerState; another process gets its numbers and words only.
        if "trainer_state" in columns:
            self._state = _picklable(columns["trainer_state"])
        shared = {"trainer_state": self._state}
        if process:
            arguments["steps"] = self.last_steps
        answers: dict[str, Answer] = {}
        for names, runner in self._runners:
            if names:
                answers |= runner.run([self._call(name, rows, arguments, shared) for name in names])
        found = {
            name: self._regrouped(answers[name]) if leaf.per_step else answers[name]
            for name, leaf in self.leaves.items()
        }
        return played.without_lost(found, episodes)

    def _call(self, name: str, rows: int, arguments: dict[str, Any], shared: dict[str, Any]) -> Call:
        reads = self._reads.get(name, {building.ALL_COLUMNS})
        if building.ALL_COLUMNS not in reads:
            arguments = {key: values for key, values in arguments.items() if key in reads}
            shared = {key: value for key, value in shared.items() if key in reads}
        counts = [len(texts) for texts in self.last_steps] or None
        if not self.leaves[name].per_step:
            return Call(name, rows, arguments, shared, counts)
        # per_step: every step is asked as a completion of its own, (C,) rows, each with the columns of its completion.
        owner = [row for row, texts in enumerate(self.last_steps) for _ in texts]
        spread = {key: [values[row] for row in owner] for key, values in arguments.items() if key != "steps"}
        texts = [text for texts in self.last_steps for text in texts]
        whole = spread["completions"]
        spread["completions"] = [_like(text, completion) for text, completion in zip(texts, whole, strict=True)]
        return Call(name, len(owner), spread, shared)

    def _regrouped(self, answer: Answer) -> Answer:
        """One value a step, flat -> lists of them, one a completion."""
        values = iter(answer.values)
        nested: Any = [[next(values) for _ in texts] for texts in self.last_steps]
        return Answer(nested, answer.seconds)  # what it said is of steps, and TRL's tables are of completions

    # ---- weighing

    def _weigh(self, prompts: Sequence[Any], answers: dict[str, Answer], training: bool) -> list[float | None]:
        self.last_seconds = {name: answer.seconds for name, answer in answers.items()}
        values: dict[str, list[Any]] = {name: list(answer.values) for name, answer in answers.items()}
        self.last_reasons = [
            {name: why for name, column in values.items() if (why := cells_of.why_failed(column[row])) is not None}
            for row in range(len(prompts))
        ]
        self._refuse_broken(prompts, training)
        # "zero" teaches the model to avoid what breaks the function, where 0 is the lowest reward. "none" leaves the
        # row out of the group's mean and std (TRL's nanmean, nanstd). A row there was no time for is never made 0.
        if self.reward.on_error == "zero":
            values = {name: [cells_of.zeroed(value) for value in column] for name, column in values.items()}
        # From here on (C,): steps of all completions one after the other, a completion without steps is one cell.
        cells = [len(texts) for texts in self.last_steps] or [1] * len(prompts)
        flat = {name: cells_of.flat(column, cells) for name, column in values.items()}
        held = arithmetic.held(self.reward.components, flat, cells)
        self._note(flat, held, cells)
        parts = self.reward.components
        sums = [_divided(v, self.reward.divide_by) for v in arithmetic.total(parts, flat, training, held)]
        rewards = arithmetic.joined(sums, cells)
        if self._separate:  # TRL sums them: a row without a reward must have none of them
            columns = [arithmetic.valued(part, flat, training, held) for part in parts]
            self.last_objectives = [
                [v if isinstance(v, float) and total is not None else None for v, total in zip(c, rewards, strict=True)]
                for c in columns
            ]
        if self.last_steps:
            left = iter(sums)
            found = [[next(left) for _ in texts] for texts in self.last_steps]
            # A completion without a reward has no rewards of steps either: its advantage must not come from half of it.
            self.last_step_rewards = [
                [None if total is None or isinstance(v, Failure) else v for v in row]
                for row, total in zip(found, rewards, strict=True)
            ]
        if training:
            self._refuse_no_reward(rewards)
        return rewards

    def _note(self, flat: arithmetic.Leaves, held: arithmetic.Held, cells: Sequence[int]) -> None:
        """What each component found in each completion, what of it is paid, and which completions are right."""
        found: dict[str, list[float | None]] = {}
        starts = list(itertools.accumulate(cells, initial=0))[:-1]
        self._plain, self._unpaid = {}, {}
        for node, sums in _nodes(self.reward.components):
            values = arithmetic.measured(node, flat, held)
            found[node.title] = arithmetic.joined(values, cells)
            conditions = [held[title] for title in (node.title, *sums) if title in held]
            for holds in conditions:
                values = arithmetic.paid(values, holds)
            self._plain[node.title] = arithmetic.joined(values, cells)
            if conditions:  # one cell tells: a condition is of the whole completion
                self._unpaid[node.title] = [any(holds[first] is False for holds in conditions) for first in starts]
        self.last_components = {name: self._plain[name] for name in self.leaves}
        self.last_unpaid = [
            {
                name: value
                for name, unpaid in self._unpaid.items()
                if unpaid[row] and name in self.leaves and (value := found[name][row]) is not None
            }
            for row in range(len(cells))
        ]
        # Whether it is paid or not: a right answer is right.
        right = found[self.correct_name]
        self.last_correct = [None if value is None else value >= self.reward.correct_at for value in right]

    def _refuse_broken(self, prompts: Sequence[Any], training: bool) -> None:
        """Note who has ever judged a row; while training, raise RewardError where a failure cannot be lived with."""
        for name in self.leaves:
            rows = [row for row, failed in enumerate(self.last_reasons) if name in failed]
            if len(rows) < len(prompts):
                self._judged.add(name)
                self._silent[name] = 0
            if not rows or not training:
                continue
            why = self.last_reasons[rows[0]][name]
            if self.reward.on_error == "fail":
                raise RewardError(Problem("rewards.failed_on", name=name, why=why, prompt=_short(prompts[rows[0]])))
            if len(rows) == len(prompts):
                self._silent[name] = self._silent.get(name, 0) + 1
                if name not in self._judged or self._silent[name] >= BATCHES:
                    key = "rewards.silent" if name in self._judged else "rewards.silent_first"
                    raise RewardError(Problem(key, name=name, rows=len(rows), batches=BATCHES, why=why))

    def _refuse_no_reward(self, rewards: Sequence[float | None]) -> None:
        self._without = 0 if any(value is not None for value in rewards) else self._without + 1
        if self._without >= BATCHES:
            raise RewardError(Problem("rewards.none", batches=BATCHES))

    # ---- telling

    def _log(self, answers: dict[str, Answer], log_metric: Callable[[str, float], None]) -> None:
        for name, column in self._plain.items():
            _log_spread(name, column, log_metric)
        for name, answer in answers.items():
            log_metric(f"rewards/{name}/seconds", answer.seconds)
            cost = self.here[name].cost if name in self.here else None
            for unit, number in cost().items() if cost is not None else ():
                log_metric(f"rewards/{name}/{unit}", number)
        for name, unpaid in self._unpaid.items():
            log_metric(f"rewards/{name}/unpaid", sum(unpaid) / len(unpaid))
        for name in self.leaves:
            none = sum(value is None for value in self.last_components[name])
            if none:
                self._gaps.add(name)
            if name in self._gaps:  # from the first on: a gap in the curve would look like a zero
                log_metric(f"rewards/{name}/none", none / len(self.last_reasons))


class Objective:
    """One component as TRL sees it with multi_objective_aggregation = "normalize_then_sum". Its name is not the
    component's, under which the wrapper logs what it found in every row, those without a reward included.

    TRL asks its reward functions in order: the first one has the wrapper judge the batch, for all of them.
    """

    def __init__(self, wrapper: ComponentRewardWrapper, place: int, title: str) -> None:
        self.wrapper = wrapper
        self.place = place
        self.__name__ = f"{type(wrapper).__name__}.{title}"

    def __call__(
        self, /, log_metric: Callable[[str, float], None] | None = None, **arguments: Any
    ) -> list[float | None]:
        if self.place == 0:
            rewards = self.wrapper(log_metric=log_metric, **arguments)
            if log_metric is not None:
                _log_spread(type(self.wrapper).__name__, rewards, log_metric)
        return self.wrapper.last_objectives[self.place]


def _log_spread(name: str, values: Sequence[float | None], log_metric: Callable[[str, float], None]) -> None:
    known = [value for value in values if value is not None]
    if known:
        log_metric(f"rewards/{name}/mean", statistics.fmean(known))
        log_metric(f"rewards/{name}/std", statistics.stdev(known) if len(known) > 1 else 0.0)


def _nodes(components: Sequence[Component], sums: tuple[str, ...] = ()) -> Iterator[tuple[Component, tuple[str, ...]]]:
    """(component, titles of the sums it is in) of every component, sums after what they add up."""
    for component in components:
        yield from _nodes(component.components, (component.title, *sums))
        yield component, sums


def _one_a_row(values: Any, rows: int) -> bool:
    return isinstance(values, (list, tuple)) and len(values) == rows


def _picklable(state: Any) -> SimpleNamespace:
    """The plain numbers and words of TRL's trainer_state."""
    return SimpleNamespace(**{k: v for k, v in vars(state).items() if isinstance(v, (int, float, str, type(None)))})


def _like(text: str, completion: Completion) -> Completion:
    """A text in the form of a completion."""
    return text if isinstance(completion, str) else [*completion[:-1], completion[-1] | {"content": text}]


def _divided(value: Value, by: float) -> Value:
    return value / by if isinstance(value, float) else value


def _short(prompt: Any) -> str:
    text = prompt if isinstance(prompt, str) else str(prompt[-1].get("content", "")) if prompt else ""
    return text if len(text) <= 80 else text[:77] + "..."
