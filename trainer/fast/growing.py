"""A cache of keys and values for decoding: tokens are written where there is room, rows come and go.

transformers' own joins the whole cache anew for each token (cache_utils.py `DynamicLayer.update`), which costs more
than the token itself where prompts are long.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

ROOM = 64  # tokens that are made room for at once


class Growing(DynamicLayer):  # type: ignore[misc]  # Any: transformers is not read by mypy
    """As DynamicLayer, with room behind its tokens. keys, values: (rows, heads, tokens, head size), views of it."""

    def update(self, keys: Tensor, values: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        if not self.is_initialized:
            self.lazy_initialization(keys, values)
            self._hold((keys, values), keys.shape[-2])
            return keys, values
        before = self.keys.shape[-2]
        length = before + keys.shape[-2]
        if length > self.room[0].shape[-2]:
            self._hold([_wider(each, length) for each in (self.keys, self.values)], before)
        for held, new in zip(self.room, (keys, values), strict=True):
            held[:, :, before:length] = new
        self._hold(self.room, length)
        return self.keys, self.values

    def _hold(self, room: Sequence[Tensor], length: int) -> None:
        self.room = tuple(room)
        self.keys, self.values = (each[:, :, :length] for each in room)

    def reorder_cache(self, beam_idx: Tensor) -> None:
        """These rows, in this order; one may be there several times."""
        length = self.keys.shape[-2]
        self._hold([_wider(each[beam_idx], length) for each in (self.keys, self.values)], length)


def _wider(tensor: Tensor, length: int) -> Tensor:
    """A copy with room for `length` tokens and some more."""
    return nn.functional.pad(tensor, (0, 0, 0, length + ROOM - tensor.shape[-2]))


def growing(cache: Any) -> Any:
    """An empty cache like this one, with layers that grow in place; None where it is of another kind or not empty."""
    if type(cache) is not DynamicCache or cache.get_seq_length() or cache.offloading:
        return None
    made = copy.deepcopy(cache)
    made.layers = [Growing() if type(layer) is DynamicLayer else layer for layer in made.layers]
    return made


def joins(cache: Any) -> bool:
    """Can rows of other lengths come to those that are there? Not where a state stands for the whole past."""
    return all(type(layer) in (Growing, DynamicSlidingWindowLayer) for layer in cache.layers)


def drop(cache: Any, columns: int) -> None:
    """Forget the first columns: padding in every row."""
    for layer in cache.layers:
        if isinstance(layer, Growing):
            layer._hold([each[:, :, columns:] for each in layer.room], layer.keys.shape[-2] - columns)
        else:
            layer.cumulative_length -= columns
            layer.keys, layer.values = (each[:, :, -layer.cumulative_length :] for each in (layer.keys, layer.values))


def join(cache: Any, other: Any) -> None:
    """Put the rows of `other` below those of `cache`; the shorter ones get padding on their left."""
    for layer, new in zip(cache.layers, other.layers, strict=True):
        length = max(layer.keys.shape[-2], new.keys.shape[-2])
        both = [
            torch.cat([nn.functional.pad(each, (0, 0, length - each.shape[-2], 0)) for each in pair])
            for pair in ((layer.keys, new.keys), (layer.values, new.values))
        ]
        if isinstance(layer, Growing):
            layer._hold([_wider(each, length) for each in both], length)
        else:
            layer.keys, layer.values = both
            layer.cumulative_length = max(layer.cumulative_length, new.cumulative_length)
