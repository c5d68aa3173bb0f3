"""Layers of transformers' cache for a prompt that several completions share.

Recorded*   keeps the keys and values of one pass over prompts, with their graph.
Front*      stands before the tokens of a completion and is never changed.

Shapes: (rows, heads, tokens, head size) for keys and values. transformers 5.17, cache_utils.py: `DynamicLayer`,
`DynamicSlidingWindowLayer`; masking_utils.py asks each layer how long it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, cat, nn
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

Pair = tuple[Tensor, Tensor]
"""Keys and values of one layer."""


class Recorded(DynamicLayer):  # type: ignore[misc]  # Any: transformers is not read by mypy
    """Holds what the first call brought. A second call is the replay of gradient checkpointing and changes nothing."""

    def update(self, keys: Tensor, values: Tensor, *args: Any, **kwargs: Any) -> Pair:
        if not self.is_initialized:
            self.lazy_initialization(keys, values)
            self.keys, self.values = keys, values
        return keys, values

    def get_seq_length(self) -> int:
        return 0  # also in the replay, which makes its mask anew

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        return query_length, 0


class RecordedSliding(Recorded):
    """The same for a layer with a window: it is asked for another mask."""

    is_sliding = True

    def __init__(self, sliding_window: int) -> None:
        super().__init__()
        self.sliding_window = sliding_window


class Front(DynamicLayer):  # type: ignore[misc]
    """Keys and values of the prompts, in front of each row's own."""

    def __init__(self, keys: Tensor, values: Tensor) -> None:
        super().__init__()
        self.lazy_initialization(keys, values)
        self.keys, self.values = keys, values

    def update(self, keys: Tensor, values: Tensor, *args: Any, **kwargs: Any) -> Pair:
        rows = keys.shape[0]
        return cat([_for(rows, self.keys), keys], -2), cat([_for(rows, self.values), values], -2)


class FrontSliding(DynamicSlidingWindowLayer):  # type: ignore[misc]
    """The last of them that a layer with a window can see; length: tokens of the prompts, also those before."""

    def __init__(self, keys: Tensor, values: Tensor, sliding_window: int, length: int) -> None:
        super().__init__(sliding_window)
        self.lazy_initialization(keys, values)
        seen = slice(max(0, length - sliding_window + 1), None)
        self.keys, self.values = keys[:, :, seen], values[:, :, seen]
        self.cumulative_length = length

    update = Front.update


def _for(rows: int, shared: Tensor) -> Tensor:
    return shared if shared.shape[0] == rows else shared.expand(rows, -1, -1, -1)


def windows(config: Any) -> list[int | None] | None:
    """The window of each layer that has keys and values, None for one that sees all. None for a model with layers of
    another kind: its state cannot be cut behind the prompt."""
    layers = DynamicCache(config=config).layers
    if not layers or any(type(layer) not in (DynamicLayer, DynamicSlidingWindowLayer) for layer in layers):
        return None
    return [getattr(layer, "sliding_window", None) for layer in layers]


def turns_with_length(config: Any) -> bool:
    """Do its rotary frequencies depend on the longest row of a call? Then the keys of a prompt do, and of a longer row
    they are others (transformers 5.17, modeling_rope_utils.py `dynamic_rope_update`)."""
    given = getattr(config.get_text_config(), "rope_parameters", None) or {}
    kinds = [given, *(each for each in given.values() if isinstance(each, dict))]  # one, or one a kind of layer
    return any("dynamic" in (name := kind.get("rope_type", "")) or name == "longrope" for kind in kinds)


def recorder(config: Any, kinds: Sequence[int | None]) -> Any:
    """A cache that holds what one pass over prompts gives it."""
    cache = DynamicCache(config=config)
    cache.layers = [Recorded() if window is None else RecordedSliding(window) for window in kinds]
    return cache


def front(config: Any, kinds: Sequence[int | None], pairs: Sequence[Pair]) -> Any:
    """A cache of the prompts' keys and values, one pair a layer, for rows of completions.

    Of one row for all of them, or of as many rows as there are completions.
    """
    cache = DynamicCache(config=config)
    cache.layers = [
        Front(*pair) if window is None else FrontSliding(*pair, window, pair[0].shape[-2])
        for window, pair in zip(kinds, pairs, strict=True)
    ]
    return cache


def padded(pairs: Sequence[Pair], length: int) -> Pair:
    """Keys and values of several prompts in one batch, left-padded to `length` tokens. A mask hides the padding."""

    def together(tensors: Sequence[Tensor]) -> Tensor:
        return cat([nn.functional.pad(each, (0, 0, length - each.shape[-2], 0)) for each in tensors])

    return together([keys for keys, _ in pairs]), together([values for _, values in pairs])
