"""trainer.grpo.supervision: steps meet tokens, and TRL's loss takes an advantage for every token."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from tests.builders import STEPS, Recorder, tiny_model, tiny_trainer
from trainer.grpo import supervision
from trainer.rewards.steps import advantages_of_steps, normalised, split
from trainer.run.rollouts import Batch, Step, groups
from trainer.spec import Component

KOREAN = "먼저 12를 더한다 😀\n다음은 7을 뺀다 🧮🧮\n답은 5입니다."


def byte_level(vocabulary: int) -> Any:
    """A byte-level BPE trained on the text above; with few merges most characters are several tokens."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=vocabulary, initial_alphabet=alphabet, special_tokens=["<end>", "<think>"])
    tokenizer.train_from_iterator([KOREAN] * 4, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<end>", pad_token="<end>")


def byte_fallback() -> Any:
    """As SentencePiece models: words begin with a lower one eighth block, unknown characters are bytes."""
    words = ["\u2581a", "\u2581b", "a", "b", "\n", *(f"<0x{byte:02X}>" for byte in range(256))]
    tokenizer = Tokenizer(
        models.BPE(vocab={word: place for place, word in enumerate(words)}, merges=[], byte_fallback=True)
    )
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer)


@pytest.mark.parametrize("vocabulary", [258, 300, 400])
@pytest.mark.parametrize("rule", ["line", r"[.\s]", "."])
def test_a_step_ends_with_the_token_that_holds_its_last_character(vocabulary: int, rule: str) -> None:
    tokenizer = byte_level(vocabulary)
    ids = [*tokenizer.encode(KOREAN), tokenizer.eos_token_id]
    assert tokenizer.decode(ids, skip_special_tokens=True) == KOREAN
    steps = split(KOREAN, rule)
    ends = supervision.token_ends(ids, tokenizer, steps)
    assert ends[-1] == len(ids)
    for place, end in enumerate(ends):
        text = "".join(steps[: place + 1])
        assert tokenizer.decode(ids[:end], skip_special_tokens=True).startswith(text)
        if place < len(steps) - 1:  # one token less, and the step is not whole
            assert not tokenizer.decode(ids[: end - 1], skip_special_tokens=True).startswith(text)


@pytest.mark.parametrize(
    ("tokens", "steps", "ends"),
    [
        (["1", ".\n2", "3"], ["1.\n", "23"], [2, 3]),  # a token over the end of a step belongs to that step
        (["1", ".\n2.\n", "3"], ["1.\n", "2.\n", "3"], [2, 2, 3]),  # and to the first one that ends in it
        (["1\n", "2"], ["1\n", "2"], [1, 2]),
        (["<think>", "1\n", "<think>", "2", "<end>", "<end>"], ["1\n", "2"], [2, 6]),  # no text: to what follows
        (["<end>"], [""], [1]),
    ],
)
def test_ends_of_steps_worked_out_by_hand(tokens: list[str], steps: list[str], ends: list[int]) -> None:
    tokenizer = Tokenizer(models.WordLevel({token: place for place, token in enumerate(dict.fromkeys(tokens))}))
    tokenizer.decoder = decoders.Fuse()
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, extra_special_tokens=["<think>", "<end>"])
    assert supervision.token_ends(fast.convert_tokens_to_ids(tokens), fast, steps) == ends


def test_text_that_a_response_parser_left_out_belongs_to_the_nearest_step() -> None:
    tokenizer = byte_level(300)
    ids = tokenizer.encode("ab1\n2\n cd")
    assert supervision.token_ends(ids, tokenizer, ["1\n", "2"]) == [4, len(ids)]


def test_bytes_that_are_no_character_leave_the_steps_after_them_in_place() -> None:
    tokenizer = byte_level(258)
    broken = [tokenizer.encode("각")[0]] * 50  # the first byte of a character, again and again
    ids = [*tokenizer.encode("가\n"), *broken, *tokenizer.encode("\n나\n"), *broken[:3], *tokenizer.encode("\n끝")]
    text = tokenizer.decode(ids)
    ends = supervision.token_ends(ids, tokenizer, split(text, "line"))
    assert ends == [4, 4 + 51, 4 + 51 + 4, 4 + 51 + 4 + 4, len(ids)]


def test_a_decoder_that_strips_the_first_space_and_falls_back_to_bytes() -> None:
    tokenizer = byte_fallback()
    tokens = ["\u2581a", "\u2581b", "\n", "<0xEA>", "<0xB0>", "<0x80>", "\n", "\u2581a", "b"]
    ids = tokenizer.convert_tokens_to_ids(tokens)
    text = tokenizer.decode(ids)
    assert text == "a b\n가\n ab"
    assert supervision.token_ends(ids, tokenizer, split(text, "line")) == [3, 7, 9]


