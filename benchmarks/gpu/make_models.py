"""Random models of the presets' architectures and sizes, with a synthetic tokenizer and rows of the presets' lengths.

    python benchmarks/gpu/make_models.py --out FOLDER --device cuda --size full gemma27b ...

One decoder layer is initialised from a fixed seed and its bytes are written for every layer: neither speed nor memory
depends on what weights hold, and a 27B model in NF4 never exists in 16 bit. A preset that names an NF4 repository gets
NF4 files in the form bitsandbytes writes and transformers reads; any other preset gets 16-bit files. Gemma 3 is made as
Gemma3ForCausalLM (model_type gemma3_text): the decoder without the vision tower of the real repository.

What exists already is left as it is. The shapes must be those of trainer/memory/published.py; a difference is an error.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import shutil
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent.parent))

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    BitsAndBytesConfig,
    GenerationConfig,
)

from benchmarks.gpu import parts, synthetic
from trainer import presets
from trainer.memory import known
from trainer.memory.families import from_config

SEED = 20
LAYER = "model.layers.0."
# Spread of the logits of a random model. Flatter ones hardly change with the weights, and the check before a run that
# rollouts follow the weights would need many rounds.
LOGIT_SPREAD = 1.5


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("presets", nargs="+")
    parser.add_argument("--out", type=Path, required=True, help="folder the models and rows are written to")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--size", choices=("full", "tiny"), default="full")
    given = parser.parse_args()
    setup = parts.Setup(given.out.absolute(), given.device, given.size)
    failed = 0
    for preset in given.presets:
        started = time.perf_counter()
        try:
            print(f"{preset}: {make(preset, setup)}, {time.perf_counter() - started:.1f} s", flush=True)
        except (OSError, RuntimeError, ValueError) as error:  # the models of the other presets are made all the same
            print(f"{preset}: FAILED: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
            failed += 1
    return 1 if failed else 0


def make(preset: str, setup: parts.Setup) -> str:
    """Model and rows of one preset; says in a line what was made."""
    spec = presets.load(preset, parts.overrides(parts.Part(preset, "transformers"), setup, 1))
    sizes = parts.config_of(presets.load(preset), setup.size)
    nf4 = parts.is_prequantised(presets.load(preset))
    folder = parts.model_folder(setup, preset)
    known = (folder / "config.json").is_file()
    if not known:
        # A 16-bit model is computed in float32 on a CPU, which is slow in bfloat16.
        dtype = torch.bfloat16 if setup.device == "cuda" else torch.float32
        write_model(folder, sizes, device=setup.device, dtype=dtype, nf4=nf4, double_quant=spec.model.double_quant)
    tokens = synthetic.write_rows(parts.rows_file(setup, preset), spec, AutoTokenizer.from_pretrained(folder))
    gib = sum(file.stat().st_size for file in folder.glob("*.safetensors")) / 2**30
    form = "NF4" if nf4 else "unquantised"
    return f"{sizes['model_type']} {form}, {gib:.2f} GiB{' (was there)' if known else ''}, prompts of {tokens} tokens"


def config_of(sizes: dict[str, Any], tokenizer: Any, dtype: torch.dtype) -> Any:
    """The transformers configuration with these sizes; what they do not say is as in the real repositories."""
    values = sizes | {
        "initializer_range": LOGIT_SPREAD / sizes["hidden_size"] ** 0.5,  # lm_head's input has unit variance
        "max_position_embeddings": 131_072 if sizes["model_type"] in ("gemma3_text", "llama") else 40_960,
        "pad_token_id": tokenizer.pad_token_id,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
    }
    kind = values.pop("model_type")
    if kind == "qwen2":
        values.pop("head_dim", None)  # it has none: hidden / heads
    if kind == "gemma3_text":
        values["query_pre_attn_scalar"] = sizes["hidden_size"] // sizes["num_attention_heads"]
    config = AutoConfig.for_model(kind, **values)
    config.dtype = dtype
    config.architectures = [AutoModelForCausalLM._model_mapping[type(config)].__name__]
    return config


def write_model(
    folder: Path,
    sizes: dict[str, Any],
    *,
    device: str,
    dtype: torch.dtype,
    nf4: bool,
    double_quant: bool = True,
    seed: int = SEED,
) -> None:
    """Write config, tokenizer and weights; complete or not there."""
    tokenizer = synthetic.make_tokenizer(sizes["vocab_size"])
    config = config_of(sizes, tokenizer, dtype)
    staged = folder.with_name(f".{folder.name}")
    shutil.rmtree(staged, ignore_errors=True)
    staged.mkdir(parents=True)
    first = config_of(sizes | {"num_hidden_layers": 1}, tokenizer, dtype)
    rest, layer = _tensors(first, device, dtype, seed, _nf4_config(dtype, double_quant) if nf4 else None)
    _write_shards(staged, rest, layer, sizes["num_hidden_layers"])
    if nf4:
        config.quantization_config = _nf4_config(dtype, double_quant)
    config.save_pretrained(staged)
    tokenizer.save_pretrained(staged)
    ids = {key: getattr(config, key) for key in ("pad_token_id", "bos_token_id", "eos_token_id")}
    GenerationConfig(**ids).save_pretrained(staged)
    made, wanted = known.of(str(staged)), from_config(sizes, source="")
    if made is None or dataclasses.replace(made, source="") != wanted:
        raise ValueError(f"the configuration written has the shape {made}, the estimate is made for {wanted}")
    staged.rename(folder)


def _nf4_config(dtype: torch.dtype, double_quant: bool) -> Any:
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=double_quant,
        bnb_4bit_compute_dtype=dtype,
    )


def _tensors(
    config: Any, device: str, dtype: torch.dtype, seed: int, quantise: Any | None
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """(everything outside the layers, one layer without its prefix) of a model of one layer, on the CPU."""
    torch.manual_seed(seed)
    with torch.device(device), torch.no_grad():
        model = AutoModelForCausalLM.from_config(config, dtype=dtype)
        if quantise is not None:
            _quantise(model.model.layers[0], quantise)
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    if config.tie_word_embeddings:
        state.pop("lm_head.weight", None)
    layer = {name.removeprefix(LAYER): tensor for name, tensor in state.items() if name.startswith(LAYER)}
    return {name: tensor for name, tensor in state.items() if not name.startswith(LAYER)}, layer


def _quantise(layer: nn.Module, config: Any) -> None:
    """Replace every linear layer by bitsandbytes' Linear4bit with the same weights in NF4."""
    from bitsandbytes.nn import Linear4bit, Params4bit

    for name, module in list(layer.named_modules()):
        if not isinstance(module, nn.Linear):
            continue
        settings = {"compress_statistics": config.bnb_4bit_use_double_quant, "quant_type": config.bnb_4bit_quant_type}
        inputs, outputs, device = module.in_features, module.out_features, module.weight.device
        small = Linear4bit(inputs, outputs, bias=module.bias is not None, device="meta", **settings)
        # Quantised by the move to a device, so it must start on the CPU, also when that is where it stays.
        small.weight = Params4bit(module.weight.data.cpu(), requires_grad=False, module=small, **settings).to(device)
        small.bias = module.bias
        parent, _, last = name.rpartition(".")
        setattr(layer.get_submodule(parent), last, small)


def _write_shards(folder: Path, rest: dict[str, Tensor], layer: dict[str, Tensor], layers: int) -> None:
    """One file for each layer and one for the rest, with their index."""
    weight_map: dict[str, str] = {}
    total = 0

    def write(number: int, tensors: dict[str, Tensor]) -> None:
        nonlocal total
        file = f"model-{number:05d}-of-{layers + 1:05d}.safetensors"
        save_file(tensors, folder / file, metadata={"format": "pt"})
        weight_map.update(dict.fromkeys(tensors, file))
        total += sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())

    write(1, rest)
    for number in range(layers):
        write(number + 2, {f"model.layers.{number}.{name}": tensor for name, tensor in layer.items()})
    index = {"metadata": {"total_size": total}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=1) + "\n", encoding="ascii")


if __name__ == "__main__":
    sys.exit(main())
