"""`builtin/tiny-bert`: an encoder for BERTScore that needs no download.

A BERT of 2 layers, 64 wide, one token a character, with weights from a fixed seed. It is untrained: its score tells
which characters two texts share and, much less, in which surroundings; not what they mean. Unrelated texts get about
0.6, and a sentence written backwards 0.99 of 1. It is there so that a preset with BERTScore runs on a machine without
network; for a result that is reported, name a trained encoder.
"""

from __future__ import annotations

from typing import Any

NAME = "builtin/tiny-bert"
WIDTH = 64
POSITIONS = 2048
SEED = 0
SPECIAL = ["[PAD]", "[CLS]", "[SEP]", "[UNK]"]


def characters() -> list[str]:
    """Printable ASCII, line end and tab, and the 2350 Hangul syllables of KS X 1001 (two bytes each in EUC-KR)."""
    syllables = [bytes([row, cell]).decode("euc-kr") for row in range(0xB0, 0xC9) for cell in range(0xA1, 0xFF)]
    return [*map(chr, range(32, 127)), "\n", "\t", *syllables]


def make() -> Any:
    """(model, tokenizer), the same on every call; the model on the CPU in float32. torch's random state is kept."""
    import torch
    from transformers import BertConfig, BertModel

    tokenizer = _tokenizer()
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=WIDTH,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=2 * WIDTH,
        max_position_embeddings=POSITIONS,
        initializer_range=WIDTH**-0.5,  # of BERT's own 0.02 so narrow a layer would pass on its input unchanged
        pad_token_id=tokenizer.pad_token_id,
    )
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(SEED)  # torch.manual_seed would seed the GPUs as well
        model = BertModel(config, add_pooling_layer=False).float()
    embeddings = model.embeddings
    with torch.no_grad():  # else two thirds of every token were the same for all or only its place
        embeddings.token_type_embeddings.weight.zero_()
        embeddings.position_embeddings.weight.mul_(0.1)
    return model.eval().requires_grad_(False), tokenizer


def _tokenizer() -> Any:
    """[CLS] characters [SEP]; a character it does not know becomes the bytes of its UTF-8."""
    from tokenizers import AddedToken, Tokenizer, models, normalizers, processors
    from transformers import PreTrainedTokenizerFast

    in_bytes = [f"<0x{byte:02X}>" for byte in range(256)]  # as tokenizers names them
    vocabulary = {token: number for number, token in enumerate([*SPECIAL, *characters(), *in_bytes])}
    core = Tokenizer(models.BPE(vocab=vocabulary, merges=[], unk_token="[UNK]", fuse_unk=False, byte_fallback=True))
    core.normalizer = normalizers.NFC()  # a syllable may come as its letters
    core.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in SPECIAL])
    ends = [(token, vocabulary[token]) for token in ("[CLS]", "[SEP]")]
    core.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=ends)
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        pad_token="[PAD]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        unk_token="[UNK]",
        model_max_length=POSITIONS,
    )