def test_the_embedded_tokenizer_has_a_token_a_character() -> None:
    _, tokenizer = tiny_model()
    ids = tokenizer.encode("1+1\n2\n", add_special_tokens=False)
    assert supervision.token_ends([*ids, tokenizer.eos_token_id], tokenizer, ["1+1\n", "2\n"]) == [4, 7]


def test_tokens_have_the_advantage_of_their_step_and_padding_none() -> None:
    rows = [[Step(1, 1, 0.0, -1.0), Step(4, 3, 1.0, 2.0)], [Step(2, 2, 1.0, 0.5)]]
    mask = torch.tensor([[1, 1, 1, 0], [1, 1, 0, 0]])
    assert supervision.advantages(rows, mask).tolist() == [[-1.0, 2.0, 2.0, 0.0], [0.5, 0.5, 0.0, 0.0]]


def test_steps_that_end_in_one_token_are_one_to_the_loss() -> None:
    rows = [[Step(1, 2, 0.0, -1.0), Step(2, 2, 1.0, 2.0), Step(3, 3, 1.0, 3.0)]]
    assert supervision.advantages(rows, torch.ones(1, 3)).tolist() == [[-1.0, -1.0, 3.0]]


# ---- TRL's loss

LOSSES = ("grpo", "bnpo", "dr_grpo", "dapo", "cispo", "sapo", "luspo", "vespo")


@pytest.fixture(scope="module")
def ready(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, dict[str, Any]]:
    """A stock trainer under ours and a scored generation batch of unlike lengths, off-policy."""
    trainer, _ = tiny_trainer(tmp_path_factory.mktemp("ready"), epsilon_high=0.28, steps_per_generation=2)
    trainer.current_gradient_accumulation_steps = 1
    trainer.model.train()
    torch.manual_seed(0)
    batch = [row for row in list(trainer.train_dataset)[:4] for _ in range(4)]
    inputs = trainer._generate_and_score_completions(batch)
    sampled = inputs["old_per_token_logps"]
    trainer.beta = 0.1
    inputs["ref_per_token_logps"] = sampled + torch.randn(sampled.shape)
    inputs["old_per_token_logps"] = sampled + 0.5 * torch.randn(sampled.shape)
    assert inputs["advantages"].any()
    assert len(set(inputs["completion_mask"].sum(dim=1).tolist())) > 1
    return trainer, inputs


def loss_and_gradient(trainer: Any, inputs: dict[str, Any], advantages: torch.Tensor) -> tuple[float, torch.Tensor]:
    trainer.model.zero_grad()
    loss = trainer.compute_loss(trainer.model, inputs | {"advantages": advantages})
    loss.backward()
    return float(loss.detach()), torch.cat([value.grad.flatten() for value in trainer.model.parameters()])


def changed(monkeypatch: pytest.MonkeyPatch, trainer: Any, **settings: Any) -> None:
    for name, value in settings.items():
        monkeypatch.setattr(trainer, name, value)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize(
    "settings",
    [{}, {"importance_sampling_level": "sequence"}, {"off_policy_mask_threshold": 0.01}, {"top_entropy_quantile": 0.5}],
    ids=str,
)
def test_one_advantage_for_all_tokens_gives_the_loss_of_one_a_completion(
    monkeypatch: pytest.MonkeyPatch, ready: Any, loss: str, settings: dict[str, Any]
) -> None:
    trainer, inputs = ready
    changed(monkeypatch, trainer, loss_type=loss, **settings)
    plain, gradient = loss_and_gradient(trainer, inputs, inputs["advantages"])
    wide = inputs["advantages"].unsqueeze(1).expand_as(inputs["completion_mask"])
    expanded, same = loss_and_gradient(trainer, inputs, wide)
    assert expanded == pytest.approx(plain, rel=1e-6)
    torch.testing.assert_close(same, gradient, rtol=1e-5, atol=1e-6)
    assert gradient.abs().max() > 0


