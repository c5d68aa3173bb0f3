"""trainer.grpo.generation_guard: what transformers does without it, and that the state is put back."""

from typing import Any

import pytest
import torch

from tests.builders import tiny_model
from trainer.grpo.generation_guard import generation_mode, guard_generate
from trainer.grpo.spans import Spans


@pytest.fixture
def model() -> Any:
    model, _ = tiny_model()
    model.gradient_checkpointing_enable()
    return model.train()


IDS = torch.tensor([[1, 4, 70, 71, 72, 2, 5]])


def decode_lengths(model: Any, **kwargs: Any) -> list[int]:
    """Tokens the first layer is given at each forward pass of a greedy generate of four tokens."""
    lengths: list[int] = []
    layer = model.model.layers[0].self_attn
    handle = layer.register_forward_pre_hook(
        lambda module, args, kwargs: lengths.append(kwargs["hidden_states"].shape[1]),
        with_kwargs=True,
    )
    try:
        model.generate(input_ids=IDS, max_new_tokens=4, min_new_tokens=4, do_sample=False, **kwargs)
    finally:
        handle.remove()
    return lengths


def test_without_the_guard_training_with_checkpointing_loses_the_cache_and_the_text(
    model: Any,
) -> None:
    """The trap itself: if this fails, transformers has mended it and the guard may go."""
    unguarded = model.generate(input_ids=IDS, max_new_tokens=8, min_new_tokens=8, do_sample=False)
    with generation_mode(model):
        right = model.generate(input_ids=IDS, max_new_tokens=8, min_new_tokens=8, do_sample=False)
    assert unguarded.tolist() != right.tolist()


def test_guarded_decoding_reads_one_token_at_a_time(model: Any) -> None:
    guard_generate(model, Spans())
    assert decode_lengths(model) == [7, 1, 1, 1]


def test_the_cache_is_on_even_when_the_caller_says_otherwise(model: Any) -> None:
    model.config.use_cache = False
    guard_generate(model, Spans())
    assert decode_lengths(model, use_cache=False) == [7, 1, 1, 1]


def test_guarded_text_equals_the_text_without_a_cache(model: Any) -> None:
    model.eval()
    model.gradient_checkpointing_disable()
    slow = model.generate(input_ids=IDS, max_new_tokens=8, do_sample=False, use_cache=False)
    model.gradient_checkpointing_enable()
    model.train()
    guard_generate(model, Spans())
    assert model.generate(input_ids=IDS, max_new_tokens=8, do_sample=False).tolist() == slow.tolist()


def test_everything_is_put_back_also_after_an_error(model: Any) -> None:
    model.model.layers[0].eval()  # a part somebody froze on purpose stays in eval
    before = [(module.training, getattr(module, "gradient_checkpointing", None)) for module in model.modules()]
    with pytest.raises(RuntimeError, match="boom"), generation_mode(model):
        assert not any(module.training for module in model.modules())
        raise RuntimeError("boom")
    after = [(module.training, getattr(module, "gradient_checkpointing", None)) for module in model.modules()]
    assert after == before


def test_generate_is_timed_under_trls_name(model: Any) -> None:
    spans = Spans()
    guard_generate(model, spans)
    model.generate(input_ids=IDS, max_new_tokens=2, do_sample=False)
    assert [span.name for span in spans.drain()] == ["transformers.generate"]


def test_a_batch_in_pieces_gives_the_same_rows_padded_to_the_longest(model: Any) -> None:
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(8, 100, (6, 5), generator=generator)
    settings = {"max_new_tokens": 8, "do_sample": False, "pad_token_id": 0, "eos_token_id": [20, 30, 40]}
    whole = model.eval().generate(input_ids=ids, attention_mask=torch.ones_like(ids), **settings)
    spans = Spans()
    guard_generate(model, spans, pieces=4)
    shapes: list[torch.Size] = []
    handle = model.model.embed_tokens.register_forward_pre_hook(lambda module, args: shapes.append(args[0].shape))
    in_pieces = model.generate(input_ids=ids, attention_mask=torch.ones_like(ids), **settings)
    handle.remove()
    assert {shape[0] for shape in shapes} == {1}
    assert in_pieces.tolist() == whole.tolist()
    assert [(span.name, span.calls) for span in spans.drain()] == [("transformers.generate", 1)]
