"""TRL's trainer and ours on the same small model, the same rollouts, the same rewards: what each does to the weights.

The weights are scaled, because the usual initial ones give nearly uniform probabilities, in which an error of position
or mask does not show; there are rotary positions, windows shorter than the prompts, prompts of different length.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
    Qwen3Config,
    Qwen3ForCausalLM,
)
from trl import GRPOConfig, GRPOTrainer

from tests.architectures import config_of
from trainer.engine.interface import without_routers
from trainer.engine.transformers_engine import model_class
from trainer.fast.update import FastUpdate

LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789"
PROMPTS = ["a" + "bcdefgh" * 4, "b12345678xyz", "c" + "zyx" * 7, "d" + "qwerty" * 5]
EOS, VOCABULARY = 2, 3 + len(LETTERS)
STATES = ("qwen3.5", "lfm2.5", "granite-4.0-h")  # layers that keep no keys and values


def tokenizer() -> Any:
    words = {"<pad>": 0, "<bos>": 1, "<eos>": EOS, **{letter: 3 + n for n, letter in enumerate(LETTERS)}}
    made = Tokenizer(models.WordLevel(words, unk_token="<pad>"))
    made.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    special = {"pad_token": "<pad>", "bos_token": "<bos>", "eos_token": "<eos>"}
    return PreTrainedTokenizerFast(tokenizer_object=made, padding_side="left", **special)


def model(kind: str, seed: int = 3) -> Any:
    torch.manual_seed(seed)
    sizes: dict[str, Any] = {
        "vocab_size": VOCABULARY, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 3,
        "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16, "max_position_embeddings": 256,
        "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": EOS, "tie_word_embeddings": True,
    }  # fmt: skip
    if kind == "gemma3":
        layers = ["sliding_attention", "sliding_attention", "full_attention"]
        config: Any = Gemma3TextConfig(**sizes, sliding_window=8, layer_types=layers, query_pre_attn_scalar=16)
        made: Any = Gemma3ForCausalLM(config)
    elif kind == "llama":
        made = LlamaForCausalLM(LlamaConfig(**sizes))
    else:
        made = Qwen3ForCausalLM(Qwen3Config(**sizes))
    for weight in made.parameters():
        if weight.dim() > 1:
            weight.data.mul_(2 if kind == "gemma3" else 4)
    return made


def todays(name: str) -> Any:
    """A small model of a family that people train now."""
    config = config_of(name)
    config.get_text_config().pad_token_id = 0
    torch.manual_seed(3)
    made = model_class(config).from_config(config).float()
    without_routers(made)
    return made


class Fixed(GRPOTrainer):  # type: ignore[misc]  # Any: TRL is not read by mypy
    """The same completions for every trainer: of different lengths, some without an end. read: tokens of the model."""

    rollouts = 0
    read = 0
    tokens = VOCABULARY

    def _generate_single_turn(self, prompt_ids: list[list[int]], *args: Any, **kwargs: Any) -> Any:
        self.rollouts += 1
        random = torch.Generator().manual_seed(self.rollouts)
        found = []
        for _ in prompt_ids:
            length = int(torch.randint(2, self.max_completion_length + 1, (1,), generator=random))
            written = torch.randint(3, self.tokens, (length,), generator=random).tolist()
            found.append(written + ([EOS] if length < self.max_completion_length else []))
        return found, None


class Ours(FastUpdate, Fixed):
    pass


def reward(prompts: list[str], completions: list[str], **_: Any) -> list[float]:
    """The groups of the prompts that begin with a and c have no spread."""
    return [0.0 if prompt[0] in "ac" else len(text) % 5 / 3 for prompt, text in zip(prompts, completions, strict=True)]


def make(base: type, kind: Any, folder: Path, *, lora: bool = False, fast: dict[str, Any] | None = None, **config: Any):
    """kind: a name for `model`, or a model."""
    made = model(kind) if isinstance(kind, str) else kind
    if config.get("beta") and not lora:  # TRL loads the reference by name
        made.save_pretrained(folder / kind)
        made = type(made).from_pretrained(folder / kind)
    arguments: dict[str, Any] = {
        "output_dir": str(folder), "use_cpu": True, "bf16": False, "optim": "sgd", "learning_rate": 0.1,
        "lr_scheduler_type": "constant", "max_grad_norm": 0.0, "per_device_train_batch_size": 8,
        "gradient_accumulation_steps": 2, "num_generations": 4, "max_completion_length": 12, "max_steps": 2,
        "report_to": "none", "save_strategy": "no", "logging_steps": 1, "gradient_checkpointing": False,
        "disable_tqdm": True, "seed": 1,
    }  # fmt: skip
    if config.get("gradient_checkpointing"):
        arguments["gradient_checkpointing_kwargs"] = {"use_reentrant": False}
    adapter = None
    if lora:
        from peft import LoraConfig

        adapter = LoraConfig(r=4, lora_alpha=8, target_modules="all-linear", task_type="CAUSAL_LM")
    torch.manual_seed(0)
    trainer = base(
        model=made,
        reward_funcs=config.pop("reward", reward),
        args=GRPOConfig(**arguments | config),
        train_dataset=Dataset.from_dict({"prompt": PROMPTS * 2}),
        processing_class=tokenizer(),
        peft_config=adapter,
        **(fast or {}),
    )
    torch.manual_seed(5)
    for name, weight in trainer.model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.05)
    count_tokens(trainer)
    return trainer


def count_tokens(trainer: Any) -> None:
    inner = trainer.model.get_base_model() if hasattr(trainer.model, "peft_config") else trainer.model

    def count(module: Any, args: Any, kwargs: dict[str, Any]) -> None:
        trainer.read += kwargs["input_ids"].numel()

    inner.register_forward_pre_hook(count, with_kwargs=True)


def weights(trainer: Any) -> torch.Tensor:
    return torch.cat(
        [weight.detach().flatten().clone() for weight in trainer.model.parameters() if weight.requires_grad]
    )


def change(trainer: Any) -> torch.Tensor:
    """What training does to the weights; of plain gradient descent it is the gradient."""
    before = weights(trainer)
    torch.manual_seed(11)
    trainer.train()
    return weights(trainer) - before


def apart(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    return float((ours - theirs).norm() / theirs.norm())
