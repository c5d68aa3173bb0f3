"""The memory estimate: sizes against published numbers, each term against arithmetic by hand."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from trainer import memory
from trainer.memory import GIB, Load, embedded, known, published
from trainer.memory.shapes import ModelShape

# Published numbers of parameters (safetensors metadata of the Hub repositories; gpt-oss: its model
# card's count).
PUBLISHED = {
    "google/gemma-3-1b-it": 999_885_952,
    "google/gemma-3-4b-it": 4_300_079_472,
    "google/gemma-3-12b-it": 12_187_325_040,
    "google/gemma-3-27b-it": 27_432_406_640,
    "Qwen/Qwen3-0.6B": 596_049_920,
    "Qwen/Qwen3-1.7B": 1_720_574_976,
    "Qwen/Qwen3-4B": 4_022_468_096,
    "Qwen/Qwen3-8B": 8_190_735_360,
    "Qwen/Qwen3-14B": 14_768_307_200,
    "Qwen/Qwen3-32B": 32_762_123_264,
    "Qwen/Qwen2.5-0.5B": 494_032_768,
    "Qwen/Qwen2.5-1.5B": 1_543_714_304,
    "Qwen/Qwen2.5-3B": 3_085_938_688,
    "Qwen/Qwen2.5-7B": 7_615_616_512,
    "meta-llama/Llama-3.2-1B": 1_235_814_400,
    "meta-llama/Llama-3.2-3B": 3_212_749_824,
    "meta-llama/Llama-3.1-8B": 8_030_261_248,
    "openai/gpt-oss-20b": 20_914_757_184,
    "Qwen/Qwen3.5-2B": 2_274_069_824,  # with the layer that predicts a second token, which is not loaded: 60,828,160
    "Qwen/Qwen3.5-4B": 4_659_865_088,  # the same: 120,599,552
    "google/gemma-4-E2B-it": 5_123_178_051,
    "google/gemma-4-E4B-it": 7_996_156_490,
    "LiquidAI/LFM2.5-1.2B-Instruct": 1_170_340_608,
    "mistralai/Ministral-3-3B-Instruct-2512": 3_849_090_048,
    "HuggingFaceTB/SmolLM3-3B": 3_075_098_624,
    "ibm-granite/granite-4.0-micro": 3_402_836_480,
    "ibm-granite/granite-4.0-h-micro": 3_191_396_096,
    "K-intelligence/Midm-2.0-Mini-Instruct": 2_305_517_312,
}
# Trainable weights reported by PEFT for adapters on all linear layers at rank 16.
PUBLISHED_LORA = {
    "Qwen/Qwen3-4B": 33_030_144,
    "Qwen/Qwen3-8B": 43_646_976,
    "Qwen/Qwen3-14B": 64_225_280,
    "meta-llama/Llama-3.1-8B": 41_943_040,
}


def shape_of(name: str) -> ModelShape:
    shape = known.of(name)
    assert shape is not None
    return shape


def load(name: str = "Qwen/Qwen3-0.6B", **changes: object) -> Load:
    base = Load(
        shape=shape_of(name), on_gpu=True, compute_bytes=2, weights="plain", double_quant=True,
        lora_rank=16, lora_targets="all-linear", lora_bytes=4, optimizer="adamw_torch",
        gradient_checkpointing=True, eager_attention=False, reference=False, prompt_tokens=512,
        completion_tokens=512, micro_batch=8, generation_rows=8,
    )  # fmt: skip
    return dataclasses.replace(base, **changes)  # type: ignore[arg-type]


def part(made: Load, name: str) -> float:
    return next((part.gib for part in memory.parts(made) if part.name == name), 0.0)


@pytest.mark.parametrize("name", PUBLISHED)
def test_number_of_weights_is_the_published_one(name: str) -> None:
    assert shape_of(name).params() == pytest.approx(PUBLISHED[name], rel=0.03)


def test_every_shape_is_checked_against_a_published_size() -> None:
    assert {known.normalise(name) for name in PUBLISHED} == set(published.CONFIGS)


@pytest.mark.parametrize("name", PUBLISHED_LORA)
def test_number_of_adapter_weights_is_the_published_one(name: str) -> None:
    assert memory.lora_params(shape_of(name), 16, "all-linear") == PUBLISHED_LORA[name]


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("unsloth/gemma-3-27b-it-unsloth-bnb-4bit", "gemma-3-27b"),
        ("unsloth/gemma-3-4b-pt-bnb-4bit", "gemma-3-4b"),
        ("unsloth/Meta-Llama-3.1-8B-Instruct-bnb-4bit", "llama-3.1-8b"),
        ("Qwen/Qwen3-4B-Instruct-2507", "qwen3-4b"),
        ("Qwen/Qwen3-4B-Base", "qwen3-4b"),
        ("unsloth/gpt-oss-20b-BF16", "gpt-oss-20b"),
    ],
)
def test_endings_of_repositories_do_not_hide_the_shape(name: str, shape: str) -> None:
    assert known.of(name) == known.published(shape)


@pytest.mark.parametrize("name", ["somebody/Qwen3-8B", "Qwen/Qwen9-8B", "gemma-3-27b", "google/gemma-3-27b-x", ""])
def test_unknown_model_is_not_guessed(name: str) -> None:
    assert known.of(name) is None


QWEN3_06B = {
    "model_type": "qwen3", "hidden_size": 1024, "intermediate_size": 3072, "num_hidden_layers": 28,
    "num_attention_heads": 16, "num_key_value_heads": 8, "head_dim": 128, "vocab_size": 151936,
    "tie_word_embeddings": True,
}  # fmt: skip
GEMMA_4B = {
    "model_type": "gemma3",
    "text_config": {
        "model_type": "gemma3_text", "hidden_size": 2560, "intermediate_size": 10240,
        "num_hidden_layers": 34, "sliding_window": 1024,
    },
    "vision_config": {"hidden_size": 1152},
}  # fmt: skip


@pytest.mark.parametrize(("config", "name"), [(QWEN3_06B, "Qwen/Qwen3-0.6B"), (GEMMA_4B, "google/gemma-3-4b-it")])
def test_local_folder_is_read(tmp_path: Path, config: dict[str, object], name: str) -> None:
    (tmp_path / "config.json").write_text(json.dumps(config))
    shape = shape_of(str(tmp_path))
    assert dataclasses.replace(shape, source="") == dataclasses.replace(shape_of(name), source="")


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"model_type": "mamba"}', '{"model_type": "llama"}'])
def test_folder_with_an_unknown_config_is_not_guessed(tmp_path: Path, text: str) -> None:
    (tmp_path / "config.json").write_text(text)
    assert known.of(str(tmp_path)) is None


def test_builtin_model_has_the_shape_of_its_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(embedded.BUILTIN_CONFIGS, "builtin/mine", QWEN3_06B)
    assert shape_of("builtin/mine").params() == PUBLISHED["Qwen/Qwen3-0.6B"]


def test_nf4_with_double_quantisation_is_about_4_127_bits() -> None:
    assert memory.nf4_bits(double_quant=True) == pytest.approx(4.127, abs=1e-3)
    assert memory.nf4_bits(double_quant=False) == 4.5


def test_quantised_gemma27b_is_about_16_gib() -> None:
    made = load("google/gemma-3-27b-it", weights="nf4")
    embeddings_and_vision = (262_208 * 5376 + shape_of("google/gemma-3-27b-it").vision) * 2
    assert part(made, "weights") == pytest.approx((25_597_894_656 * 4.127 / 8 + embeddings_and_vision) / GIB, rel=0.01)


def test_kv_cache_of_gemma27b_keeps_a_window_in_52_of_62_layers() -> None:
    made = load("google/gemma-3-27b-it", prompt_tokens=2048, completion_tokens=762, generation_rows=4)
    by_hand = 4 * (10 * 2810 + 52 * 1024) * 2 * 16 * 128 * 2
    assert part(made, "KV cache") == pytest.approx(by_hand / GIB)


def test_kv_cache_without_windows_grows_with_every_token() -> None:
    made = load("Qwen/Qwen3-8B", generation_rows=64)
    assert part(made, "KV cache") == pytest.approx(64 * 1024 * 36 * 2 * 8 * 128 * 2 / GIB)


@pytest.mark.parametrize(
    ("name", "expected"),
    [("adamw_torch", 8), ("adamw_8bit", 2), ("paged_adamw_8bit", 2), ("paged_adamw_32bit", 8),
     ("lion_8bit", 1), ("lion_32bit", 4), ("sgd", 0), ("adafactor", 0), ("ademamix_8bit", 3)],
)  # fmt: skip
def test_optimizer_bytes_per_float32_weight(name: str, expected: float) -> None:
    assert memory.optimizer_bytes(name, 4) == expected


def test_reference_costs_nothing_with_adapters_and_a_copy_without() -> None:
    assert part(load(reference=True), "reference model") == 0
    full = load(reference=True, lora_rank=0)
    assert part(full, "reference model") == part(full, "weights")
    assert part(load(lora_rank=0), "reference model") == 0


def test_cpu_has_no_cuda_context() -> None:
    assert part(load(on_gpu=False, compute_bytes=4), "CUDA context") == 0
    assert 1.0 <= part(load(), "CUDA context") <= 1.4


def test_checkpointing_saves_activations_and_unsloth_saves_more() -> None:
    modes: list[object] = [False, True, "unsloth"]
    sizes = [part(load(gradient_checkpointing=mode), "activations") for mode in modes]
    assert sizes[0] > sizes[1] > sizes[2] > 0


def test_group_costs_generation_and_micro_batch_costs_the_update() -> None:
    base, rows, micro = load(), load(generation_rows=16), load(micro_batch=16)
    assert part(rows, "KV cache") == 2 * part(base, "KV cache")
    assert part(rows, "logits") == part(base, "logits")
    assert part(micro, "logits") == 2 * part(base, "logits")
    assert part(micro, "KV cache") == part(base, "KV cache")


def test_total_is_the_larger_of_generation_and_update() -> None:
    parts = memory.parts(load())
    always, generation, update = (memory.phase_gib(parts, phase) for phase in ("always", "generation", "update"))  # type: ignore[arg-type]
    assert memory.total_gib(parts) == always + max(generation, update)


@pytest.mark.parametrize("name", PUBLISHED)
def test_every_term_is_named_explained_and_not_negative(name: str) -> None:
    for term in memory.parts(load(name)):
        assert term.gib >= 0
        assert term.name
        assert term.how
