"""Before the first use: does this model give the same log-probabilities and the same gradient, prompts shared or not?

On a few rows of a real micro-batch, against TRL's own way. What is compared is not what is trusted: any model whose
layers keep something else than keys and values, place tokens differently or drop the graph is found here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from trainer.fast.batch import Batch
from trainer.fast.prefixes import Prefixes, arrived
from trainer.machine import out_of_memory

EXACT = 1e-4
"""Relative distance at most, in float32."""
ROUNDED = 0.1
"""The same in bfloat16 and float16, where the order of a sum alone moves a gradient by 0.03; a wrong one is 0.4 off."""
PER_WEIGHT = 4096
"""Numbers of each weight's gradient that are kept for the comparison."""

SHORTCOMINGS = (RuntimeError, TypeError, ValueError, AttributeError, IndexError, KeyError, NotImplementedError)
"""What models raise that are not made for this."""

Way = Callable[[], Tensor]
"""Log-probabilities of the same rows, (k, T)."""


class Distance(NamedTuple):
    """Relative distances of the two ways; gradient is None where there was none to take. dtype of the weights."""

    logps: float
    gradient: float | None
    dtype: torch.dtype

    @property
    def limit(self) -> float:
        return EXACT if self.dtype == torch.float32 else ROUNDED

    @property
    def small(self) -> bool:
        return max(self.logps, self.gradient or 0.0) <= self.limit


def forward(theirs: Way, ours: Way, dtype: torch.dtype) -> Distance:
    with torch.no_grad():
        return Distance(_apart(ours(), theirs()), None, dtype)


def gradient(
    model: torch.nn.Module,
    theirs: Way,
    ours: Way,
    prefixes: Prefixes | None,
    dtype: torch.dtype,
    reentrant: bool = False,
) -> Distance:
    """The weights' own `.grad` are left alone.

    prefixes: those that `ours` opens, if any; they are forgotten afterwards. reentrant: checkpointing of that kind.
    """
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    taken = _taken_by_backward if reentrant else _taken
    logps = theirs()
    wanted = taken(_scalar(logps), weights)
    mine = ours()
    if prefixes is None:
        return Distance(_apart(mine, logps), _apart_in_all(taken(_scalar(mine), weights), wanted), dtype)
    leaves = [leaf for each in prefixes.opened() for pair in each.leaves for leaf in pair if leaf.requires_grad]
    found, arriving = _taken(_scalar(mine), weights, leaves)
    for leaf, grad in zip(leaves, arriving, strict=True):
        leaf.grad = grad
    back = [pair for each in prefixes.opened() for pair in arrived(each)]
    through = _taken([t for t, _ in back], weights, given=[g for _, g in back]) if back else [None] * len(weights)
    prefixes.forget()
    sums = [a if b is None else b if a is None else a + b for a, b in zip(found, through, strict=True)]
    return Distance(_apart(mine, logps), _apart_in_all(sums, wanted), dtype)


def decoding(model: torch.nn.Module, empty: Any, prompts: list[Tensor]) -> Distance:
    """Of the scores of a few tokens, written by a Batch of two rows a prompt with one of them leaving, and by plain
    passes without a cache. empty: a cache without rows; prompts: (P,) each."""
    batch = Batch(model, empty)
    with torch.no_grad():
        logits = batch.join([[2 * n, 2 * n + 1] for n in range(len(prompts))], prompts)
        tokens = [[int(token)] for token in logits.argmax(-1)]
        batch.leave(list(range(1, len(tokens))))
        tokens = tokens[1:]
        for _ in range(2):
            logits = batch.step(torch.tensor([row[-1] for row in tokens], device=logits.device))
            for row, token in zip(tokens, logits.argmax(-1).tolist(), strict=True):
                row.append(token)
        ours, plain = logits.log_softmax(-1), []
        for number, written in zip(batch.rows, tokens, strict=True):
            ids = torch.cat([prompts[number // 2], torch.tensor(written[:-1], device=logits.device)])[None]
            plain.append(model(input_ids=ids, use_cache=False, logits_to_keep=1).logits[0, -1].float().log_softmax(-1))
    return Distance(_apart(ours, torch.stack(plain)), None, computed_in(model))


def computed_in(model: torch.nn.Module) -> torch.dtype:
    """The coarsest precision that anything is rounded to: that of autocast, else of the weights. TRL keeps adapters of
    quantised weights in bfloat16, and then so is their gradient."""
    device = next(model.parameters()).device.type
    if torch.is_autocast_enabled(device):
        return torch.get_autocast_dtype(device)
    found = {weight.dtype for weight in model.parameters() if weight.is_floating_point()}
    return min(found, key=lambda dtype: dtype.itemsize)


def raise_if_out_of_memory(error: Exception) -> None:
    """It says nothing about the model: the run is to be tried in smaller pieces."""
    if out_of_memory.is_out_of_memory(error):
        raise error


def _scalar(logps: Tensor) -> Tensor:
    """Rows weigh differently, with both signs, as advantages do."""
    signs = torch.linspace(1.0, -0.7, logps.shape[0], device=logps.device)[:, None]
    return (logps * signs).sum()


def _taken(of: Any, weights: list[Any], leaves: list[Tensor] | None = None, given: Any = None) -> Any:
    """Some numbers of each weight's gradient, None where it has none; with `leaves` also theirs, whole.

    Of whole weights a gradient is as large as they are: of two ways, never more than one is held at a time.
    """
    asked = [*weights, *(leaves or ())]
    grads = torch.autograd.grad(of, asked, given, allow_unused=True)
    some = [None if grad is None else _some(grad) for grad in grads[: len(weights)]]
    return some if leaves is None else (some, grads[len(weights) :])


def _taken_by_backward(of: Tensor, weights: list[Any]) -> list[Tensor | None]:
    """The same where torch has nothing but backward: through re-entrant checkpointing."""
    before = [weight.grad for weight in weights]
    for weight in weights:
        weight.grad = None
    try:
        of.backward()  # type: ignore[no-untyped-call]
        return [None if weight.grad is None else _some(weight.grad) for weight in weights]
    finally:
        for weight, grad in zip(weights, before, strict=True):
            weight.grad = grad


def _some(grad: Tensor) -> Tensor:
    flat = grad.flatten()
    return flat[:: max(1, flat.numel() // PER_WEIGHT)].float().clone()


def _apart(ours: Tensor, theirs: Tensor) -> float:
    apart, size = (ours - theirs).detach().float().norm(), theirs.detach().float().norm()
    return float(apart / size.clamp(min=1e-30))


def _apart_in_all(ours: list[Tensor | None], theirs: list[Tensor | None]) -> float:
    """One of them missing counts as 0: a weight that has no gradient where it should have one is far off."""
    pairs = [
        (torch.zeros_like(b) if a is None else a, torch.zeros_like(a) if b is None else b)  # type: ignore[arg-type]
        for a, b in zip(ours, theirs, strict=True)
        if a is not None or b is not None
    ]
    if not pairs:
        return 0.0
    return _apart(torch.cat([a for a, _ in pairs]), torch.cat([b for _, b in pairs]))
