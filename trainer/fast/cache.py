"""Layers of transformers' cache for a prompt that several completions share.

Recorded*   keeps the keys and values of one pass over prompts, with their graph.
Front*      stands before the tokens of a completion and is never changed.

Shapes: (rows, heads, tokens, head size) for keys and values. transformers 5.17, cache_utils.py: `DynamicLayer`,
`DynamicSlidingWindowLayer`; masking_utils.py asks each layer how long it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from torch import Tensor, cat, nn
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

Pair = tuple[Tensor, Tensor]
"""Keys and values of one layer."""


class Whole(Exception):
    """Raised by the last layer that keeps something: what a model computes behind it is not asked for."""


class Recorded(DynamicLayer):  # type: ignore[misc]  # Any: transformers is not read by mypy
    """Holds what the first call brought. A second call is the replay of gradient checkpointing and changes nothing."""

    is_last = False

    def update(self, keys: Tensor, values: Tensor, *args: Any, **kwargs: Any) -> Pair:
        if not self.is_initialized:
            self.lazy_initialization(keys, values)
            self.keys, self.values = keys, values
            if self.is_last:
                raise Whole
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


class Shared(NamedTuple):
    """Keys and values of one layer for several prompts, and which of them each row has.

    prompts: (1, heads, P - 1, head size) each. owners: (rows,) numbers of prompts; None where there is one for all.
    """

    prompts: Sequence[Pair]
    owners: Tensor | None
    length: int

    def before(self, rows: int, seen: int) -> Pair:
        """(rows, heads, seen, head size): the last `seen` columns, left-padded. A mask hides the padding."""
        if self.owners is None:
            keys, values = self.prompts[0]
            return tuple(each[:, :, self.length - seen :].expand(rows, -1, -1, -1) for each in (keys, values))  # type: ignore[return-value]
        return tuple(  # type: ignore[return-value]
            cat([_padded(pair[kind], self.length)[:, :, self.length - seen :] for pair in self.prompts])[self.owners]
            for kind in (0, 1)
        )


class Front(DynamicLayer):  # type: ignore[misc]
    """Keys and values of the prompts in front of each row's own. They are put together in the layer that reads them:
    under gradient checkpointing again when it is replayed, and nothing of it is kept meanwhile."""

    def __init__(self, shared: Shared) -> None:
        super().__init__()
        self.shared, self.seen = shared, shared.length
        self.is_initialized = True

    def update(self, keys: Tensor, values: Tensor, *args: Any, **kwargs: Any) -> Pair:
        before = self.shared.before(keys.shape[0], self.seen)
        return cat([before[0], keys], -2), cat([before[1], values], -2)

    def get_seq_length(self) -> int:
        return self.shared.length


class FrontSliding(DynamicSlidingWindowLayer):  # type: ignore[misc]
    """The last of them that a layer with a window can see."""

    def __init__(self, shared: Shared, sliding_window: int) -> None:
        super().__init__(sliding_window)
        self.shared, self.seen = shared, min(shared.length, sliding_window - 1)
        self.is_initialized, self.cumulative_length = True, shared.length

    update = Front.update


def _padded(tensor: Tensor, length: int) -> Tensor:
    return nn.functional.pad(tensor, (0, 0, length - tensor.shape[-2], 0))


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
    cache.layers[-1].is_last = True
    return cache


def front(config: Any, kinds: Sequence[int | None], layers: Sequence[Shared]) -> Any:
    """A cache of prompts for rows of completions; layers: of each that has keys and values."""
    cache = DynamicCache(config=config)
    cache.layers = [
        Front(shared) if window is None else FrontSliding(shared, window)
        for window, shared in zip(kinds, layers, strict=True)
    ]
    return cache
