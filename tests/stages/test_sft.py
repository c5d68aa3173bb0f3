"""Supervised fine-tuning against its formula, and its tokens against those that GRPO has."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.builders import HALF, tiny_model, tiny_trainer
from tests.stages.made import log_probs, spec_of, supervised_trainer
from trainer.data.dataset import prompt_ids
from trainer.errors import DataError
from trainer.evaluate.answering import ends_of
from trainer.spec import Component, Generation, Reward, Sft
from trainer.stages.examples import IGNORE, Example, golds
from trainer.stages.tokens import completion_ids

# Rows of unequal length: four examples make one step, whatever the micro-batch.
EXAMPLES = [
    Example([5, 6, 7], [20, 21, 22, 23, 24, 1]),
    Example([8, 9, 10, 11, 12, 13], [25, 1]),
    Example([14], [26, 27, 28, 1]),
    Example([15, 16, 17, 18], [29, 1]),
]


def mean_nll(model: Any, examples: list[Example]) -> torch.Tensor:
    """-1 / sum |o| * sum over completions and their tokens of log p, as docs/methods.md has it."""
    logs = [log_probs(model, one.prompt, one.completion) for one in examples]
    return -torch.cat(logs).mean()


@pytest.mark.parametrize("accumulation", [1, 2, 4])
def test_loss_and_gradient_are_the_mean_over_all_completion_tokens_of_a_step(accumulation: int, tmp_path: Path) -> None:
    trainer, recorder, gradients = supervised_trainer(
        tmp_path,
        spec_of("sft"),
        EXAMPLES,
        per_device_train_batch_size=4 // accumulation,
        gradient_accumulation_steps=accumulation,
    )
    model, _ = tiny_model()
    loss = mean_nll(model, EXAMPLES)
    loss.backward()
    trainer.train()
    ((_, logs, _),) = recorder.steps
    assert logs["loss"] == pytest.approx(loss.item(), rel=1e-4)
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(gradients.steps[0][name], parameter.grad, atol=2e-6, rtol=1e-4)


def test_the_last_step_of_an_epoch_divides_by_the_tokens_it_has(tmp_path: Path) -> None:
    """Three examples in micro-batches of two, two of them a step: the second micro-batch holds one row."""
    trainer, recorder, _ = supervised_trainer(
        tmp_path, spec_of("sft"), EXAMPLES[:3], per_device_train_batch_size=2, gradient_accumulation_steps=2
    )
    loss = mean_nll(tiny_model()[0], EXAMPLES[:3]).item()
    trainer.train()
    assert recorder.steps[0][1]["loss"] == pytest.approx(loss, rel=1e-4)


def test_prompt_tokens_have_no_loss() -> None:
    row = Example([5, 6, 7], [20, 1]).row()
    assert row == {"input_ids": [5, 6, 7, 20, 1], "labels": [IGNORE, IGNORE, IGNORE, 20, 1]}


def test_the_tokens_are_those_that_grpo_trains_on(tmp_path: Path) -> None:
    """Prompt and answer of a batch of GRPO, whose texts are then taught."""
    trainer, recorder = tiny_trainer(tmp_path, reward=HALF, max_steps=1, max_completion_length=6)
    seen: list[dict[str, Any]] = []
    compute = trainer.compute_loss

    def watched(model: Any, inputs: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        seen.append(inputs)
        return compute(model, inputs, *args, **kwargs)

    trainer.compute_loss = watched
    trainer.train()
    tokenizer, ends = trainer.processing_class, ends_of(trainer.model, trainer.processing_class)
    ((_, batch),) = recorder.batches
    asked = {str(prompt_ids(prompt, tokenizer)) for prompt in batch.prompts}
    inputs = seen[0]
    trained = [ids[mask.bool()].tolist() for ids, mask in zip(inputs["prompt_ids"], inputs["prompt_mask"], strict=True)]
    assert {str(ids) for ids in trained} == asked
    written = [
        ids[mask.bool()].tolist() for ids, mask in zip(inputs["completion_ids"], inputs["completion_mask"], strict=True)
    ]
    whole = [ids for ids in written if ids[-1] in ends and tokenizer.decode(ids[:-1]).strip()]
    for ids in whole:
        text = tokenizer.decode(ids[:-1])
        if tokenizer(text=text, add_special_tokens=False)["input_ids"] == ids[:-1]:
            assert completion_ids(tokenizer, batch.prompts[0], text, ends) == ids


class TestTokens:
    """completion_ids, template by template."""

    prompt = [{"role": "user", "content": "abc"}]  # noqa: RUF012

    def ids(self, template: str | None, prompt: Any = None) -> tuple[list[int], Any]:
        model, tokenizer = tiny_model()
        if template is not None:
            tokenizer.chat_template = template
        return completion_ids(tokenizer, prompt or self.prompt, "cba", ends_of(model, tokenizer)), tokenizer

    def test_a_template_that_writes_the_end_has_it_once(self) -> None:
        ids, tokenizer = self.ids(None)
        assert tokenizer.decode(ids) == f"cba{tokenizer.eos_token}"

    def test_what_the_template_writes_after_the_end_is_not_taught(self) -> None:
        ids, tokenizer = self.ids(
            "{% for m in messages %}{{ m.role }}:{{ m.content }}{{ eos_token }}\n{% endfor %}"
            "{% if add_generation_prompt %}assistant:{% endif %}"
        )
        assert tokenizer.decode(ids) == f"cba{tokenizer.eos_token}"

    def test_a_template_without_an_end_gets_one(self) -> None:
        ids, tokenizer = self.ids(
            "{% for m in messages %}{{ m.role }}:{{ m.content }} {% endfor %}"
            "{% if add_generation_prompt %}assistant:{% endif %}"
        )
        assert tokenizer.decode(ids) == f"cba{tokenizer.eos_token}"

    def test_a_prompt_that_is_written_otherwise_once_it_is_answered(self) -> None:
        """As with an empty thought: what is taught must follow the prompt that is asked, not the one of a history."""
        ids, tokenizer = self.ids(
            "{% for m in messages %}{{ m.role }}:{{ m.content }}{{ eos_token }}{% endfor %}"
            "{% if add_generation_prompt %}assistant:(no thought){% endif %}"
        )
        assert tokenizer.decode(ids) == f"cba{tokenizer.eos_token}"

    def test_plain_text(self) -> None:
        ids, tokenizer = self.ids(None, "Reverse: abc\n")
        assert tokenizer.decode(ids) == f"cba{tokenizer.eos_token}"
        assert prompt_ids("Reverse: abc\n", tokenizer) == tokenizer("Reverse: abc\n")["input_ids"]


class TestGolds:
    """Examples from rows."""

    def of(self, rows: list[dict[str, Any]], template: str | None = None, longest: int = 8) -> list[str]:
        model, tokenizer = tiny_model()
        spec = spec_of(
            "sft",
            sft=Sft(completion_template=template),
            generation=Generation(max_completion_length=longest),
            reward=Reward(components=[Component(function="exact_match")], gold_template="<{answer}>"),
        )
        found = golds(rows, tokenizer, spec, ends_of(model, tokenizer))
        return [tokenizer.decode(one.completion[:-1]) for one in found]

    def test_the_gold_template_is_what_is_taught_where_no_other_is_given(self) -> None:
        assert self.of([{"prompt": "p", "answer": "ab"}]) == ["<ab>"]
        assert self.of([{"prompt": "p", "answer": "ab"}], "={answer}") == ["=ab"]

    def test_a_row_without_an_answer_or_with_one_too_long_is_left_out(self) -> None:
        rows = [{"prompt": "p", "answer": text} for text in ("ab", None, "abcdefghijkl")]
        assert self.of(rows) == ["<ab>"]

    def test_one_that_just_fits_is_kept_with_its_end(self) -> None:
        assert self.of([{"prompt": "p", "answer": "abcde"}], longest=8) == ["<abcde>"]
        with pytest.raises(DataError, match="no row has a gold answer"):
            self.of([{"prompt": "p", "answer": "abcdef"}], longest=8)
