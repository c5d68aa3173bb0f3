"""The tokens of `generate` from fewer rows: the same where the noise is the same, the same distribution else."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from tests.fast.pairs import EOS, PROMPTS, model, tokenizer
from trainer.fast.decoding import MANY_WORDS, Decoding, NotPlain, draw
from trainer.text import Message

WAYS: dict[str, dict[str, Any]] = {
    "greedy": {"do_sample": False},
    "repetition penalty": {"do_sample": False, "repetition_penalty": 1.3},
    "temperature, top-k, top-p": {"do_sample": True, "temperature": 0.9, "top_k": 10, "top_p": 0.9},
    "min-p, a shortest length": {"do_sample": True, "top_k": 0, "min_p": 0.05, "min_new_tokens": 4},
}
COPIES, LONGEST = 3, 30


def asked(**more: Any) -> dict[str, Any]:
    """Prompts of different length, left-padded, each for three rows; several tokens end an answer."""
    found = tokenizer()(PROMPTS, padding=True, return_tensors="pt")
    rows = {name: found[name].repeat_interleave(COPIES, 0) for name in ("input_ids", "attention_mask")}
    return rows | {"max_new_tokens": LONGEST, "pad_token_id": 0, "eos_token_id": [EOS, 5, 9]} | more


def same_noise(probabilities: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    """What torch.multinomial does for the undivided batch, for the rows that are left of it."""
    noise = torch.empty((COPIES * len(PROMPTS), probabilities.shape[1])).exponential_(1)[rows]
    return (probabilities / noise).argmax(-1)


def padded(*found: torch.Tensor) -> list[torch.Tensor]:
    width = max(each.shape[1] for each in found)
    return [torch.nn.functional.pad(each, (0, width - each.shape[1])) for each in found]


@pytest.mark.parametrize("kind", ["qwen3", "gemma3"])
@pytest.mark.parametrize("way", WAYS)
def test_every_row_is_the_same_as_generates_with_the_same_noise(kind: str, way: str) -> None:
    made, given = model(kind).eval(), asked(**WAYS[way])
    torch.manual_seed(7)
    theirs = made.generate(**given)
    torch.manual_seed(7)
    decoding = Decoding(draw=same_noise)
    ours = made.generate(**given, custom_generate=decoding)
    assert decoding.batches == 1
    assert torch.equal(*padded(ours, theirs))


@pytest.mark.parametrize("kind", ["qwen3", "gemma3"])
@pytest.mark.parametrize("slots", [1, 2, 5, 7])
def test_waiting_prompts_take_free_places_and_change_nothing(kind: str, slots: int) -> None:
    made, given = model(kind).eval(), asked(do_sample=False, repetition_penalty=1.3)
    most = 0

    def count(module: Any, args: Any, kwargs: Any) -> None:
        nonlocal most
        most = max(most, kwargs["input_ids"].shape[0])

    theirs = made.generate(**given)
    made.register_forward_pre_hook(count, with_kwargs=True)
    decoding = Decoding()
    decoding._fits = True  # the check reads two prompts at once
    ours = made.generate(**given, custom_generate=decoding.with_slots(slots))
    assert torch.equal(*padded(ours, theirs))
    assert most <= slots


def test_a_prompt_is_read_once_and_rows_that_have_ended_are_not_read() -> None:
    made, given = model("qwen3").eval(), asked(do_sample=False)
    tokens: list[int] = []
    made.register_forward_pre_hook(
        lambda module, args, kwargs: tokens.append(kwargs["input_ids"].numel()), with_kwargs=True
    )
    decoding = Decoding()
    decoding._fits = True
    out = made.generate(**given, custom_generate=decoding)
    width = given["input_ids"].shape[1]
    written = (out[:, width:] != 0).sum(1)
    assert tokens[0] == len(PROMPTS) * width
    assert sum(tokens[1:]) == int((written - 1).sum())


def test_samples_have_the_models_distribution() -> None:
    """2,000 first two tokens against the model's own probabilities: chi-square of the pooled cells."""
    made = model("qwen3").eval()
    for weight in made.parameters():
        weight.data.mul_(0.5)
    ids = torch.tensor([[4, 9, 17]])
    given = {"input_ids": ids.repeat(2000, 1), "attention_mask": torch.ones(2000, 3, dtype=torch.long)}
    torch.manual_seed(3)
    out = made.generate(**given, max_new_tokens=2, do_sample=True, top_k=0, pad_token_id=0, eos_token_id=None,
                        custom_generate=Decoding())  # fmt: skip
    with torch.no_grad():
        first = made(input_ids=ids).logits[0, -1].softmax(-1)
        pairs = torch.cat([ids.repeat(first.numel(), 1), torch.arange(first.numel())[:, None]], 1)
        joint = first[:, None] * made(input_ids=pairs).logits[:, -1].softmax(-1)
    counts = torch.zeros_like(joint)
    counts.index_put_((out[:, 3], out[:, 4]), torch.ones(2000), accumulate=True)
    expected = joint * 2000
    frequent = expected > 5
    wanted = torch.cat([expected[frequent], expected[~frequent].sum()[None]])
    found = torch.cat([counts[frequent], counts[~frequent].sum()[None]])
    chi = float(((found - wanted) ** 2 / wanted).sum())
    cells = wanted.numel() - 1
    assert chi < cells + 5 * (2 * cells) ** 0.5, f"chi-square {chi:.0f} of {cells} cells"


