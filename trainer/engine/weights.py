"""Weights that are no numbers: one NaN or inf in them gives NaN in every logit, which looks like a broken sampler."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from trainer.errors import EngineError, Problem
from trainer.spec import RunSpec

_KINDS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


def unfinite(parameters: Iterable[tuple[str, Any]]) -> list[str]:
    """Names of the parameters that hold NaN or inf; of 4-bit weights the scales are looked at. No copy is made."""
    return [name for name, parameter in parameters if not all(map(_finite, _numbers(parameter)))]


def _numbers(parameter: Any) -> Iterator[torch.Tensor]:
    yield parameter.data
    state = getattr(parameter, "quant_state", None)
    while state is not None:  # with double_quant the scales have scales of their own
        yield from (each for each in (state.absmax, getattr(state, "offset", None)) if isinstance(each, torch.Tensor))
        state = getattr(state, "state2", None)


def _finite(tensor: torch.Tensor) -> bool:
    if tensor.dtype not in _KINDS or tensor.is_meta or not tensor.numel():
        return True
    return bool(torch.isfinite(torch.stack(torch.aminmax(tensor))).all())  # NaN is both least and greatest


def refuse_unfinite(model: Any, spec: RunSpec) -> None:
    """Raises EngineError naming the first weights of a model that are no numbers."""
    parameters = list(model.named_parameters())
    names = unfinite(parameters)
    if names:
        shown = {"names": names[:3], "count": len(names), "all": len(parameters)}
        raise EngineError(Problem("engine.not_finite", "model.name", model=spec.model.name, **shown))


@contextmanager
def watched_quantising(spec: RunSpec) -> Iterator[None]:
    """Look at 16-bit weights before bitsandbytes 0.50.2 makes 4 bits of them: on a GPU a NaN becomes some number then.

    Raises EngineError at the end; what is raised inside a conversion transformers only collects.
    """
    if not spec.model.load_in_4bit:
        yield
        return
    from bitsandbytes.nn import Params4bit

    quantise, shapes = Params4bit._quantize, list[str]()

    def looking(self: Any, device: Any) -> Any:
        if not _finite(self.data):
            shapes.append(" x ".join(map(str, self.data.shape)))
        return quantise(self, device)

    Params4bit._quantize = looking
    try:
        yield
    finally:
        Params4bit._quantize = quantise
    if shapes:
        values = {"model": spec.model.name, "shapes": shapes[:3], "count": len(shapes)}
        raise EngineError(Problem("engine.not_finite_quantised", "model.name", **values))
