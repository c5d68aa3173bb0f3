"""Reward models against their formulas, what they learn from, and what is measured of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig

from tests.builders import tiny_model
from tests.stages.made import spec_of, supervised_trainer
from trainer.errors import DataError, EngineError
from trainer.rewards.library.reward_model import READS, Classifier
from trainer.spec import Lora, RewardModel
from trainer.stages.examples import Comparison, Judged, judgements
from trainer.stages.judges import HEAD, adapter_of, judge_of
from trainer.stages.ordering import Order, order, scores, spearman
from trainer.stages.samples import Sample, Sampled

COMPARISONS = [
    Comparison([5, 6, 7, 20, 21, 22, 1], [5, 6, 7, 23, 1]),
    Comparison([8, 24, 1], [8, 25, 26, 27, 28, 29, 1]),
    Comparison([9, 10, 30, 31, 1], [9, 10, 32, 33, 34]),
    Comparison([11, 12, 13, 14, 35, 1], [11, 12, 13, 14, 36, 1]),
]
JUDGED = [
    Judged([5, 6, 20, 21, 1], 1.0),
    Judged([5, 6, 22, 1], 0.0),
    Judged([7, 23], -0.5),
    Judged([8, 9, 24, 1], 0.25),
]


def score(judge: Any, ids: list[int]) -> torch.Tensor:
    """A number, of one text without padding: the head on the last token of the inner model, said by hand."""
    hidden = judge.base_model(input_ids=torch.tensor([ids])).last_hidden_state[0, -1]
    return hidden @ getattr(judge, HEAD).weight[0]


def pairwise_loss(judge: Any) -> torch.Tensor:
    """arXiv 2203.02155, equation 1, with K = 2: the mean of -log sigmoid(r(better) - r(worse))."""
    terms = [
        -torch.nn.functional.logsigmoid(score(judge, one.chosen) - score(judge, one.rejected)) for one in COMPARISONS
    ]
    return torch.stack(terms).mean()


def pointwise_loss(judge: Any) -> torch.Tensor:
    return torch.stack([(score(judge, one.ids) - one.reward) ** 2 for one in JUDGED]).mean()


OBJECTIVES: dict[str, Any] = {"pairwise": (COMPARISONS, pairwise_loss), "pointwise": (JUDGED, pointwise_loss)}


def a_judge(objective: Any = "pairwise", **sections: Any) -> Any:
    spec = spec_of("reward_model", reward_model=RewardModel(objective=objective), **sections)
    return judge_of(tiny_model()[0], spec), spec


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("accumulation", [1, 2])
def test_loss_and_gradient_one_text_at_a_time(objective: str, accumulation: int, tmp_path: Path) -> None:
    examples, formula = OBJECTIVES[objective]
    judge, spec = a_judge(objective, lora=Lora(enabled=False))
    trainer, recorder, gradients = supervised_trainer(
        tmp_path,
        spec,
        examples,
        model=judge,
        per_device_train_batch_size=4 // accumulation,
        gradient_accumulation_steps=accumulation,
    )
    other, _ = a_judge(objective, lora=Lora(enabled=False))
    loss = formula(other)
    loss.backward()
    trainer.train()
    ((_, logs, _),) = recorder.steps
    assert logs["loss"] == pytest.approx(loss.item(), rel=1e-4)
    assert gradients.steps[0].keys() == {name for name, each in other.named_parameters() if each.grad is not None}
    for name, parameter in other.named_parameters():
        torch.testing.assert_close(gradients.steps[0][name], parameter.grad, atol=5e-6, rtol=1e-3)
    texts = [ids for one in COMPARISONS for ids in one] if objective == "pairwise" else [one.ids for one in JUDGED]
    assert logs["num_tokens"] == sum(map(len, texts))


def test_with_an_adapter_the_head_is_trained_whole(tmp_path: Path) -> None:
    judge, spec = a_judge(lora=Lora(enabled=True))
    config = adapter_of(LoraConfig(r=4, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM"), None)
    trainer, recorder, gradients = supervised_trainer(
        tmp_path, spec, COMPARISONS, model=judge, peft_config=config, per_device_train_batch_size=4
    )
    other, _ = a_judge()
    loss = pairwise_loss(other)
    loss.backward()
    trainer.train()
    assert recorder.steps[0][1]["loss"] == pytest.approx(loss.item(), rel=1e-4)
    heads = [name for name in gradients.steps[0] if HEAD in name]
    assert len(heads) == 1
    torch.testing.assert_close(gradients.steps[0][heads[0]], getattr(other, HEAD).weight.grad, atol=5e-6, rtol=1e-3)
    assert all("lora_" in name for name in gradients.steps[0] if HEAD not in name)


def test_the_judge_shares_the_inner_model_and_its_head_follows_from_the_seed() -> None:
    writer, _ = tiny_model()
    spec = spec_of("reward_model")
    one, same = judge_of(writer, spec), judge_of(writer, spec)
    assert one.base_model is writer.base_model
    assert torch.equal(one.score.weight, same.score.weight)
    run = spec.run.model_copy(update={"seed": 1})
    assert not torch.equal(one.score.weight, judge_of(writer, spec.model_copy(update={"run": run})).score.weight)
    assert not any(each.is_meta for each in one.parameters())
    assert not any(each.is_meta for each in one.buffers())
    assert writer.config.num_labels == 2  # its own is as it was


def test_a_model_without_a_classifier_is_refused() -> None:
    from transformers import Lfm2Config, Lfm2ForCausalLM

    with torch.device("meta"):
        writer = Lfm2ForCausalLM(Lfm2Config(num_hidden_layers=1, layer_types=["conv"]))
    with pytest.raises(EngineError) as caught:
        judge_of(writer, spec_of("reward_model"))
    assert caught.value.problems[0].key == "stages.no_judge"


# ---- what it learns from


def sampled(*completions: tuple[str, float | None] | tuple[str, float | None, bool]) -> Sampled:
    made = [
        Sample(text, list(map(ord, text)), reward, None, ended[0] if ended else True)
        for text, reward, *ended in completions
    ]
    return Sampled([1], made)


def test_pairs_are_those_of_dpo_but_a_cut_completion_may_be_the_better_one() -> None:
    spec = spec_of("reward_model", reward_model=RewardModel(per_prompt=2))
    row = sampled(("a", 1.0, False), ("b", 0.75), ("c", 0.25), ("d", 0.0), ("e", None))
    assert judgements([row], spec) == [Comparison([1, 97], [1, 100]), Comparison([1, 98], [1, 99])]
    least = spec_of("reward_model", reward_model=RewardModel(per_prompt=2, min_difference=0.5))
    assert judgements([row], least) == [Comparison([1, 97], [1, 100])]


def test_pointwise_takes_every_judged_completion_once() -> None:
    spec = spec_of("reward_model", reward_model=RewardModel(objective="pointwise"))
    row = sampled(("a", 1.0), ("a", 1.0), ("b", None), ("c", 0.25))
    assert judgements([row], spec) == [Judged([1, 97], 1.0), Judged([1, 99], 0.25)]


@pytest.mark.parametrize(
    ("objective", "row", "key"),
    [
        ("pairwise", sampled(("a", 1.0), ("b", 1.0)), "stages.no_pairs"),
        ("pairwise", sampled(("a", None), ("b", None)), "stages.no_pairs"),
        ("pointwise", sampled(("a", 1.0), ("b", 1.0)), "stages.one_reward"),
        ("pointwise", sampled(("a", None), ("b", None)), "stages.one_reward"),
    ],
)
def test_where_there_is_nothing_to_learn_it_is_said(objective: Any, row: Sampled, key: str) -> None:
    with pytest.raises(DataError) as caught:
        judgements([row], spec_of("reward_model", reward_model=RewardModel(objective=objective)))
    assert caught.value.problems[0].key == key


# ---- what is measured


def test_order_by_hand() -> None:
    rewards = [[1.0, 0.0, 0.5], [0.0, 0.0], [1.0, 0.0]]
    said = [[3.0, 1.0, 0.5], [1.0, 2.0], [0.2, 0.2]]
    # Row 1: 1.0 above 0.0 right, above 0.5 right, 0.5 above 0.0 wrong. Row 2: no pair. Row 3: equal scores, half.
    found = order(rewards, said)
    assert found.ordered == pytest.approx(2.5 / 4) and found.pairs == 4
    assert order(rewards, said, least=0.5).pairs == 2
    assert order([[1.0]], [[0.0]]) == Order(None, None, 0)


def test_spearman_by_hand() -> None:
    assert spearman([1, 2, 3, 4], [10, 20, 30, 25]) == pytest.approx(0.8)  # 1 - 6 * 2 / (4 * 15)
    assert spearman([1, 1, 2], [3, 3, 9]) == pytest.approx(1.0)  # equal values share a rank
    assert spearman([1, 2], [5, 5]) is None


def test_scores_are_those_of_one_text_at_a_time_and_draw_nothing() -> None:
    judge, _ = a_judge()
    texts = [[5, 6, 7, 20], [8], [9, 10, 30, 31, 32, 33], [4, 4]]
    before = torch.random.get_rng_state()
    found = scores(judge, texts, pad=0, batch_size=3)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert found == pytest.approx([float(score(judge, ids).detach()) for ids in texts], abs=1e-5)


# ---- what the library reads


@pytest.mark.parametrize("chat", [True, False], ids=["chat", "text"])
@pytest.mark.parametrize("adapted", [False, True], ids=["whole", "adapter"])
def test_the_library_reads_the_tokens_that_were_trained_on(chat: bool, adapted: bool, tmp_path: Path) -> None:
    """The score of a saved one, by the library, is the training model's own on the very tokens."""

    writer, tokenizer = tiny_model()
    writer.save_pretrained(tmp_path / "base")
    tokenizer.save_pretrained(tmp_path / "base")
    writer = type(writer).from_pretrained(tmp_path / "base")
    judge = judge_of(writer, spec_of("reward_model"))
    judge.config.pad_token_id = tokenizer.pad_token_id
    if adapted:
        from peft import get_peft_model

        torch.manual_seed(1)
        lora = LoraConfig(r=4, target_modules=["q_proj"], task_type="CAUSAL_LM", init_lora_weights=False)
        judge = get_peft_model(judge, adapter_of(lora, "of this commit"))
    folder = tmp_path / "judge"
    judge.save_pretrained(folder)
    if adapted:
        assert json.loads((folder / "adapter_config.json").read_text())["revision"] == "of this commit"
    tokenizer.save_pretrained(folder)
    prompt: Any = [{"role": "user", "content": "Reverse: abc"}] if chat else "Reverse: abc"
    asked = (
        tokenizer.apply_chat_template(prompt, add_generation_prompt=True, return_dict=True)["input_ids"]
        if chat
        else tokenizer(prompt)["input_ids"]
    )
    said = [*tokenizer("cba", add_special_tokens=False)["input_ids"], tokenizer.eos_token_id]
    (folder / READS).write_text(json.dumps({"chat_template_kwargs": None, "ends": [tokenizer.eos_token_id]}), "utf-8")
    classifier = Classifier(str(folder), None, "cpu", 8, 1024, False, None, "none")
    wanted = scores(judge, [asked + said, asked + said[:-1]], 0, 1)
    completion: Any = [{"role": "assistant", "content": "cba"}] if chat else "cba"
    assert classifier.scores([(prompt, completion)]) == pytest.approx(wanted[:1], abs=1e-5)
    cut = classifier.scores([(prompt, completion)] * 2, [said, said[:-1]])  # one that was cut has no end
    assert cut == pytest.approx(wanted, abs=1e-5)
    assert wanted[0] != pytest.approx(wanted[1], abs=1e-4)
    other = classifier.scores([(prompt, completion)], [[90, 91]])  # of another tokenizer: the text counts
    assert other == pytest.approx(wanted[:1], abs=1e-5)


