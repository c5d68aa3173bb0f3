"""Plans in the trainer: where one ends, what it is worth, and what is recorded of it.

levels.py has the arithmetic. Completions of two levels are written by trainer.fast.decoding, or by two_calls.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from trainer.errors import EngineError, Problem
from trainer.fast.forks import Forks
from trainer.grpo import levels, supervision, turns
from trainer.grpo.written import COMPLETION_IDS, COMPLETIONS, Written
from trainer.rewards.contract import text_of
from trainer.run.rollouts import Plan, finite_or_none
from trainer.spec.episode import Episode

BESIDE = 8  # tokens that are read with the end of a plan: some have no letter of their own


class Plans:
    """m plans for each prompt, and n ways on from each. end: the text that ends a plan."""

    def __init__(self, plans: int, ways: int, longest: int, end: str, tokenizer: Any) -> None:
        self.plans, self.ways = plans, ways

        def ends(rows: Sequence[Sequence[int]]) -> list[bool]:
            texts = tokenizer.batch_decode(rows, skip_special_tokens=False, clean_up_tokenization_spaces=False)
            return [end in text for text in texts]

        self.forks = Forks(ways, longest, ends, len(end.encode()) + BESIDE)

    @classmethod
    def of(cls, settings: Episode, columns: Sequence[str], tokenizer: Any) -> Plans | None:
        """None for completions of one level. columns: of the rows. Raises EngineError where they have images."""
        if settings.plans is None or settings.implementations is None:
            return None
        for column in sorted({"image", "images"} & set(columns)):
            raise EngineError(Problem("grpo.plans_of_images", "data", column=column))
        sizes = (settings.plans, settings.implementations, settings.max_plan_length)
        return cls(*sizes, settings.plan_end, tokenizer)

    def credit(self, trainer: Any, output: dict[str, Any], written: Written) -> list[Plan]:
        """The plan of each row; the advantages of both levels are put into the generation batch, (N, T)."""
        ids = written.generated[COMPLETION_IDS]
        rewards = trainer._totals(written.rewards)  # of all processes; each has whole plans
        found = levels.compared(rewards, self.plans, self.ways, trainer.scale_rewards)
        first = trainer.accelerator.process_index * len(ids)
        values = found.values[first : first + len(ids)]
        places = levels.places(self.forks.lengths, list(map(len, ids)))
        mask = output["completion_mask"]
        output["advantages"] = turns.over_tokens(values, places, mask.shape[1]).to(mask.device)
        metrics = trainer._metrics["train"]
        metrics["episodes/plan_cut_frac"].append(sum(self.forks.cut) / len(self.forks.cut))
        metrics["episodes/plan_std"].append(levels.spread(found.means, self.plans))
        means = finite_or_none(found.means.tolist())
        return self._recorded(written, first, means, values.tolist(), trainer._tokenizer)

    def _recorded(
        self, written: Written, first: int, means: list[float | None], values: list[list[float]], tokenizer: Any
    ) -> list[Plan]:
        """first: rows of the processes before this one, whose plans `means` has too."""
        ids, completions, recorded = written.generated[COMPLETION_IDS], written.generated[COMPLETIONS], list[Plan]()
        for row, (mine, (advantage, rest)) in enumerate(zip(ids, values, strict=True)):
            plan, length = (first + row) // self.ways, self.forks.lengths[row]
            if row % self.ways == 0:  # the others have the same text
                text_end = _text_end(mine, length, tokenizer, text_of(completions[row]))
            recorded.append(Plan(plan % self.plans, text_end, length, means[plan], advantage, rest))
        return recorded


def _text_end(ids: list[int], length: int, tokenizer: Any, text: str) -> int:
    """Characters of a completion's text up to the end of its plan of so many tokens."""
    whole = str(tokenizer.decode(ids, skip_special_tokens=True))
    before = max(0, whole.find(text))  # the response parser may have taken a part of the text
    end = supervision.begins(ids[: length + 1], tokenizer)[length] if length < len(ids) else len(whole)
    return min(max(0, end - before), len(text))
