"""What the memory estimate depends on, as plain numbers.

Imports formats and shapes. Knows nothing about specs, batches or machines.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from trainer.memory.formats import Format
from trainer.memory.shapes import ModelShape

GIB = 1024**3


@dataclass(frozen=True)
class Vllm:
    """vLLM writes the completions (model.fast_inference or trl.use_vllm)."""

    utilization: float
    """Share of the GPU asked for, 0 to 1."""
    standby: bool
    """It gives its KV cache back for the update."""
    own_weights: bool = False
    """It holds a copy of the weights, as TRL makes it; Unsloth's reads the ones that are trained."""


@dataclass(frozen=True)
class Load:
    """What the estimate depends on. Lengths in tokens, rows in completions on one device."""

    shape: ModelShape
    on_gpu: bool
    compute_bytes: int
    """2 for bfloat16 and float16, 4 for float32."""
    weights: Format
    """How the decoder's matrices are stored."""
    double_quant: bool
    lora_rank: int
    """0 trains all weights."""
    lora_targets: str | list[str]
    lora_bytes: int
    """Bytes of one adapter weight."""
    optimizer: str
    gradient_checkpointing: bool | Literal["unsloth"]
    eager_attention: bool
    reference: bool
    """beta > 0: log-probabilities of the reference are needed."""
    prompt_tokens: int
    completion_tokens: int
    micro_batch: int
    generation_rows: int
    """0 where nothing is written for the training."""
    reference_adapter: bool = False
    """The reference is a second adapter, frozen."""
    eval_rows: int = 0
    """Held-out rows answered at once; 0 without an evaluation."""
    temperature_scaled: bool = False
    prompt_logits: bool = False
    """The loss makes logits of the prompt as well, and leaves them out of its sum: SFTTrainer and DPOTrainer."""
    liger: bool = False
    unsloth: bool = False
    """Unsloth's loss and kernels instead of TRL's."""
    one_prompt: bool = False
    """All completions generated at once answer one prompt: no left padding."""
    prompts_read: int | None = None
    """Different prompts of a generation batch, each read once for its completions; None: every completion has its own.
    """
    micro_prompts: int | None = None
    """The same of a micro-batch in the update."""
    open_prompts: int = 0
    """Prompts whose layers are kept at the same time, where the update shares them."""
    experts_packed: bool = True
    """Experts are quantised like the other matrices; False leaves them in compute precision."""
    vllm: Vllm | None = None
    judge_params: int = 0
    """Weights of the reward model that learns; 0 where none does, or where its size is not known."""
    gpu_total_gib: float | None = None
    """Only vLLM's share depends on it."""

    @property
    def tokens(self) -> int:
        """Of one sequence at full length."""
        return self.prompt_tokens + self.completion_tokens

    @property
    def answered_rows(self) -> int:
        """Sequences that are in the KV cache at once, at most."""
        return max(self.generation_rows, self.eval_rows)
