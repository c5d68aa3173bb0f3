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
from trainer.grpo.generation_guard import generation_mode

PROMPTS = 4  # the shortest of the rows given
TOKENS = 32
ROUNDS = 16
DECISIVE_NATS = 12.0
SHAKEN_ENOUGH_NATS = 0.5  # mean KL of the next token at which a few dozen tokens leave no doubt
SHAKEN_AT_LEAST_NATS = 0.02  # below, the weights have no effect worth the name
STRENGTHS: tuple[float, ...] = tuple(0.05 * 2**n for n in range(12))  # times the spread of each weight tensor
LARGEST_COPY = 64_000_000  # weights that are shaken at most: they are kept twice for a moment


def check(trainer: Any, rows: list[dict[str, Any]]) -> float:
    """Evidence in nats a token (above 0) that the rollouts follow the weights; leaves weights and random state as is.

    trainer: a CustomGRPOTrainer before its first step. rows: some of the training data.
    Raises EngineError when they do not, or when no change of the weights changes the policy.
    """
    prompts = [row["prompt"] for row in sorted(rows, key=lambda row: len(str(row["prompt"])))[:PROMPTS]]
    devices = [torch.cuda.current_device()] if torch.cuda.is_available() else []
    evidence, tokens = 0.0, 0
    # In training accelerate's autocast is around the model's forward; here training has not begun.
    with torch.random.fork_rng(devices=devices), torch.no_grad(), trainer.accelerator.autocast():
        ids, images, fields = trainer._tokenize_prompts(prompts)
        noise = _Noise(trainer, ids)
        for seed in range(ROUNDS):
            with noise(seed):
                completions = _sampled(trainer, ids, images, fields)
                shaken = [_logp(trainer, *pair) for pair in zip(ids, completions, strict=True)]
            as_is = [_logp(trainer, *pair) for pair in zip(ids, completions, strict=True)]
            evidence += sum(shaken) - sum(as_is)
            tokens += sum(map(len, completions))
            if abs(evidence) > DECISIVE_NATS:
                break
    if not evidence > 0:
        raise EngineError(Problem("grpo.old_weights", "model.engine", evidence=evidence, tokens=tokens))
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
    """Log-probability in nats of a completion under the weights as they are now, at the temperature of sampling."""
    # Logits at place t predict token t + 1: those before each completion token, without the last ones.
    logits = _logits(trainer, [*prompt, *completion], len(completion) + 1)[:-1]  # (T, V)
    chosen = torch.tensor(completion, device=logits.device)[:, None]
    return float(logits.log_softmax(-1).gather(-1, chosen).sum())


def _logits(trainer: Any, ids: list[int], last: int) -> Tensor:
    """(last, V) float32: what follows each of the last tokens of one sequence, by a plain forward pass."""
    model = trainer.accelerator.unwrap_model(trainer.model)
    tokens = torch.tensor([ids], device=trainer.accelerator.device)
    with generation_mode(model):
        logits: Tensor = model(
            input_ids=tokens, attention_mask=torch.ones_like(tokens), use_cache=False, logits_to_keep=last
        ).logits
    return logits[0, -last:].float() / trainer.temperature


class _Noise:
    """Noise on the trained weights, just strong enough that the policy is clearly another one."""

    def __init__(self, trainer: Any, ids: list[list[int]]) -> None:
        self.weights = _to_shake(trainer.model)
        self.kept = [weight.detach().clone() for weight in self.weights]
        self.strength = self._strength(trainer, ids)

    @contextmanager
    def __call__(self, seed: int, strength: float | None = None) -> Iterator[None]:
        """The weights are shaken inside, and bit by bit what they were after it."""
        torch.manual_seed(seed)
        try:
            for weight, kept in zip(self.weights, self.kept, strict=True):
                spread = max(kept.float().std(correction=0).item(), 0.02)  # LoRA's B is all zeros at first
                weight.copy_(kept + (strength or self.strength) * spread * torch.randn_like(kept))
            yield
        finally:
            for weight, kept in zip(self.weights, self.kept, strict=True):
                weight.copy_(kept)

    def _strength(self, trainer: Any, ids: list[list[int]]) -> float:
        """The weakest of STRENGTHS that is strong enough; of a model with flat outputs, the one that moves it most."""
        before = [_next_token(trainer, prompt) for prompt in ids]
        moved: dict[float, float] = {}
        for strength in STRENGTHS:
            with self(0, strength):
                moved[strength] = _moved([_next_token(trainer, prompt) for prompt in ids], before)
            if moved[strength] > SHAKEN_ENOUGH_NATS:
                return strength
        best = max(moved, key=lambda strength: moved[strength])
        if moved[best] < SHAKEN_AT_LEAST_NATS:
            raise EngineError(Problem("grpo.no_effect", "lora.target_modules"))
        return best


def _to_shake(model: Any) -> list[Tensor]:
    """The trained weights, small ones first (norms say as much as matrices), up to LARGEST_COPY."""
    trained = sorted((p for p in model.parameters() if p.requires_grad), key=lambda p: p.numel())
    chosen: list[Tensor] = []
    for parameter in trained:
        if chosen and sum(p.numel() for p in chosen) + parameter.numel() > LARGEST_COPY:
            break
        chosen.append(parameter)
    return chosen


def _next_token(trainer: Any, prompt: list[int]) -> Tensor:
    """Log-probabilities (V,) of the token after the prompt."""
    return _logits(trainer, prompt, 1)[0].log_softmax(-1)


def _moved(now: list[Tensor], before: list[Tensor]) -> float:
    """Mean KL(now || before) in nats; 0 when the noise broke the model."""
    mean = statistics.fmean(float((a.exp() * (a - b)).sum()) for a, b in zip(now, before, strict=True))
    return mean if math.isfinite(mean) else 0.0
