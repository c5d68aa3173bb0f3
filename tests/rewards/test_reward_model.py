"""Reward models against one forward pass a text, without padding."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from trainer.errors import RewardError
from trainer.rewards.library import REWARDS, tiny_bert

PROMPTS = ["What is 2 + 2?", "Name a cat.", "Is it?"]
COMPLETIONS = ["It is 4.\nSurely.", "Tom, the cat that hunts Jerry in all the films", "no"]
CHAT = "{% for m in messages %}<{{ m['role'] }}>{{ m['content'] }}{% endfor %}[SEP]"


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Models this small are slower on several threads, and much slower beside other tests."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def tokenizer_in(folder: Path, **changes: Any) -> Any:
    _, tokenizer = tiny_bert.make()
    for name, value in changes.items():
        setattr(tokenizer, name, value)
    tokenizer.save_pretrained(folder)
    return tokenizer


def saved(folder: Path, family: str, labels: list[str], pad: int | None = 0, **changes: Any) -> tuple[Any, Any]:
    """(model, tokenizer) of a tiny classifier in the folder."""
    import transformers

    tokenizer = tokenizer_in(folder, **changes)
    config = getattr(transformers, f"{family}Config")(
        vocab_size=len(tokenizer),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=128,
        initializer_range=0.2,
        pad_token_id=pad,
        id2label=dict(enumerate(labels)),
        label2id={name: index for index, name in enumerate(labels)},
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        model = getattr(transformers, f"{family}ForSequenceClassification")(config).eval()
    model.save_pretrained(folder)
    return model, tokenizer


def direct(model: Any, tokenizer: Any, text: str, complete: bool = False) -> list[float]:
    ids = tokenizer(text, add_special_tokens=not complete)["input_ids"]
    with torch.no_grad():
        return model(input_ids=torch.tensor([ids])).logits[0].tolist()


def pay(folder: Path, prompts: list[Any], completions: list[Any], **params: Any) -> list[Any]:
    return REWARDS["reward_model"](str(folder), device="cpu", **params)(prompts=prompts, completions=completions)


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize(("family", "pad"), [("Llama", 0), ("Llama", 2), ("Llama", None), ("Bert", 0)])
def test_padding_does_not_change_a_reward(tmp_path: Path, family: str, pad: int | None, side: str) -> None:
    # Pad token 2 is [SEP], with which every text ends: what a decoder reads then is the model's own affair, but it
    # must be the same in a batch and alone.
    model, tokenizer = saved(tmp_path, family, ["reward"], pad, padding_side=side)
    expected = [direct(model, tokenizer, p + c)[0] for p, c in zip(PROMPTS, COMPLETIONS, strict=True)]
    assert pay(tmp_path, PROMPTS, COMPLETIONS) == pytest.approx(expected, abs=1e-5)
    assert max(expected) - min(expected) > 0.01


def test_chat_goes_through_the_template_of_the_reward_model(tmp_path: Path) -> None:
    model, tokenizer = saved(tmp_path, "Llama", ["reward"], chat_template=CHAT)
    prompts = [[{"role": "user", "content": text}] for text in PROMPTS]
    completions = [[{"role": "assistant", "content": text}] for text in COMPLETIONS]
    texts = [f"<user>{p}<assistant>{c}[SEP]" for p, c in zip(PROMPTS, COMPLETIONS, strict=True)]
    expected = [direct(model, tokenizer, text, complete=True)[0] for text in texts]
    assert pay(tmp_path, prompts, completions) == pytest.approx(expected, abs=1e-5)


def test_chat_for_a_model_without_template_is_put_on_lines(tmp_path: Path) -> None:
    model, tokenizer = saved(tmp_path, "Bert", ["reward"])
    prompt = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Hi"}]
    expected = direct(model, tokenizer, "Be kind.\nHi\nHello")
    assert pay(tmp_path, [prompt], ["Hello"]) == pytest.approx(expected, abs=1e-5)


def test_a_label_is_chosen_by_index_or_name(tmp_path: Path) -> None:
    model, tokenizer = saved(tmp_path, "Bert", ["bad", "fair", "good"])
    logits = direct(model, tokenizer, "ab")
    assert pay(tmp_path, ["a"], ["b"], label=0) == pytest.approx([logits[0]], abs=1e-5)
    assert pay(tmp_path, ["a"], ["b"], label="good") == pytest.approx([logits[2]], abs=1e-5)
    softmax = torch.tensor(logits).softmax(dim=0)[2].item()
    assert pay(tmp_path, ["a"], ["b"], label="good", activation="softmax") == pytest.approx([softmax], abs=1e-5)
    sigmoid = torch.tensor(logits[2]).sigmoid().item()
    assert pay(tmp_path, ["a"], ["b"], label="good", activation="sigmoid") == pytest.approx([sigmoid], abs=1e-5)


@pytest.mark.parametrize(
    ("label", "said"),
    [(None, "no label was named; its labels are 0 = bad, 1 = good"), ("nice", "no label 'nice'"), (2, "no label 2")],
)
def test_a_label_must_be_named_where_there_are_several(tmp_path: Path, label: Any, said: str) -> None:
    saved(tmp_path, "Bert", ["bad", "good"])
    with pytest.raises(RewardError, match=said):
        pay(tmp_path, ["a"], ["b"], label=label)


@pytest.mark.parametrize(("family", "room"), [("Bert", 126), ("Roberta", 125), ("Llama", 126)])
def test_a_long_text_loses_its_beginning(tmp_path: Path, family: str, room: int) -> None:
    # Of 128 positions [CLS] and [SEP] take two; RoBERTa with padding id 0 does not use the first.
    model, tokenizer = saved(tmp_path, family, ["reward"])
    short = direct(model, tokenizer, "xxend")
    assert pay(tmp_path, ["x" * 50], ["end"], max_length=7) == pytest.approx(short, abs=1e-5)
    most = direct(model, tokenizer, "x" * (room - 3) + "end")
    assert pay(tmp_path, ["x" * 500], ["end"]) == pytest.approx(most, abs=1e-5)


@pytest.mark.parametrize("family", ["Llama", "Bert"])
def test_a_step_is_worth_what_the_text_up_to_its_end_is(tmp_path: Path, family: str) -> None:
    model, tokenizer = saved(tmp_path, family, ["reward"])
    steps = [["It is 4.\n", "Surely."], ["Tom"], []]
    judge = REWARDS["process_reward_model"](str(tmp_path), device="cpu")
    found = judge(prompts=PROMPTS, completions=["It is 4.\nSurely.", "Tom", ""], steps=steps)
    first = [direct(model, tokenizer, PROMPTS[0] + text)[0] for text in ("It is 4.\n", "It is 4.\nSurely.")]
    assert found[0] == pytest.approx(first, abs=1e-5)
    assert found[1] == pytest.approx(direct(model, tokenizer, PROMPTS[1] + "Tom"), abs=1e-5)
    assert found[2] == []
    assert judge.from_trainer == ("steps",)


def test_random_numbers_of_the_training_are_not_drawn(tmp_path: Path) -> None:
    saved(tmp_path, "Llama", ["reward"])
    before = torch.get_rng_state()
    pay(tmp_path, PROMPTS, COMPLETIONS)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_language_model_without_head_is_refused(tmp_path: Path) -> None:
    from transformers import LlamaConfig, LlamaForCausalLM

    tokenizer = tokenizer_in(tmp_path)
    config = LlamaConfig(vocab_size=len(tokenizer), hidden_size=16, num_hidden_layers=1, num_attention_heads=2)
    before = torch.get_rng_state()
    LlamaForCausalLM(config).save_pretrained(tmp_path)
    torch.set_rng_state(before)
    with pytest.raises(RewardError, match=r"has no score.weight: .* would be random"):
        pay(tmp_path, ["a"], ["b"])
    assert torch.equal(torch.get_rng_state(), before)


def test_a_model_that_is_not_there_is_named_with_a_fix(tmp_path: Path) -> None:
    with pytest.raises(RewardError, match=r"nothing-here: cannot be loaded: .* ->  check the name"):
        pay(tmp_path / "nothing-here", ["a"], ["b"])


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RewardError, match="torch finds no GPU"):
        REWARDS["reward_model"](str(tmp_path), device="cuda")(prompts=["a"], completions=["b"])


@pytest.mark.parametrize("params", [{"activation": "relu"}, {"batch_size": 0}, {"max_length": 0}])
@pytest.mark.parametrize("function", ["reward_model", "process_reward_model"])
def test_params_that_can_not_work_are_refused_when_the_reward_is_made(function: str, params: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        REWARDS[function]("model", **params)
