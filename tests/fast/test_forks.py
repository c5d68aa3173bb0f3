"""Plans and ways on from them: fewer rows and two calls write the same tokens, from the same distribution."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from transformers import GenerationConfig

from tests.fast.pairs import EOS, PROMPTS, model, tokenizer
from trainer.engine.builtin import make_tokenizer
from trainer.fast.decoding import Decoding
from trainer.fast.forks import Forks
from trainer.grpo.plans import Plans
from trainer.grpo.two_calls import in_two_calls

PLANS, WAYS, LONGEST, ALL = 3, 2, 6, 16
ROWS = PLANS * WAYS * len(PROMPTS)
END = "abcd"  # any of the letters of this text ends a plan


def ends(rows: Sequence[Sequence[int]]) -> list[bool]:
    return [any(letter in END for letter in tokenizer().decode(row)) for row in rows]


def forks() -> Forks:
    return Forks(WAYS, LONGEST, ends, 4)


def asked(kind: str = "qwen3", **more: Any) -> dict[str, Any]:
    found = tokenizer()(PROMPTS, padding=True, return_tensors="pt")
    rows = {name: found[name].repeat_interleave(PLANS * WAYS, 0) for name in ("input_ids", "attention_mask")}
    settings: dict[str, Any] = {
        "max_new_tokens": ALL, "pad_token_id": 0, "eos_token_id": [EOS, 7, 9], "top_k": 0, "do_sample": True,
        "temperature": 1.5,
    }  # fmt: skip
    return rows | {"generation_config": GenerationConfig(**settings | more)}


NOISE = torch.empty((ROWS, ALL, 64)).exponential_(1, generator=torch.Generator().manual_seed(4))


def fast(made: Any, given: dict[str, Any], found: Forks, slots: int = ROWS, draw: Any = None) -> torch.Tensor:
    decoding = Decoding(draw=draw) if draw else Decoding()
    decoding._fits = True
    out: torch.Tensor = made.generate(**given, custom_generate=decoding.with_slots(slots, found))
    assert decoding.batches == 1
    return out


def same_noise(monkeypatch: pytest.MonkeyPatch, made: Any, found: Forks, ends: list[int]) -> Callable[..., Any]:
    """transformers' own generate, with the noise of the row and step that are written."""
    first: list[Any] = []

    def going() -> list[int]:
        written, width = first
        last = [written[row // WAYS, width + found.lengths[row] - 1] for row in range(ROWS)]
        return [row for row, token in enumerate(last) if token not in ends]

    def generate(**kwargs: Any) -> Any:
        rows = going() if first else list(range(0, ROWS, WAYS))
        begun = [found.lengths[row] if first else 0 for row in rows]
        assert len(rows) == len(kwargs["input_ids"])
        step = -1

        def multinomial(probabilities: torch.Tensor, num_samples: int) -> torch.Tensor:
            nonlocal step
            step += 1
            # What is behind the longest completion is cut off; its noise does not matter.
            noise = torch.stack(
                [NOISE[row, min(before + step, ALL - 1)] for row, before in zip(rows, begun, strict=True)]
            )
            return (probabilities / noise[:, : probabilities.shape[1]]).argmax(-1, keepdim=True)

        with monkeypatch.context() as patch:
            patch.setattr(torch, "multinomial", multinomial)
            out = made.generate(**kwargs)
        first[:] = first or [out, kwargs["input_ids"].shape[1]]
        return out

    return generate


class Noise:
    """What Decoding draws with: the noise of a row and of how many tokens it has."""

    def __init__(self) -> None:
        self.written = [0] * ROWS

    def __call__(self, probabilities: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        steps = [self.written[row] for row in rows.tolist()]
        for row, step in zip(rows.tolist(), steps, strict=True):
            for each in range(row, row + 1 if row % WAYS else row + WAYS):  # the first row counts for its plan
                self.written[each] = step + 1
        return (probabilities / NOISE[rows, steps][:, : probabilities.shape[1]]).argmax(-1)


def answers(out: torch.Tensor, width: int, ends: list[int]) -> list[list[int]]:
    """As TRL cuts them: up to the first end token."""
    found = []
    for row in out[:, width:].tolist():
        stop = next((place for place, token in enumerate(row) if token in ends), None)
        found.append(row[: stop + 1] if stop is not None else row)
    return found


END_TOKENS = [EOS, 7, 9]


@pytest.mark.parametrize("kind", ["qwen3", "gemma3"])
@pytest.mark.parametrize("slots", [1, 5, ROWS])
def test_both_ways_write_the_same_tokens_with_the_same_noise(
    kind: str, slots: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, given = model(kind).eval(), asked()
    width = given["input_ids"].shape[1]
    slow, quick = forks(), forks()
    theirs = in_two_calls(same_noise(monkeypatch, made, slow, END_TOKENS), given, slow)
    ours = fast(made, given, quick, slots, Noise())
    found = answers(ours, width, END_TOKENS)
    assert found == answers(theirs, width, END_TOKENS)
    assert quick.lengths == slow.lengths and quick.cut == slow.cut
    shared = [found[row][: quick.lengths[row]] for row in range(ROWS)]
    for row in range(0, ROWS, WAYS):
        assert shared[row] == shared[row + 1]
    apart = [found[row] != found[row + 1] for row in range(0, ROWS, WAYS)]
    over = [
        tokens[-1] in END_TOKENS and len(tokens) == length for tokens, length in zip(found, quick.lengths, strict=True)
    ]
    assert any(apart) and any(over) and any(quick.cut), "plans of every kind: ended, with the completion, cut"
    assert not all(quick.cut) and not all(over)
    assert not any(one and two for one, two in zip(apart, over[::WAYS], strict=True)), (
        "nothing follows the end of a completion"
    )
    assert max(map(len, found)) == ALL


@pytest.mark.parametrize("pieces", [1, 3])
def test_a_plan_is_what_one_completion_would_begin_with(pieces: int) -> None:
    """Greedy, all ways on are one: that of a plain completion."""
    made, given = model("qwen3").eval(), asked(do_sample=False, temperature=1.0, repetition_penalty=1.3)
    plain, found = made.generate(**given), forks()
    width = given["input_ids"].shape[1]
    wanted = answers(plain, width, END_TOKENS)
    assert answers(fast(made, given, found, -(-ROWS // pieces)), width, END_TOKENS) == wanted
    assert answers(in_two_calls(made.generate, given, forks()), width, END_TOKENS) == wanted
    assert len(set(found.lengths)) > 1


def test_neither_prompt_nor_plan_is_read_twice_and_places_are_kept_for_what_follows() -> None:
    made, given, found = model("qwen3").eval(), asked(), forks()
    shapes: list[torch.Size] = []
    made.register_forward_pre_hook(
        lambda module, args, kwargs: shapes.append(kwargs["input_ids"].shape), with_kwargs=True
    )
    torch.manual_seed(2)
    width = given["input_ids"].shape[1]
    out = answers(fast(made, given, found), width, END_TOKENS)
    plans = range(0, ROWS, WAYS)
    ended = {row for row in plans if len(out[row]) == found.lengths[row] and out[row][-1] in END_TOKENS}
    # The last token of a completion is not read.
    read = sum(found.lengths[row] - (row in ended) for row in plans)
    read += sum(len(out[row]) - found.lengths[row] - 1 for row in range(ROWS) if row // WAYS * WAYS not in ended)
    assert shapes[0] == (len(PROMPTS), width) and sum(shape.numel() for shape in shapes[1:]) == read
    shapes.clear()
    fast(made, given, forks(), slots=4)
    assert max(shape[0] for shape in shapes) <= 4


def test_samples_have_the_models_distribution() -> None:
    """Twice 2,000 first two tokens, the first a plan, against the model's own probabilities: chi-square."""
    made = model("qwen3").eval()
    for weight in made.parameters():
        weight.data.mul_(0.5)
    ids = torch.tensor([[4, 9, 17]])
    count = 4000
    config = GenerationConfig(max_new_tokens=2, do_sample=True, top_k=0, pad_token_id=0, eos_token_id=60)
    given = {"input_ids": ids.repeat(count, 1), "attention_mask": torch.ones(count, 3, dtype=torch.long)}
    with torch.no_grad():
        first = made(input_ids=ids).logits[0, -1].softmax(-1)
        pairs = torch.cat([ids.repeat(first.numel(), 1), torch.arange(first.numel())[:, None]], 1)
        joint = first[:, None] * made(input_ids=pairs).logits[:, -1].softmax(-1)
    for way in ("fast", "two calls"):
        torch.manual_seed(3)
        forked = Forks(2, 1, lambda rows: [False] * len(rows), 4)
        given["generation_config"] = config
        out = fast(made, given, forked) if way == "fast" else in_two_calls(made.generate, given, forked)
        assert forked.lengths == [1] * count and all(forked.cut)
        assert torch.equal(out[::2, 3], out[1::2, 3]) and not torch.equal(out[::2, 4], out[1::2, 4])
        for rows in (out[::2], out[1::2]):  # of each plan one way on: independent samples
            counts = torch.zeros_like(joint)
            counts.index_put_((rows[:, 3], rows[:, 4]), torch.ones(len(rows)), accumulate=True)
            expected = joint * len(rows)
            frequent = expected > 5
            wanted = torch.cat([expected[frequent], expected[~frequent].sum()[None]])
            seen = torch.cat([counts[frequent], counts[~frequent].sum()[None]])
            chi, cells = float(((seen - wanted) ** 2 / wanted).sum()), wanted.numel() - 1
            assert chi < cells + 5 * (2 * cells) ** 0.5, f"{way}: chi-square {chi:.0f} of {cells} cells"


def test_plans_that_another_bound_has_ended_are_cut() -> None:
    made, given, found = model("qwen3").eval(), asked(max_time=1e-9), forks()
    out = in_two_calls(made.generate, given, found)
    assert set(found.lengths) == {1} and any(found.cut)
    written = out[:, given["input_ids"].shape[1] :]
    assert torch.equal(written[::WAYS, 0], written[1::WAYS, 0]) and not written[:, 2:].any()


def test_rows_that_are_no_whole_plans_are_refused() -> None:
    with pytest.raises(ValueError, match="5 rows are no whole plans of 2"):
        forks().begin(5)


def test_the_end_of_a_plan_is_found_in_tokens_that_hold_it_together() -> None:
    made = make_tokenizer()
    plans = Plans(2, 2, 30, "</plan>", made)
    rows = made(text=["<plan>x</plan>", "x</plan", "<answer></plan>?", "</answer>"], add_special_tokens=False)
    assert plans.forks.ends(rows["input_ids"]) == [True, False, True, False]
    assert plans.forks.window >= len("</plan>")
