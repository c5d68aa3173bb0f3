"""Plain transformers + PEFT + bitsandbytes: runs everywhere, also on a CPU."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig

from trainer.engine import weights
from trainer.engine.interface import Choice, Loaded, Trying, checked, unloadable, without_routers
from trainer.spec import Lora, RunSpec


def load(spec: RunSpec, choice: Choice, name: str, trying: Trying | None = None) -> Loaded:
    """name: Hub id or local folder. Raises EngineError when it cannot be loaded, and what `trying` raises."""
    options: dict[str, Any] = {
        "revision": spec.model.revision,
        "trust_remote_code": spec.model.trust_remote_code,
    }
    compute = getattr(torch, choice.dtype)
    # Weights that are trained themselves stay float32 under autocast: at a learning rate of 1e-6 an update of a
    # bfloat16 weight rounds to nothing for 98 % of them.
    dtype = compute if spec.lora.enabled else torch.float32
    if spec.model.load_in_4bit:
        options["quantization_config"] = nf4(compute, spec.model.double_quant)
    try:
        tokenizer = AutoTokenizer.from_pretrained(name, **options_for_tokenizer(options))
    except (OSError, ValueError) as error:
        raise unloadable(spec, error) from error
    checked(tokenizer, spec)
    if trying is not None:
        trying(tokenizer)
    options |= {"dtype": dtype, "attn_implementation": spec.model.attn_implementation}
    options["device_map"] = {"": choice.device}  # whole on one device; bitsandbytes quantises what arrives there
    try:
        with weights.watched_quantising(spec):
            model = model_class(_config(name, options)).from_pretrained(name, **options)
    except (OSError, ValueError) as error:
        raise unloadable(spec, error) from error
    weights.refuse_unfinite(model, spec)
    without_routers(model)
    if spec.model.load_in_4bit and choice.device == "cpu":
        keep_nf4_backward_exact(model)
    commit = getattr(model.config, "_commit_hash", None)
    source = f"{name}@{commit}" if commit else Path(name).name
    return Loaded(model, tokenizer, lora_config(spec.lora, model) if spec.lora.enabled else None, source)


def _config(name: str, options: dict[str, Any]) -> Any:
    return AutoConfig.from_pretrained(name, **{key: options[key] for key in ("revision", "trust_remote_code")})


def model_class(config: Any) -> Any:
    """The auto class that loads a decoder with this configuration, alone where transformers 5.17 has a class for that
    (Qwen3.5), else with its towers (Ministral 3)."""
    import transformers

    text = transformers.MODEL_FOR_CAUSAL_LM_MAPPING
    remote = "AutoModelForCausalLM" in (getattr(config, "auto_map", None) or {})
    return AutoModelForCausalLM if remote or type(config) in text else transformers.AutoModelForImageTextToText


def options_for_tokenizer(options: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in options.items() if key != "quantization_config"}


def nf4(dtype: torch.dtype, double_quant: bool) -> BitsAndBytesConfig:
    """NF4 weights (QLoRA, arXiv 2305.14314, section 3), dequantised and multiplied in `dtype`.

    double_quant: the float32 scale of each 64 weights is itself quantised to 8 bits (trainer.memory.static.nf4_bits).
    """
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=double_quant,
        bnb_4bit_compute_dtype=dtype,
    )


def keep_nf4_backward_exact(model: torch.nn.Module) -> None:
    """Stop bitsandbytes 0.50.2 from repacking NF4 weights on a CPU with avx512_bf16.

    At the first generate `Linear4bit.forward` repacks the weights for an inference kernel, and every backward after
    it is wrong (cosine 0.45 to the true gradient). The flag is read per module before the repacking.
    """
    from bitsandbytes.nn import Linear4bit

    for module in model.modules():
        if isinstance(module, Linear4bit):
            module.support_avx512bf16_for_cpu = False


# The towers, and what leads from them into the decoder, by their names in transformers 5.17; for the whole of a name.
_TOWERS = r".*\b(vision_tower|visual|audio_tower|multi_modal_projector|embed_vision|embed_audio)\b.*"


def _has_towers(model: torch.nn.Module) -> bool:
    return any(re.fullmatch(_TOWERS, name) for name, _ in model.named_modules())


def lora_config(lora: Lora, model: torch.nn.Module) -> Any:
    """PEFT's config of the adapter, attached by TRL (`peft_config` of GRPOTrainer).

    LoRA (arXiv 2106.09685): y = W x + (alpha / r) B A x with A (r, inputs) and B (outputs, r); B starts at 0, so the
    first step's policy is the base model. Without the adapter, W alone is the reference of the KL term. There are none
    on what sees and hears: prompts here are text, they would be saved, moved and never trained.
    """
    from peft import LoraConfig

    return LoraConfig(
        r=lora.r,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=lora.target_modules,
        exclude_modules=_TOWERS if _has_towers(model) else None,
        bias="none",
        task_type="CAUSAL_LM",
    )
