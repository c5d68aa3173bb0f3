"""What the warm process of these tests holds: TRL with vLLM behind it. Importing them takes longer than a short run."""

from __future__ import annotations

import bitsandbytes  # noqa: F401
import peft  # noqa: F401
import trl.trainer.grpo_trainer
from trl.generation import vllm_generation
from vllm import ModelRegistry
from vllm.model_executor.models.qwen3 import Qwen3ForCausalLM
from vllm.v1.worker import cpu_worker  # noqa: F401

assert vllm_generation.LLM and trl.trainer.grpo_trainer.VLLMGeneration
# Else each process starts another one that imports vLLM, to look at the class.
ModelRegistry.register_model("Qwen3ForCausalLM", Qwen3ForCausalLM)
