"""Do the exported weights compute what the trained ones computed? Logits on fixed token sequences, compared.

Everything is computed in float32, whatever the weights are stored in: what is left as a difference then comes from
the weights and not from the arithmetic. The cost in memory is one layer, not a second model.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from trainer.errors import ExportError, Problem
from trainer.export.source import Source

SEQUENCES = 4
LONGEST = 256  # tokens of a sequence; enough for every position to attend to some
MAX_ABS_DIFF = 1e-3  # of logits that come from the same weights: sums in another order give about 1e-5
# A 16-bit weight is off by up to 2^-9 (bfloat16) of itself, independently of the others: a layer's output by about
# 0.2 %, sixty layers by about 2 %. Over 5 % of the spread of the logits something else is wrong.
ROUNDING_SHARE = 0.05
DECISIVE_SHARE = 10 * ROUNDING_SHARE  # a lead of half the spread of the logits: rounding cannot turn it round


def sequences(source: Source, tokenizer: Any, vocabulary: int) -> list[list[int]]:
    """Prompts with a completion from the run's rollouts; random tokens, always the same, where there are none."""
    from trainer.data.dataset import prompt_ids

    kwargs = source.spec.trl.get("chat_template_kwargs")
    rows = [
        prompt_ids(prompt, tokenizer, kwargs) + tokenizer(text=text, add_special_tokens=False)["input_ids"]
        for prompt, text in source.prompts(SEQUENCES)
    ]
    if rows:
        return [row[-LONGEST:] for row in rows]
    draw = random.Random(0)
    return [[draw.randrange(vocabulary) for _ in range(8 * (1 + number))] for number in range(SEQUENCES)]


def logits(model: Any, rows: Sequence[Sequence[int]]) -> list[Any]:
    """One (tokens, vocabulary) float32 tensor a sequence, on the CPU."""
    import torch

    model.eval()
    with torch.no_grad(), float32_arithmetic(model):
        device = next(model.parameters()).device
        found = [model(input_ids=torch.tensor([list(row)], device=device), use_cache=False).logits for row in rows]
    return [tensor[0].float().cpu() for tensor in found]


@contextmanager
def float32_arithmetic(model: Any) -> Iterator[None]:
    """Every module computes in float32 while the body runs; its weights are float32 only while it computes."""
    import torch

    handles = []
    for module in model.modules():
        short = [p for p in module.parameters(recurse=False) if p.dtype in (torch.bfloat16, torch.float16)]
        if short:
            stored: list[Any] = []
            handles.append(module.register_forward_pre_hook(_widen(short, stored)))
            handles.append(module.register_forward_hook(_restore(short, stored), always_call=True))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _widen(parameters: list[Any], stored: list[Any]) -> Any:
    def hook(module: Any, inputs: Any) -> None:
        stored.extend(parameter.data for parameter in parameters)
        for parameter in parameters:
            parameter.data = parameter.data.float()

    return hook


def _restore(parameters: list[Any], stored: list[Any]) -> Any:
    def hook(module: Any, inputs: Any, output: Any) -> None:
        for parameter, data in zip(parameters, stored, strict=True):
            parameter.data = data
        stored.clear()

    return hook


def check(trained: list[Any], stored: list[Any], loaded: list[Any], dtype: str) -> dict[str, Any]:
    """Compare the logits of what was trained, of the merged weights in memory, and of the saved ones loaded again.

    The saved weights must be those in memory (MAX_ABS_DIFF); in float32 these must be the trained ones as well. In
    16 bits the rounding is bounded (ROUNDING_SHARE of the logits' spread), and where the trained model is decided
    (DECISIVE_SHARE) the most likely token must be the same. Returns the figures; raises ExportError.
    """
    import torch

    wanted, memory, found = (torch.cat(tensors) for tensors in (trained, stored, loaded))
    lead = wanted.topk(2, dim=-1).values
    spread = float(wanted.std())
    same = found.argmax(dim=-1) == wanted.argmax(dim=-1)
    decided = lead[:, 0] - lead[:, 1] > DECISIVE_SHARE * spread
    figures: dict[str, Any] = {
        "dtype": dtype,
        "sequences": len(trained),
        "tokens": len(wanted),
        "saved_max_abs_diff": float((found - memory).abs().max()),
        "trained_max_abs_diff": float((found - wanted).abs().max()),
        "trained_rms_diff_share": float((found - wanted).square().mean().sqrt()) / spread,
        "top1_agreement": float(same.float().mean()),
        "decided_positions": int(decided.sum()),
    }
    wrong: list[Problem] = []
    if not figures["saved_max_abs_diff"] < MAX_ABS_DIFF:  # so that NaN is wrong too
        wrong.append(Problem("export.saved_differ", difference=figures["saved_max_abs_diff"]))
    if dtype == "float32" and not figures["trained_max_abs_diff"] < MAX_ABS_DIFF:
        wrong.append(Problem("export.merged_differ", difference=figures["trained_max_abs_diff"]))
    if not figures["trained_rms_diff_share"] < ROUNDING_SHARE:
        wrong.append(Problem("export.logits_off", share=figures["trained_rms_diff_share"]))
    if not bool(same[decided].all()):
        wrong.append(Problem("export.other_tokens", count=int((~same & decided).sum())))
    if wrong:
        raise ExportError(wrong)
    return figures
