"""Keys and values of prompts, computed once and used by every completion, with the gradient that comes back to them.

One pass over the prompts keeps them with their graph (`pass_over`). Completions read copies that are cut off from it;
the gradients that arrive there add up over the micro-batches of an accumulation window, and one backward carries their
sum through the prompts (`Prefixes.close`). As the gradient of a sum is the sum of gradients, this is exact:

    dL/dw = dL/dw | keys and values fixed  +  sum over completions of dL/d(keys, values) . d(keys, values)/dw

The last token of a prompt goes with the completions: it predicts their first token. So a prompt of P tokens has a
prefix of P - 1.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from transformers.modeling_layers import GradientCheckpointingLayer

from trainer.fast import cache, chunks


class NotShared(Exception):
    """The model cannot share a prompt; `key` of the text that says why."""

    def __init__(self, key: str) -> None:
        super().__init__(key)
        self.key = key


class Prompt(NamedTuple):
    """key: the same for the same tokens. ids: (P,)."""

    key: Hashable
    ids: Tensor


class Opened(NamedTuple):
    """One prompt's keys and values a layer, (1, heads, P - 1, head size): in the graph of their pass, and cut off."""

    graph: list[cache.Pair]
    leaves: list[cache.Pair]
    passed: int


class Prefixes:
    """Those of one accumulation window, or of one call without gradients.

    kinds: the window of each layer (cache.windows). cost: of a call of the model, in tokens.
    """

    def __init__(self, config: Any, kinds: Sequence[int | None], cost: int) -> None:
        self.config, self.kinds, self.cost = config, kinds, cost
        self._opened: dict[Hashable, Opened] = {}
        self._passes = 0

    def open(self, model: Any, prompts: Sequence[Prompt], most: int | None = None) -> None:
        """Compute those that are not there yet. most: tokens that go through the model at once at most."""
        new = list({each.key: each for each in prompts if each.key not in self._opened}.values())
        for chunk in chunks.split([len(each.ids) - 1 for each in new], self.cost, most):
            self._passes += 1
            some = [new[row] for row in chunk]
            pairs = pass_over(model, self.config, self.kinds, [each.ids[:-1] for each in some])
            for row, each in enumerate(some):
                cut = slice(-(len(each.ids) - 1), None)
                graph = [(keys[row : row + 1, :, cut], values[row : row + 1, :, cut]) for keys, values in pairs]
                leaves = [(_leaf(keys), _leaf(values)) for keys, values in graph]
                self._opened[each.key] = Opened(graph, leaves, self._passes)

    def front(self, keys: Sequence[Hashable]) -> tuple[Any, int]:
        """The cache that stands before rows of these prompts, and how many tokens it has, padding counted."""
        distinct = list(dict.fromkeys(keys))
        opened = [self._opened[key].leaves for key in distinct]
        length = max(leaves[0][0].shape[-2] for leaves in opened)
        owners = None
        if len(distinct) > 1:
            owners = torch.tensor([distinct.index(key) for key in keys], device=opened[0][0][0].device)
        layers = [cache.Shared(pairs, owners, length) for pairs in zip(*opened, strict=True)]
        return cache.front(self.config, self.kinds, layers), length

    def close(self, needed: Collection[Hashable] = ()) -> None:
        """Carry the gradients of all passes without a needed prompt into the weights, and forget these passes."""
        kept = {opened.passed for key, opened in self._opened.items() if key in needed}
        done = {key: opened for key, opened in self._opened.items() if opened.passed not in kept}
        self._opened = {key: opened for key, opened in self._opened.items() if key not in done}
        pairs = [pair for opened in done.values() for pair in arrived(opened)]
        if pairs:
            torch.autograd.backward([tensor for tensor, _ in pairs], [grad for _, grad in pairs])

    def opened(self) -> list[Opened]:
        return list(self._opened.values())

    def keys(self) -> set[Hashable]:
        return set(self._opened)

    def forget(self) -> None:
        """Without a gradient: for what failed, and for what only looked."""
        self._opened.clear()


def arrived(opened: Opened) -> Iterator[tuple[Tensor, Tensor]]:
    """(tensor in the graph, gradient of its copy) where there is one."""
    for whole, copy in zip(opened.graph, opened.leaves, strict=True):
        for tensor, leaf in zip(whole, copy, strict=True):
            if tensor.requires_grad and leaf.grad is not None:
                yield tensor, leaf.grad


def _leaf(tensor: Tensor) -> Tensor:
    return tensor.detach().requires_grad_(tensor.requires_grad)


def pass_over(model: Any, config: Any, kinds: Sequence[int | None], prompts: Sequence[Tensor]) -> list[cache.Pair]:
    """Keys and values of each layer, (prompts, heads, tokens of the longest, head size), left-padded.

    Raises NotShared where they come without the graph that training needs: re-entrant gradient checkpointing runs the
    layers without one, and the gradient through the prompts would be missing in silence.
    """
    found = cache.recorder(config, kinds)
    with with_cache(model), suppress(cache.Whole):
        model(**left_padded(prompts), past_key_values=found, use_cache=True, logits_to_keep=1)
    pairs = [(layer.keys, layer.values) for layer in found.layers]
    if any(keys is None for keys, _ in pairs):
        raise NotShared("no_cache")
    trained = torch.is_grad_enabled() and any(weight.requires_grad for weight in model.parameters())
    if trained and not any(tensor.requires_grad for pair in pairs for tensor in pair):
        raise NotShared("no_graph")
    return pairs


def left_padded(rows: Sequence[Tensor]) -> dict[str, Tensor]:
    """Arguments of the model: input_ids and position_ids, and attention_mask where something is padded."""
    longest = max(map(len, rows))
    ids = torch.stack([nn.functional.pad(row, (longest - len(row), 0)) for row in rows])
    places = torch.arange(longest, device=ids.device)
    before = torch.tensor([longest - len(row) for row in rows], device=ids.device)[:, None]
    found = {"input_ids": ids, "position_ids": (places - before).clamp(min=0)}
    if any(len(row) < longest for row in rows):
        found["attention_mask"] = (places >= before).long()
    return found


@contextmanager
def with_cache(model: Any) -> Iterator[None]:
    """Layers under gradient checkpointing keep the cache they are given; transformers would take it away, because a
    cache that grows would grow again in the replay. These do not."""
    layers = [each for each in model.modules() if isinstance(each, GradientCheckpointingLayer)]
    before = [layer.__dict__.get("_can_checkpoint_with_cache") for layer in layers]
    for layer in layers:
        layer._can_checkpoint_with_cache = True
    try:
        yield
    finally:
        for layer, was in zip(layers, before, strict=True):
            if was is None:
                del layer._can_checkpoint_with_cache
            else:
                layer._can_checkpoint_with_cache = was