@pytest.mark.parametrize("words", [MANY_WORDS - 1, MANY_WORDS + 1], ids=["few", "many"])
def test_words_are_drawn_as_often_as_they_are_likely(words: int) -> None:
    """Rare ones too, and those without probability never: at the front, between the others and at the end."""
    torch.manual_seed(5)
    likely = torch.rand(words) ** 8
    likely[:3] = likely[500:520] = likely[-2:] = 0.0
    likely /= likely.sum()
    rows = 20_000
    drawn = draw(likely.expand(rows, -1), torch.arange(rows))
    assert drawn.shape == (rows,)
    counts = drawn.bincount(minlength=words)
    assert counts[likely == 0].sum() == 0
    expected = likely * rows
    frequent = expected > 5
    wanted = torch.cat([expected[frequent], expected[~frequent].sum()[None]])
    found = torch.cat([counts[frequent], counts[~frequent].sum()[None]])
    chi, cells = float(((found - wanted) ** 2 / wanted).sum()), wanted.numel() - 1
    assert chi < cells + 5 * (2 * cells) ** 0.5, f"chi-square {chi:.0f} of {cells} cells"


@pytest.mark.parametrize("words", [MANY_WORDS - 1, MANY_WORDS + 1], ids=["few", "many"])
def test_nothing_is_drawn_from_no_numbers(words: int) -> None:
    likely = torch.full((2, words), 1 / words)
    likely[1, 7] = float("nan")
    with pytest.raises(RuntimeError):
        draw(likely, torch.arange(2))


@pytest.mark.parametrize(
    "more",
    [{"num_beams": 2}, {"return_dict_in_generate": True}, {"guidance_scale": 1.5}, {"cache_implementation": "static"}],
)
def test_what_needs_transformers_own_way_is_left_to_it(more: dict[str, Any]) -> None:
    made, told = model("qwen3").eval(), list[Message]()
    with pytest.raises(NotPlain):
        made.generate(**asked(do_sample=False, **more), custom_generate=Decoding(told.append))
    assert told == [], "nothing is wrong with the model"


def test_a_prompt_without_tokens_is_left_to_transformers() -> None:
    ids = torch.tensor([[5, 6, 7], [0, 0, 0]])
    given = {"input_ids": ids, "attention_mask": (ids > 0).long(), "max_new_tokens": 2, "pad_token_id": 0}
    with pytest.raises(NotPlain):
        model("qwen3").eval().generate(**given, do_sample=False, custom_generate=Decoding().with_slots(1))


def test_a_model_that_reads_its_cache_otherwise_is_found_before_it_writes() -> None:
    made, told = model("qwen3").eval(), list[Message]()
    inner = made.forward

    def shifted(*args: Any, position_ids: torch.Tensor | None = None, **kwargs: Any) -> Any:
        if position_ids is not None and position_ids.shape[1] == 1:
            position_ids = position_ids + 1
        return inner(*args, position_ids=position_ids, **kwargs)

    made.forward = shifted
    with pytest.raises(NotPlain):
        made.generate(**asked(do_sample=False), custom_generate=Decoding(told.append))
    assert [message.key for message in told] == ["fast.not_writes"]