def of_each_token(inputs: dict[str, Any]) -> torch.Tensor:
    return torch.randn(inputs["completion_mask"].shape, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(
    ("level", "loss", "told_apart"),
    [
        *[("token", loss, True) for loss in LOSSES],
        *[("sequence", loss, loss in ("cispo", "vespo")) for loss in LOSSES if loss != "sapo"],
    ],
)
def test_where_tokens_of_one_completion_are_told_apart(
    monkeypatch: pytest.MonkeyPatch, ready: Any, level: str, loss: str, told_apart: bool
) -> None:
    """With one ratio a completion the gradient is that of the mean advantage, except where log-probabilities carry it:
    the steps would be judged in vain, so the spec refuses it. (sapo and vespo take the advantage's sign: no mean.)
    """
    trainer, inputs = ready
    changed(monkeypatch, trainer, loss_type=loss, importance_sampling_level=level, beta=0.0)
    inputs = {name: value for name, value in inputs.items() if name != "old_per_token_logps"}  # on-policy: no clip
    mask, wide = inputs["completion_mask"], of_each_token(inputs)
    _, gradient = loss_and_gradient(trainer, inputs, wide)
    mean = (wide * mask).sum(dim=1) / mask.sum(dim=1)
    _, of_mean = loss_and_gradient(trainer, inputs, mean)
    assert torch.allclose(gradient, of_mean, rtol=1e-3, atol=1e-6) is not told_apart


# ---- runs


def trained(folder: Path, **settings: Any) -> tuple[Any, Recorder]:
    trainer, recorder = tiny_trainer(
        folder, temperature=1.5, gradient_accumulation_steps=2, **{"reward": STEPS} | settings
    )
    trainer.train()
    return trainer, recorder


@pytest.fixture(scope="module")
def by_steps(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Recorder]:
    return trained(tmp_path_factory.mktemp("by_steps"))


def checked_groups(batch: Batch) -> list[dict[str, Any]]:
    return groups(batch, num_generations=4)


def test_rollouts_hold_each_step(by_steps: Any) -> None:
    for _, batch in by_steps[1].batches:
        assert any(len(steps) > 1 for steps in batch.steps)
        for group in checked_groups(batch):
            lines = group["completions"]
            rewards = normalised([[step["reward"] for step in line["steps"]] for line in lines], 4, "group")
            for line, wanted in zip(lines, advantages_of_steps(rewards), strict=True):
                steps = line["steps"]
                assert [step["advantage"] for step in steps] == pytest.approx(wanted)
                assert sum(step["reward"] for step in steps) == pytest.approx(line["reward"])
                ends = [0, *(step["text_end"] for step in steps)]
                assert [line["text"][a:b] for a, b in pairwise(ends)] == split(line["text"], STEPS.step_split)
                assert steps[-1]["tokens"] == line["tokens"]
                tokens = [b - a for a, b in pairwise([0, *(step["tokens"] for step in steps)])]
                mean = sum(n * step["advantage"] for n, step in zip(tokens, steps, strict=True)) / line["tokens"]
                assert line["advantage"] == pytest.approx(mean, abs=1e-5)
                assert "failed" not in line


def test_a_group_taught_something_when_its_steps_had_spread(by_steps: Any) -> None:
    lines = [group for _, batch in by_steps[1].batches for group in checked_groups(batch)]
    for group in lines:
        taught = any(step["advantage"] for line in group["completions"] for step in line["steps"])
        assert (group["outcome"] == "spread") == taught
    assert any(group["outcome"] == "spread" for group in lines)


def test_steps_move_other_weights_than_their_sum(tmp_path: Path, by_steps: Any) -> None:
    whole = STEPS.model_copy(update={"supervision": "outcome", "components": [_summed(tmp_path)]})
    outcome, recorder = trained(tmp_path, reward=whole)
    first, other = by_steps[1].batches[0][1], recorder.batches[0][1]
    assert first.completions == other.completions
    assert first.rewards == pytest.approx(other.rewards)  # the same totals
    assert other.steps == [] or other.steps == ()
    one, two = by_steps[0].model.state_dict(), outcome.model.state_dict()
    assert not torch.equal(one["lm_head.weight"], two["lm_head.weight"])


def _summed(folder: Path) -> Any:
    """The reward of the steps as a reward of the whole completion: how many letters are capital."""
    file = folder / "mine.py"
    file.write_text(
        "def capital(completions, **columns):\n"
        "    return [sum('A' <= letter <= 'Z' for letter in each[-1]['content']) for each in completions]\n"
    )
    return Component(function="capital", name="capital", file=str(file))


def test_scale_rewards_is_followed_in_a_batch_that_is_used_twice(tmp_path: Path) -> None:
    _, recorder = trained(
        tmp_path, scale_rewards="batch", steps_per_generation=4, mask_truncated_completions=True, max_steps=2
    )
    ((_, batch),) = recorder.batches
    rewards = normalised([[step.reward for step in row] for row in batch.steps], 4, "batch")
    found = [step.advantage for row in batch.steps for step in row]
    assert found == pytest.approx([value for row in advantages_of_steps(rewards) for value in row])
    assert [logs["grad_norm"] > 0 for _, logs, _ in recorder.steps] == [True, True]
