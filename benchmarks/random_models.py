"""Models with random weights and a tokenizer of words, for benchmarks that only count work."""

from __future__ import annotations

from typing import Any, NamedTuple

EOS, PAD = 2, 0


class Sizes(NamedTuple):
    """Of the random model; on a GPU in bfloat16."""

    layers: int = 4
    hidden: int = 512
    vocabulary: int = 8000


def model(kind: str, sizes: Sizes, device: str) -> Any:
    import torch
    from transformers import Gemma3ForCausalLM, Gemma3TextConfig, Qwen3Config, Qwen3ForCausalLM

    torch.manual_seed(3)
    common: dict[str, Any] = {
        "vocab_size": sizes.vocabulary, "hidden_size": sizes.hidden, "intermediate_size": 3 * sizes.hidden,
        "num_hidden_layers": sizes.layers, "num_attention_heads": sizes.hidden // 64,
        "num_key_value_heads": max(1, sizes.hidden // 128), "head_dim": 64, "max_position_embeddings": 8192,
        "pad_token_id": PAD, "bos_token_id": 1, "eos_token_id": EOS, "tie_word_embeddings": True,
    }  # fmt: skip
    if kind == "gemma3":
        layers = ["full_attention" if (n + 1) % 4 == 0 else "sliding_attention" for n in range(sizes.layers)]
        config = Gemma3TextConfig(**common, sliding_window=256, layer_types=layers, query_pre_attn_scalar=64)
        made: Any = Gemma3ForCausalLM(config)
    else:
        made = Qwen3ForCausalLM(Qwen3Config(**common))
    return made.to(device=device, dtype=torch.bfloat16 if device == "cuda" else torch.float32)


def tokenizer(vocabulary: int) -> Any:
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = {"<pad>": PAD, "<bos>": 1, "<eos>": EOS, **{f"w{n}": n for n in range(3, vocabulary)}}
    made = Tokenizer(models.WordLevel(words, unk_token="<pad>"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    special = {"pad_token": "<pad>", "bos_token": "<bos>", "eos_token": "<eos>"}
    return PreTrainedTokenizerFast(tokenizer_object=made, padding_side="left", **special)
