"""The floor of generation and the cost of a lost KV cache, by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from trainer import presets
from trainer.machine.gpu_models import gpu_model_named
from trainer.memory import Load, known, weights_gib
from trainer.memory.formats import Format
from trainer.plan import batch_of, memory_load
from trainer.plan.bandwidth_floor import REACHED, floor
from trainer.plan.estimate import Machine

GIB = 2**30


def load(preset: str, *changes: str) -> Load:
    spec = presets.load(preset, changes)
    found = memory_load(spec, batch_of(spec, None), Machine(80.0))
    assert found is not None
    return found


def test_the_reference_run_could_take_five_seconds_and_takes_a_thousand_without_a_cache() -> None:
    """27 B weights in NF4 on an H100, four completions of 762 tokens to a prompt of 2048: the figures of the report."""
    card = gpu_model_named("H100")
    assert card is not None
    found = floor(load("gemma27b"), card, 2048, 762)
    # 62 layers of 5376 x 21504 and attention in 4.127 bits, the rest in 16 bit, no vision tower
    linear = 62 * (3 * 5376 * 21504 + 5376 * 128 * 32 * 2 + 5376 * 128 * 16 * 2)
    weights = (linear * 4.127 / 8 + 262_208 * 5376 * 2) / GIB
    assert found.weight_gib == pytest.approx(weights, rel=0.01)
    # 10 layers see all tokens, 52 the last 1024: keys and values of 16 heads of 128, in 16 bit, of four sequences
    context = 2048 + 381
    cache = 4 * 2 * 16 * 128 * 2 * (10 * context + 52 * 1024) / GIB
    assert found.cache_gib == pytest.approx(cache, rel=0.01)
    decoding = 762 * (weights + cache) * GIB / 3350e9
    assert found.seconds == pytest.approx(decoding, rel=0.15) and 4 < found.seconds < 6
    without = 4 * 762 * context * 2 * linear / (989e12 * REACHED)
    assert found.without_cache_s == pytest.approx(without, rel=0.02) and 800 < without < 1200


def test_sixteen_bit_weights_of_a_dense_model() -> None:
    card = gpu_model_named("RTX 4090")
    assert card is not None
    found = floor(load("qwen3-4b", "model.load_in_4bit=false", "model.name=Qwen/Qwen3-4B"), card, 100, 500, rows=1)
    assert found.weight_gib == pytest.approx(4.02e9 * 2 / GIB, rel=0.02)
    assert found.seconds == pytest.approx(500 * found.weight_gib * GIB / 1008e9, rel=0.05)


def test_of_a_mixture_only_experts_that_somebody_was_sent_to_are_read() -> None:
    card = gpu_model_named("H100")
    assert card is not None
    few, many = (floor(load("gpt-oss-20b"), card, 100, 100, rows=rows) for rows in (1, 64))
    assert few.weight_gib < 0.5 * many.weight_gib
    assert many.without_cache_s == pytest.approx(64 * few.without_cache_s)


def test_more_sequences_cost_cache_and_no_weights() -> None:
    card = gpu_model_named("RTX 4090")
    assert card is not None
    one, eight = (floor(load("qwen3-4b"), card, 200, 200, rows=rows) for rows in (1, 8))
    assert eight.weight_gib == one.weight_gib
    assert eight.cache_gib == pytest.approx(8 * one.cache_gib)


@pytest.mark.parametrize("name", ["mxfp4", "plain"])
def test_experts_are_read_in_the_format_they_are_stored_in(name: Format) -> None:
    """One row reads 4 of 32 experts; rows that choose for themselves read 1 - (1 - 4/32)^rows of them, never all."""
    card, shape = gpu_model_named("H100"), known.of("openai/gpt-oss-20b")
    assert card is not None and shape is not None
    made = replace(load("gpt-oss-20b"), shape=shape, weights=name)
    experts = shape.expert_params() * ((4.25 / 8) if name == "mxfp4" else 2) / GIB
    rest = weights_gib(made) - experts - 201_088 * 2880 * 2 / GIB  # no input embedding: it is not tied
    for rows, read in ((1, 4 / 32), (2, 1 - (28 / 32) ** 2), (64, 1 - (28 / 32) ** 64)):
        found = floor(made, card, 100, 100, rows=rows)
        assert found.weight_gib == pytest.approx(rest + read * experts, rel=0.01)
    active = shape.params() - 2 * 201_088 * 2880 - shape.expert_params() * 28 / 32
    assert found.without_cache_s == pytest.approx(64 * 100 * 150 * 2 * active / (989e12 * REACHED), rel=1e-6)


def test_the_vision_tower_is_not_read() -> None:
    card, made = gpu_model_named("H100"), load("gemma27b")
    assert card is not None and made.shape.vision > 4e8
    without = replace(made, shape=replace(made.shape, vision=0))
    assert floor(made, card, 100, 100) == floor(without, card, 100, 100)


def test_weights_that_are_trained_themselves_are_read_in_32_bit() -> None:
    card, made = gpu_model_named("H100"), load("qwen3-4b", "lora.enabled=false", "model.load_in_4bit=false")
    assert card is not None and made.lora_rank == 0
    assert floor(made, card, 100, 100).weight_gib == pytest.approx(made.shape.params() * 4 / GIB)


def test_a_faster_memory_makes_the_floor_lower_and_a_longer_completion_higher() -> None:
    slow, fast, made = gpu_model_named("T4"), gpu_model_named("H200"), load("qwen3-4b")
    assert slow is not None and fast is not None
    assert floor(made, slow, 100, 100).seconds > 10 * floor(made, fast, 100, 100).seconds
    assert floor(made, fast, 100, 200, 1).seconds > 1.9 * floor(made, fast, 100, 100, 1).seconds
