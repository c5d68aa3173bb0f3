"""A prompt and its completions in one row, each completion blind to the others: where keys and values cannot be kept.

    ids        prompt, completion 1, completion 2, ...            (1, S), S = P + T1 + T2 + ...
    positions  0 .. P-1, P .. P+T1-1, P .. P+T2-1, ...            each completion goes on from the prompt
    mask       i sees j  when  j <= i, j is of the prompt or of i's completion, positions_i - positions_j < window

Every token of the row sees what it would see in a row of its own, so its log-probability and gradient are the same; the
prompt is computed once. It needs one pass of the model and nothing of its cache: re-entrant checkpointing and
optimizers that step inside the backward pass are served, which prompts with a pass of their own (prefixes.py) are not.
The price is attention over S x S places, so a long row is cut into several (`Packing.split`).
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from trainer.fast.logps import Asked, Rows, said
from trainer.fast.prefixes import NotShared

LINEAR = 6
"""A token costs as much beside its attention as LINEAR x hidden size places cost that it sees: of a layer's weights 24
hidden^2 operations against 4 hidden for each place."""
MASKED = ("sdpa", "eager")
"""Kinds of attention that take a mask of any shape."""


class Packing:
    """Of one model. cost: of a call of the model, in tokens. kinds: the window of each layer (cache.windows)."""

    def __init__(self, config: Any, kinds: Sequence[int | None], cost: int) -> None:
        text = config.get_text_config()
        self.attention = getattr(text, "_attn_implementation", None)
        self.windows = _by_layer_type(text, kinds)
        self.linear, self.cost = LINEAR * int(text.hidden_size), cost

    def compute(
        self, model: Any, rows: Rows, live: Sequence[int], asked: Asked, at_once: int | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """As trainer.fast.logps.compute. Raises NotShared where the model's attention takes no such mask."""
        if self.attention not in MASKED:
            raise NotShared("no_mask")
        width = rows.completions.shape[1]
        found: dict[int, tuple[Tensor, ...]] = {}
        for some in self._packs(rows, live, at_once):
            values = [each for each in self._pack(model, rows, some, asked) if each is not None]
            split = [_rows_of(each, [rows.lengths[row] for row in some], width) for each in values]
            found.update(zip(some, zip(*split, strict=True), strict=True))
        logps, *entropies = (torch.stack(each) for each in zip(*(found[row] for row in live), strict=True))
        return logps, entropies[0] if entropies else None

    def saves(self, rows: Rows, live: Sequence[int]) -> bool:
        """Does it cost less than TRL's rows, each with its prompt?"""
        longest = max(len(rows.prompts[row].ids) for row in live)
        stock = len(live) * self._price(longest + rows.completions.shape[1]) + self.cost * self.linear
        packs = [
            [rows.lengths[row] for row in some] + [len(rows.prompts[some[0]].ids)] for some in self._packs(rows, live)
        ]
        ours = sum(self._price(sum(pack)) + self.cost * self.linear for pack in packs)
        return ours < stock

    def _packs(self, rows: Rows, live: Sequence[int], most: int | None = None) -> Iterator[list[int]]:
        by_prompt: dict[Hashable, list[int]] = {}
        for row in live:
            by_prompt.setdefault(rows.prompts[row].key, []).append(row)
        for some in by_prompt.values():
            some.sort(key=rows.lengths.__getitem__)
            yield from self.split(len(rows.prompts[some[0]].ids), rows.lengths, some, most)

    def split(self, prompt: int, lengths: Sequence[int], some: list[int], most: int | None = None) -> list[list[int]]:
        """Rows of one prompt in as many packs as cost least, of `most` rows at most.

        Eager attention keeps its probabilities, S x S of each layer: there a pack has no more than its rows would.
        """
        longest = prompt + max(lengths[row] for row in some)
        best, least = [[row] for row in some], float("inf")
        for size in range(1, min(len(some), most or len(some)) + 1):
            packs = [some[first : first + size] for first in range(0, len(some), size)]
            sizes = [prompt + sum(lengths[row] for row in pack) for pack in packs]
            if self.attention == "eager" and size > 1 and max(sizes) ** 2 > size * longest**2:
                continue
            price = sum(self._price(each) + self.cost * self.linear for each in sizes)
            if price < least:
                best, least = packs, price
        return best

    def _price(self, tokens: int) -> int:
        return tokens * (self.linear + tokens)

    def _pack(self, model: Any, rows: Rows, some: list[int], asked: Asked) -> tuple[Tensor, Tensor | None]:
        """(1, T1 + T2 + ...) of these rows, one after the other."""
        prompt, lengths = rows.prompts[some[0]].ids, [rows.lengths[row] for row in some]
        written = torch.cat([rows.completions[row, :length] for row, length in zip(some, lengths, strict=True)])
        device, first = written.device, len(prompt)
        counted = torch.tensor(lengths, device=device)
        # 0 of the prompt, then 1, 2, ... of each completion.
        owner = torch.arange(len(some) + 1, device=device).repeat_interleave(
            torch.cat([counted.new_tensor([first]), counted])
        )
        begins = first + counted.cumsum(0) - counted
        places = torch.arange(first + len(written), device=device)
        positions = torch.where(owner == 0, places, first + places - begins[(owner - 1).clamp(min=0)])
        before = places[first:] - 1  # what predicts each token: the one before it, of a first one the prompt's last
        before[begins - first] = first - 1
        logits = model(
            input_ids=torch.cat([prompt, written])[None],
            position_ids=positions[None],
            attention_mask=self._masks(owner, positions),
            use_cache=False,
            logits_to_keep=before,
        ).logits
        return said(logits, written[None], asked)

    def _masks(self, owner: Tensor, positions: Tensor) -> Any:
        """(1, 1, S, S) of each kind of layer; one for all where there is one kind."""
        places = torch.arange(len(owner), device=owner.device)
        seen = (places[None] <= places[:, None]) & ((owner[None] == 0) | (owner[None] == owner[:, None]))
        apart = positions[:, None] - positions[None]
        found = {}
        for kind, window in self.windows.items():
            mask = (seen if window is None else seen & (apart < window))[None, None]
            if self.attention == "eager":  # adds it to the scores
                mask = torch.zeros(mask.shape, device=mask.device).masked_fill(~mask, torch.finfo(torch.float32).min)
            found[kind] = mask
        return found if len(found) > 1 else next(iter(found.values()))


def _by_layer_type(text: Any, kinds: Sequence[int | None]) -> dict[str, int | None]:
    """The window of each kind of layer, by the name that masks of several kinds are given to a model under."""
    names = getattr(text, "layer_types", None)
    if not names or len(set(names)) == 1:
        return {"all": kinds[0]}
    return dict(zip(names, kinds, strict=False))


def _rows_of(values: Tensor, lengths: list[int], width: int) -> list[Tensor]:
    return [nn.functional.pad(each, (0, width - len(each))) for each in values[0].split(lengths)]
