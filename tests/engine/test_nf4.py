"""QLoRA on a CPU: the backward pass through NF4 weights is exact, also after a generate."""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from bitsandbytes.functional import dequantize_4bit
from bitsandbytes.nn import Linear4bit
from peft import get_peft_model
from transformers import set_seed

from tests.builders import tiny_model, tiny_trainer
from trainer.engine import transformers_engine
from trainer.engine.interface import Choice
from trainer.spec import Lora, RunSpec

IDS = torch.tensor([[1, 4, 70, 71, 72, 2, 5, 80, 81, 82, 2]])


def load_quantised(tmp_path: Path) -> Any:
    """The tiny model in NF4 with double quantisation, loaded by the engine."""
    model, tokenizer = tiny_model()
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    spec = RunSpec.model_validate(
        {
            "model": {"name": str(tmp_path), "load_in_4bit": True},
            "data": {"path": "unused.jsonl"},
            "reward": {"components": [{"function": "exact_match"}]},
        }
    )
    return transformers_engine.load(spec, Choice("transformers", "cpu", "float32"), str(tmp_path)).model


@pytest.fixture
def quantised(tmp_path: Path) -> Any:
    """The quantised model with a LoRA that is not zero."""
    model = load_quantised(tmp_path)
    torch.manual_seed(0)
    adapted = get_peft_model(model, transformers_engine.lora_config(Lora(r=8), model))
    for name, parameter in adapted.named_parameters():
        if "lora_B" in name:  # starts at zero: then nothing would flow into lora_A
            torch.nn.init.normal_(parameter, std=0.02)
    return adapted


def unquantised(model: Any) -> Any:
    """The same weights in plain float32 linear layers: what the NF4 forward and backward stand for."""
    plain = copy.deepcopy(model)
    for name, module in list(plain.named_modules()):
        if isinstance(module, Linear4bit):
            weight = dequantize_4bit(module.weight.data, module.weight.quant_state).float()
            linear = torch.nn.Linear(weight.shape[1], weight.shape[0], bias=False)
            linear.weight = torch.nn.Parameter(weight, requires_grad=False)
            parent, _, last = name.rpartition(".")
            setattr(plain.get_submodule(parent), last, linear)
    return plain


def gradient(model: Any) -> torch.Tensor:
    """The gradient of all adapter weights as one vector."""
    model.train()
    model.zero_grad()
    model(input_ids=IDS, labels=IDS).loss.backward()
    return torch.cat([p.grad.flatten().float() for p in model.parameters() if p.requires_grad])


def generate(model: Any) -> None:
    model.eval()
    with torch.no_grad():
        model.generate(input_ids=IDS[:, :7], max_new_tokens=4, do_sample=False)


def test_every_linear_layer_but_the_head_is_nf4_with_double_quantisation(quantised: Any) -> None:
    layers = [module for module in quantised.modules() if isinstance(module, Linear4bit)]
    assert len(layers) == 2 * 7
    assert all(layer.weight.quant_state.quant_type == "nf4" for layer in layers)
    assert all(layer.weight.quant_state.nested for layer in layers)
    assert not isinstance(quantised.get_base_model().lm_head, Linear4bit)


def test_the_gradient_equals_the_unquantised_one_before_and_after_a_generate(
    quantised: Any,
) -> None:
    expected = gradient(unquantised(quantised))
    assert expected.norm() > 0
    for _ in range(2):
        found = gradient(quantised)
        assert torch.cosine_similarity(found, expected, dim=0) > 0.9999
        assert (found - expected).norm() / expected.norm() < 1e-3
        generate(quantised)


def test_without_the_guard_bitsandbytes_gives_another_gradient_after_a_generate(
    quantised: Any,
) -> None:
    """The trap itself, where the CPU has it: if this fails, bitsandbytes has mended it and the guard may go."""
    layers = [module for module in quantised.modules() if isinstance(module, Linear4bit)]
    has_trap = Linear4bit(64, 64).support_avx512bf16_for_cpu
    for layer in layers:
        layer.support_avx512bf16_for_cpu = has_trap
    expected = gradient(unquantised(quantised))
    generate(quantised)
    agreement = torch.cosine_similarity(gradient(quantised), expected, dim=0)
    assert (agreement < 0.99) == has_trap


def train_adapter(folder: Path, resume_from: Path | None = None) -> dict[str, torch.Tensor]:
    """The adapter's weights after four steps with a checkpoint at the second."""
    set_seed(0)
    trainer, _ = tiny_trainer(
        folder,
        model=(model := load_quantised(folder / "base")),
        peft_config=transformers_engine.lora_config(Lora(r=8), model),
        max_steps=4,
        save_strategy="steps",
        save_steps=2,
        temperature=1.5,
        max_completion_length=4,
    )
    trainer.train(resume_from_checkpoint=str(resume_from) if resume_from else None)
    return {name: p.detach().clone() for name, p in trainer.model.named_parameters() if p.requires_grad}


def test_a_resumed_adapter_keeps_its_precision_and_ends_the_same(tmp_path: Path) -> None:
    whole = train_adapter(tmp_path / "whole")
    resumed = train_adapter(tmp_path / "resumed", tmp_path / "whole" / "checkpoint-2")
    assert {weight.dtype for weight in whole.values()} == {torch.bfloat16}
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)