def test_chat_template_kwargs_are_those_of_the_training(tmp_path: Path) -> None:

    writer, tokenizer = tiny_model()
    judge = judge_of(writer, spec_of("reward_model"))
    tokenizer.chat_template = tokenizer.chat_template.replace(
        "<assistant>{% endif %}", "<assistant>{{ mark }}{% endif %}"
    )
    judge.config.pad_token_id = tokenizer.pad_token_id
    judge.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    reads = {"chat_template_kwargs": {"mark": "!"}, "ends": [tokenizer.eos_token_id]}
    (tmp_path / READS).write_text(json.dumps(reads), "utf-8")
    prompt = [{"role": "user", "content": "ab"}]
    asked = tokenizer.apply_chat_template(prompt, add_generation_prompt=True, return_dict=True, mark="!")["input_ids"]
    said = [*tokenizer("ba", add_special_tokens=False)["input_ids"], tokenizer.eos_token_id]
    assert asked != tokenizer.apply_chat_template(prompt, add_generation_prompt=True, return_dict=True)["input_ids"]
    classifier = Classifier(str(tmp_path), None, "cpu", 8, 1024, False, None, "none")
    found = classifier.scores([(prompt, [{"role": "assistant", "content": "ba"}])], [said])
    assert found == pytest.approx(scores(judge, [asked + said], 0, 1), abs=1e-5)


def test_the_adapter_of_a_policy_is_trained_further_and_the_head_is_new(tmp_path: Path) -> None:
    """model.adapter: the weights it had are there before the first step, and none are missing."""
    from peft import get_peft_model

    config = LoraConfig(r=4, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM", init_lora_weights=False)
    policy = get_peft_model(tiny_model()[0], config)
    policy.save_pretrained(tmp_path / "start")
    judge, spec = a_judge(lora=Lora(enabled=True))
    head = judge.score.weight.clone()
    fresh = LoraConfig(r=4, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM")
    trainer, _, _ = supervised_trainer(tmp_path, spec, COMPARISONS, model=judge, peft_config=adapter_of(fresh, None))
    assert trainer.take_adapter(tmp_path / "start") == ([], [])
    wanted = {name: each for name, each in policy.named_parameters() if "lora_" in name}
    found = {name: each for name, each in trainer.model.named_parameters() if "lora_" in name}
    assert wanted.keys() == found.keys()
    for name, each in wanted.items():
        assert torch.equal(found[name], each) and found[name].requires_grad
    (own,) = [each for name, each in trainer.model.named_parameters() if "score.modules_to_save" in name]
    assert torch.equal(own, head) and own.requires_grad
