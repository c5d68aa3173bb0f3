"""The rows that are being written: their cache, where each begins in it, how far each is."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from trainer.fast import growing
from trainer.fast.prefixes import left_padded


class Batch:
    """rows: numbers in the whole batch; ages: tokens written of each. empty: a cache without rows."""

    def __init__(self, model: Any, empty: Any) -> None:
        self.model, self.empty = model, empty
        self.rows: list[int] = []
        self.ages: list[int] = []
        self.columns = 0
        self.starts = self.places = torch.empty(0, dtype=torch.long, device=model.device)
        self.cache = growing.growing(empty)

    def join(self, groups: list[list[int]], prompts: list[Tensor]) -> Tensor:
        """Read each prompt once for the rows of its group; (new rows, V) scores of their first tokens.

        prompts: (P,) of each group, without padding.
        """
        owners = [place for place, group in enumerate(groups) for _ in group]
        owner = torch.tensor(owners, device=self.model.device)
        cache = growing.growing(self.empty)
        logits = self._forward(cache, left_padded(prompts))
        cache.reorder_cache(owner)
        longest = max(map(len, prompts))
        lengths = torch.tensor([len(prompts[place]) for place in owners], device=self.model.device)
        if self.rows:
            self._drop_padding()
            growing.join(cache=self.cache, other=cache)
        else:
            self.cache, self.columns = cache, 0
        columns = max(self.columns, longest)
        self.starts = torch.cat([self.starts + columns - self.columns, columns - lengths])
        self.places = torch.cat([self.places, lengths])
        self.columns = columns
        self.rows += [row for group in groups for row in group]
        self.ages += [0] * len(owners)
        return logits[owner]

    def _drop_padding(self) -> None:
        first = int(self.starts.min())
        if first:
            growing.drop(self.cache, first)
            self.starts, self.columns = self.starts - first, self.columns - first

    def step(self, tokens: Tensor) -> Tensor:
        """(rows, V) scores of what follows these tokens (rows,), one of each row."""
        self.columns += 1
        given = {"input_ids": tokens[:, None], "position_ids": self.places[:, None]}
        if bool(self.starts.any()):
            columns = torch.arange(self.columns, device=tokens.device)
            given["attention_mask"] = (columns >= self.starts[:, None]).long()
        self.places = self.places + 1
        self.ages = [age + 1 for age in self.ages]
        return self._forward(self.cache, given)

    def leave(self, stay: list[int]) -> None:
        """Only the rows at these places stay."""
        self.rows = [self.rows[place] for place in stay]
        self.ages = [self.ages[place] for place in stay]
        kept = torch.tensor(stay, dtype=torch.long, device=self.starts.device)
        self.starts, self.places = self.starts[kept], self.places[kept]
        if stay:
            self.cache.reorder_cache(kept)

    def spread(self, places: list[int], rows: list[int]) -> None:
        """These places, one several times, under these numbers."""
        self.leave(places)
        self.rows = rows

    def by_age(self) -> list[tuple[int, list[int]]]:
        """(age, places of the rows of that age): those that began together."""
        found: dict[int, list[int]] = {}
        for place, age in enumerate(self.ages):
            found.setdefault(age, []).append(place)
        return list(found.items())

    def _forward(self, cache: Any, given: dict[str, Tensor]) -> Tensor:
        logits = self.model(**given, past_key_values=cache, use_cache=True, logits_to_keep=1).logits
        return logits[:, -1].float()
