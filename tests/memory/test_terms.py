"""Formats of stored weights, Unsloth's loss, vLLM's share, and what may never make a run smaller."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer import memory
from trainer.memory import GIB, Load, Vllm, formats, known, static
from trainer.memory.formats import Stored


def load(name: str = "Qwen/Qwen3-8B", **changes: Any) -> Load:
    shape = known.of(name)
    assert shape is not None
    base = Load(
        shape=shape, on_gpu=True, compute_bytes=2, weights="plain", double_quant=True, lora_rank=16,
        lora_targets="all-linear", lora_bytes=4, optimizer="adamw_torch", gradient_checkpointing=True,
        eager_attention=False, reference=False, prompt_tokens=512, completion_tokens=512, micro_batch=4,
        generation_rows=16,
    )  # fmt: skip
    return dataclasses.replace(base, **changes)


def part(made: Load, name: str) -> float:
    return next((part.gib for part in memory.parts(made) if part.name == name), 0.0)


# ---- formats


@pytest.mark.parametrize(
    ("name", "stored"),
    [
        ("unsloth/gemma-3-27b-it-unsloth-bnb-4bit", "nf4"),
        ("unsloth/Meta-Llama-3.1-8B-Instruct-bnb-4bit", "nf4"),
        ("Qwen/Qwen3-8B-FP8", "fp8"),
        ("unsloth/Llama-3.2-3B-Instruct-FP8-Dynamic", "fp8"),
        ("unsloth/Qwen3-4B-FP8-Block", "fp8"),
        ("unsloth/qwen3-4b-fp8", "fp8"),
        ("openai/gpt-oss-20b", "mxfp4"),
        ("unsloth/gpt-oss-20b", "mxfp4"),
        ("unsloth/gpt-oss-20b-BF16", "plain"),
        ("unsloth/gpt-oss-20b-unsloth-bnb-4bit", "nf4"),
        ("google/gemma-3-27b-it", "plain"),
        ("somebody/fp8-notes", "plain"),
    ],
)
def test_a_repositorys_name_says_how_it_is_stored(name: str, stored: str) -> None:
    assert formats.of(name).format == stored


@pytest.mark.parametrize("name", ["Qwen/Qwen3-8B-FP8", "unsloth/Qwen3-8B-FP8-Dynamic", "unsloth/Qwen3-8B-FP8-Block"])
def test_fp8_endings_do_not_hide_the_shape(name: str) -> None:
    assert known.of(name) == known.published("qwen3-8b")


@pytest.mark.parametrize(
    ("quantised", "stored"),
    [
        ({"quant_method": "bitsandbytes", "load_in_4bit": True, "bnb_4bit_use_double_quant": True}, Stored("nf4")),
        ({"quant_method": "bitsandbytes", "load_in_4bit": True}, Stored("nf4", double_quant=False)),
        ({"quant_method": "bitsandbytes", "load_in_8bit": True}, Stored("plain")),
        ({"quant_method": "fp8", "weight_block_size": [128, 128]}, Stored("fp8")),
        ({"quant_method": "fbgemm_fp8"}, Stored("fp8")),
        ({"quant_method": "compressed-tensors", "format": "float-quantized"}, Stored("fp8")),
        ({"quant_method": "mxfp4"}, Stored("mxfp4")),
        ("nonsense", Stored("plain")),
    ],
)
def test_a_local_folder_says_how_it_is_stored(tmp_path: Path, quantised: object, stored: Stored) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "qwen3", "quantization_config": quantised}))
    assert formats.of(str(tmp_path)) == stored


@pytest.mark.parametrize("text", ["{", "[]", "{}"])
def test_a_folder_that_says_nothing_is_plain(tmp_path: Path, text: str) -> None:
    (tmp_path / "config.json").write_text(text)
    assert formats.of(str(tmp_path)) == Stored("plain")


GPT_OSS = {
    "model_type": "gpt_oss", "hidden_size": 2880, "intermediate_size": 2880, "num_hidden_layers": 24,
    "num_attention_heads": 64, "num_key_value_heads": 8, "head_dim": 64, "vocab_size": 201088,
    "num_local_experts": 32, "num_experts_per_tok": 4, "sliding_window": 128, "tie_word_embeddings": False,
}  # fmt: skip


def test_folder_of_gpt_oss_is_read(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(GPT_OSS))
    shape = known.of(str(tmp_path))
    assert shape is not None
    published = known.published("gpt-oss-20b")
    assert published is not None
    assert dataclasses.replace(shape, source="") == dataclasses.replace(published, source="")


# ---- weights


def test_fp8_is_a_byte_a_weight_and_a_scale_a_row() -> None:
    # Qwen3-8B, 36 layers: q 4096x4096, k and v 4096x1024, o 4096x4096, three of 4096x12288
    weights = 36 * (2 * 4096 * 4096 + 2 * 4096 * 1024 + 3 * 4096 * 12288)
    rows = 36 * (4096 + 1024 + 1024 + 4096 + 12288 + 12288 + 4096)
    rest = (8_190_735_360 - weights) * 2
    assert part(load(weights="fp8"), "weights") == pytest.approx((weights + 4 * rows + rest) / GIB, rel=1e-6)


def test_gpt_oss_is_published_with_13_8_gb() -> None:
    # Size of the safetensors files of openai/gpt-oss-20b: 13.76 GB.
    made = load("openai/gpt-oss-20b", weights="mxfp4")
    assert part(made, "weights") * GIB == pytest.approx(13.76e9, rel=0.01)


def test_experts_are_quantised_only_where_the_loader_packs_them() -> None:
    experts = 24 * 32 * 3 * 2880 * 2880
    packed = load("openai/gpt-oss-20b", weights="nf4")
    stacked = dataclasses.replace(packed, experts_packed=False)
    saved = experts * (2 - memory.nf4_bits(double_quant=True) / 8) / GIB
    assert part(stacked, "weights") - part(packed, "weights") == pytest.approx(saved)
    assert "experts and rest 16 bit" in str(memory.parts(stacked)[0].how)
    assert part(packed, "weights") < 12.5


def test_fully_trained_weights_are_float32_whatever_is_on_disk() -> None:
    assert part(load(weights="nf4", lora_rank=0), "weights") == pytest.approx(8_190_735_360 * 4 / GIB)
    assert part(load(weights="nf4", lora_rank=0), "dequantised") == 0


def test_largest_nf4_matrix_is_unpacked_once() -> None:
    assert part(load(weights="nf4"), "dequantised") == pytest.approx(4096 * 12288 * 2 / GIB)
    assert part(load("openai/gpt-oss-20b", weights="nf4"), "dequantised") == pytest.approx(2880 * 5760 * 2 / GIB)
    assert part(load(), "dequantised") == 0


# ---- Unsloth's loss


def test_unsloth_keeps_products_of_all_chunks_and_works_on_one() -> None:
    made = load("google/gemma-3-27b-it", unsloth=True, micro_batch=1, prompt_tokens=2048, completion_tokens=762,
                one_prompt=True)  # fmt: skip
    # four chunks of 191 tokens (762 / 4, rounded up): 2 bytes of every token, 2 + 4 of one chunk
    assert part(made, "logits") == pytest.approx((762 * 2 + 191 * 6) * 262_208 / GIB)
    assert part(made, "logits") < part(dataclasses.replace(made, unsloth=False), "logits") / 2


def test_unsloth_scores_the_prompt_too_where_prompts_differ_in_length() -> None:
    one, several = load(unsloth=True, one_prompt=True), load(unsloth=True)
    assert part(several, "logits") == pytest.approx(2 * part(one, "logits"))


def test_long_sequences_are_cut_into_more_chunks() -> None:
    made = load(unsloth=True, prompt_tokens=2048, completion_tokens=30_720, micro_batch=1, one_prompt=True)
    assert part(made, "logits") == pytest.approx((30_720 * 2 + 3840 * 6) * 151_936 / GIB)  # 32768 / 4096 = 8 chunks


# ---- vLLM


def test_vllm_takes_its_share_once_and_keeps_it_without_standby() -> None:
    made = load(unsloth=True, vllm=Vllm(0.6, standby=False), gpu_total_gib=80.0)
    assert part(made, "weights") + part(made, "vLLM") == pytest.approx(0.6 * 80)
    assert {term.phase for term in memory.parts(made) if term.name == "vLLM"} == {"always"}
    assert part(made, "KV cache") == part(made, "prompt reading") == 0


@pytest.mark.parametrize(("total", "share"), [(79.6, 0.925), (39.5, 0.9), (23.6, 0.825), (15.0, 0.8), (7.8, 0.75)])
def test_with_standby_the_share_follows_from_the_gpu_and_is_given_back(total: float, share: float) -> None:
    made = load("Qwen/Qwen3-0.6B", unsloth=True, vllm=Vllm(0.3, standby=True), gpu_total_gib=total)
    assert part(made, "weights") + part(made, "vLLM") == pytest.approx(0.95 * share * total)
    assert {term.phase for term in memory.parts(made) if term.name == "vLLM"} == {"generation"}


def test_share_of_an_unknown_gpu_is_said_to_be_unknown() -> None:
    made = load(unsloth=True, vllm=Vllm(0.6, standby=True))
    assert part(made, "vLLM") == memory.kv_cache_gib(made, 1)
    assert "not known" in next(str(term.how) for term in memory.parts(made) if term.name == "vLLM")
    assert memory.vllm_starts(made)


def test_a_vllm_with_weights_of_its_own_has_its_whole_share_beside_the_trained_ones() -> None:
    made = load(vllm=Vllm(0.3, standby=False, own_weights=True), gpu_total_gib=79.6)
    assert part(made, "vLLM") == pytest.approx(0.3 * 79.6)
    assert part(made, "KV cache") == 0
    assert part(dataclasses.replace(made, eval_rows=8), "KV cache") == memory.kv_cache_gib(made, 8)  # by transformers
    unknown = dataclasses.replace(made, gpu_total_gib=None)
    assert part(unknown, "vLLM") == pytest.approx(part(made, "weights") + memory.kv_cache_gib(made, 1))


def test_weights_that_are_trained_whole_are_in_compute_precision_in_vllm() -> None:
    made = load(lora_rank=0, vllm=Vllm(0.3, standby=False, own_weights=True))
    assert part(made, "vLLM") == pytest.approx(part(made, "weights") / 2 + memory.kv_cache_gib(made, 1))


def test_on_a_cpu_vllm_has_the_cache_of_all_rows_in_blocks() -> None:
    made = load("Qwen/Qwen3-0.6B", on_gpu=False, compute_bytes=4, vllm=Vllm(0.3, standby=False, own_weights=True))
    more = dataclasses.replace(made, generation_rows=2 * made.generation_rows)
    blocks = made.generation_rows * made.tokens // 128  # whole ones
    assert part(more, "vLLM") - part(made, "vLLM") == pytest.approx(blocks * 128 * 2 * 28 * 8 * 128 * 4 / GIB)
    assert memory.vllm_starts(made)


def test_vllm_does_not_start_with_a_share_below_the_weights() -> None:
    made = load(unsloth=True, vllm=Vllm(0.6, standby=False), gpu_total_gib=23.6)
    assert not memory.vllm_starts(made)  # 14.2 GiB for weights of 15.3
    assert memory.vllm_starts(dataclasses.replace(made, vllm=Vllm(0.7, standby=False)))


def test_one_more_completion_costs_vllm_nothing() -> None:
    assert memory.gib_per_generated_row(load(unsloth=True, vllm=Vllm(0.6, standby=True), gpu_total_gib=80.0)) == 0


# ---- the evaluation


def test_evaluation_may_hold_the_larger_cache() -> None:
    made = load(eval_rows=64)
    assert part(made, "KV cache") == pytest.approx(64 * 1024 * 36 * 2 * 8 * 128 * 2 / GIB)
    assert part(load(eval_rows=8), "KV cache") == part(load(), "KV cache")


# ---- what may never make a run smaller

LOADS = st.builds(
    load,
    st.sampled_from(["google/gemma-3-27b-it", "Qwen/Qwen3-8B", "openai/gpt-oss-20b", "meta-llama/Llama-3.2-3B"]),
    weights=st.sampled_from(["plain", "nf4", "fp8"]),
    unsloth=st.booleans(),
    one_prompt=st.booleans(),
    lora_rank=st.sampled_from([0, 4, 16, 64]),
    gradient_checkpointing=st.sampled_from([False, True]),
    micro_batch=st.integers(1, 64),
    generation_rows=st.integers(1, 256),
    prompt_tokens=st.integers(16, 8192),
    completion_tokens=st.integers(16, 8192),
    eval_rows=st.integers(0, 64),
    vllm=st.sampled_from([None, Vllm(0.5, standby=False), Vllm(0.5, standby=True), Vllm(0.5, False, own_weights=True)]),
    gpu_total_gib=st.sampled_from([None, 24.0, 80.0]),
)


@given(LOADS, st.sampled_from(["micro_batch", "generation_rows", "eval_rows", "prompt_tokens", "completion_tokens"]))
def test_more_rows_or_tokens_never_need_less(made: Load, what: str) -> None:
    more = dataclasses.replace(made, **{what: getattr(made, what) * 2 + 1})
    before, after = (memory.peaks_gib(memory.parts(each)) for each in (made, more))
    assert all(low <= high + 1e-9 for low, high in zip(before, after, strict=True))


@given(LOADS)
def test_milder_settings_never_need_more(made: Load) -> None:
    total = memory.total_gib(memory.parts(made))
    milder = [("gradient_checkpointing", True), ("gradient_checkpointing", "unsloth"), ("optimizer", "adamw_8bit")]
    for name, value in milder:
        changed: Any = {name: value}
        assert memory.total_gib(memory.parts(dataclasses.replace(made, **changed))) <= total + 1e-9


@given(LOADS)
def test_total_holds_every_phase_and_the_number_of_quantised_weights_is_theirs(made: Load) -> None:
    found = memory.parts(made)
    assert memory.total_gib(found) == max(memory.peaks_gib(found))
    assert all(term.gib >= 0 and term.how for term in found)
    assert 0 <= static.quantised_params(made) <= made.shape.linear_params()
