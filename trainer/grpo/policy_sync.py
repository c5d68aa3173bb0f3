"""Before step 1: are the rollouts written by the weights that are being trained?

An engine can go on sampling from the base model while the adapter is trained, with finite losses and calm curves
(Unsloth with TRL 1.10, pull request 8701). So the trained weights are shaken for a moment, the trainer's own
generation writes a few completions, and the likelihoods tell who wrote them:

    evidence = sum over tokens of  log p(token | shaken weights) - log p(token | weights as they are)

For tokens of the shaken policy its expectation is KL(shaken || as is) > 0 a token; for tokens of the weights as they
are it is -KL(as is || shaken) < 0. Completions are added until the sum is decisive: Wald's sequential probability ratio
test (Annals of Mathematical Statistics 16, 1945), wrong once in exp(12) times whatever the sampling noise.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from trainer.errors import EngineError, Problem
from trainer.grpo.guard import generation_mode

PROMPTS = 4  # the shortest of the rows given
TOKENS = 32
ROUNDS = 16
DECISIVE_NATS = 12.0
SHAKEN_ENOUGH_NATS = 0.5  # mean KL of the next token at which a few dozen tokens leave no doubt
SHAKEN_AT_LEAST_NATS = 0.02  # below, the weights have no effect worth the name
STRENGTHS = tuple(0.05 * 2**n for n in range(12))  # times the spread of each weight tensor
LARGEST_COPY = 64_000_000  # weights that are shaken at most: they are kept twice for a moment


def check(trainer: Any, rows: list[dict[str, Any]]) -> float:
    """Evidence in nats a token (above 0) that the rollouts follow the weights; leaves weights and random state as is.

    trainer: a CustomGRPOTrainer before its first step. rows: some of the training data.
    Raises EngineError when they do not, or when no change of the weights changes the policy.
    """
    prompts = [row["prompt"] for row in sorted(rows, key=lambda row: len(str(row["prompt"])))[:PROMPTS]]
    devices = [torch.cuda.current_device()] if torch.cuda.is_available() else []
    evidence, tokens = 0.0, 0
    with torch.random.fork_rng(devices=devices), torch.no_grad():
        ids, images, fields = trainer._tokenize_prompts(prompts)
        for seed in range(ROUNDS):
            with _shaken(trainer, ids, seed):
                completions = _sampled(trainer, ids, images, fields)
                shaken = [_logp(trainer, *pair) for pair in zip(ids, completions, strict=True)]
            as_is = [_logp(trainer, *pair) for pair in zip(ids, completions, strict=True)]
            evidence += sum(shaken) - sum(as_is)
            tokens += sum(map(len, completions))
            if abs(evidence) > DECISIVE_NATS:
                break
    if not evidence > 0:
        what = (
            f"the rollouts do not follow the weights that are trained: after a change of the weights they were still "
            f"written by the old ones ({evidence:+.1f} nats in {tokens} tokens)"
        )
        raise EngineError(Problem("model.engine", what, 'model.engine = "transformers", and please report it'))
    return evidence / tokens


def _sampled(trainer: Any, ids: list[list[int]], images: Any, fields: Any) -> list[list[int]]:
    """A few tokens for each prompt from the trainer's own generation, whichever engine is behind it."""
    config = getattr(trainer, "generation_config", None)
    length = config.max_new_tokens if config else TOKENS
    if config:
        config.max_new_tokens = min(length, TOKENS)
    if trainer.use_vllm:
        trainer._last_loaded_step = -1  # else it believes that vLLM has these weights already
    try:
        completions = trainer._generate_single_turn(ids, images, fields, 1)[0]
    finally:
        if config:
            config.max_new_tokens = length
        if trainer.use_vllm:
            trainer._last_loaded_step = -1
    return [row[:TOKENS] or [trainer.eos_token_ids[0]] for row in completions]


def _logp(trainer: Any, prompt: list[int], completion: list[int]) -> float:
    """Log-probability in nats of a completion under the weights as they are now, at temperature 1."""
    logits = _logits(trainer, [*prompt, *completion], len(completion) + 1)[:-1]
    chosen = torch.tensor(completion, device=logits.device)[:, None]
    return float(logits.log_softmax(-1).gather(-1, chosen).sum())


def _logits(trainer: Any, ids: list[int], last: int) -> Tensor:
    """(last, V) float32: what follows each of the last tokens of one sequence, by a plain forward pass."""
    model = trainer.accelerator.unwrap_model(trainer.model)
    tokens = torch.tensor([ids], device=trainer.accelerator.device)
    with generation_mode(model), trainer.compute_loss_context_manager():
        logits: Tensor = model(
            input_ids=tokens, attention_mask=torch.ones_like(tokens), use_cache=False, logits_to_keep=last
        ).logits
    return logits[0, -last:].float()


@contextmanager
def _shaken(trainer: Any, ids: list[list[int]], seed: int) -> Iterator[None]:
    """Add noise to the trained weights until the policy is clearly another one; put them back bit by bit."""
    chosen = _to_shake(trainer.model)
    kept = [parameter.detach().clone() for parameter in chosen]
    before = [_next_token(trainer, prompt) for prompt in ids]
    moved: dict[float, float] = {}
    try:
        for strength in STRENGTHS:
            _add_noise(chosen, kept, strength, seed)
            moved[strength] = _moved(trainer, ids, before)
            if moved[strength] > SHAKEN_ENOUGH_NATS:
                break
        else:  # a model with flat outputs: as far as it goes
            best = max(moved, key=lambda strength: moved[strength])
            if moved[best] < SHAKEN_AT_LEAST_NATS:
                what = "the policy does not change when the trained weights do: nothing could be learnt"
                raise EngineError(Problem("lora.target_modules", what, 'lora.target_modules = "all-linear"'))
            _add_noise(chosen, kept, best, seed)
        torch.manual_seed(seed)
        yield
    finally:
        for parameter, value in zip(chosen, kept, strict=True):
            parameter.copy_(value)


def _to_shake(model: Any) -> list[Tensor]:
    """The trained weights, small ones first (norms say as much as matrices), up to LARGEST_COPY."""
    trained = sorted((p for p in model.parameters() if p.requires_grad), key=lambda p: p.numel())
    chosen: list[Tensor] = []
    for parameter in trained:
        if chosen and sum(p.numel() for p in chosen) + parameter.numel() > LARGEST_COPY:
            break
        chosen.append(parameter)
    return chosen


def _add_noise(chosen: list[Tensor], kept: list[Tensor], strength: float, seed: int) -> None:
    torch.manual_seed(seed)
    for parameter, value in zip(chosen, kept, strict=True):
        spread = max(value.float().std(correction=0).item(), 0.02)  # LoRA's B is all zeros at first
        parameter.copy_(value + strength * spread * torch.randn_like(value))


def _next_token(trainer: Any, prompt: list[int]) -> Tensor:
    """Log-probabilities (V,) of the token after the prompt."""
    return _logits(trainer, prompt, 1)[0].log_softmax(-1)


def _moved(trainer: Any, ids: list[list[int]], before: list[Tensor]) -> float:
    """Mean KL(now || before) of the token after each prompt, in nats; 0 when the noise broke the model."""
    found = []
    for prompt, old in zip(ids, before, strict=True):
        now = _next_token(trainer, prompt)
        found.append(float((now.exp() * (now - old)).sum()))
    mean = statistics.fmean(found)
    return mean if math.isfinite(mean) else 0.0
