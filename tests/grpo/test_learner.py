"""A reward model that learns while the policy trains: what it learns from, its loss, its state in the checkpoint."""

from __future__ import annotations

import itertools
import math
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.builders import Recorder, tiny_model, tiny_trainer
from trainer.errors import RewardError
from trainer.grpo.comparisons import Comparison, Reservoir, of_phase, packed, unpacked
from trainer.grpo.learner import RewardLearner, Round
from trainer.grpo.written import Written
from trainer.rewards.notes import Notes
from trainer.rewards.pairing import Candidate, best_with_worst
from trainer.rewards.wrapper import ComponentRewardWrapper
from trainer.run import checkpoints
from trainer.spec import Component, Reward
from trainer.spec.learning import Learning

RULE = Component(function="format_regex", name="rule", weight=0.0, params={"pattern": ".*[A-Za-m]"})


@pytest.fixture(scope="module")
def judge(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A classifier of the tiny architecture with random weights."""
    from transformers import AutoModelForSequenceClassification, set_seed

    folder = tmp_path_factory.mktemp("judge")
    model, tokenizer = tiny_model()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    set_seed(5)
    AutoModelForSequenceClassification.from_pretrained(folder, num_labels=1, dtype=torch.float32).save_pretrained(
        folder
    )
    return folder


def settings(**changes: Any) -> Learning:
    chosen: dict[str, Any] = {"component": "judge", "rule": "rule", "learning_rate": 1e-3, "batch_size": 3}
    return Learning(**chosen | changes)


def learner_of(judge: Path, every: int = 2, seed: int = 42, **changes: Any) -> RewardLearner:
    model = Component(function="reward_model", name="judge", params={"model": str(judge), "device": "cpu"})
    wrapper = ComponentRewardWrapper(Reward(components=[model, RULE]))
    learner = RewardLearner(wrapper, settings(**changes), every, seed, told.append)
    learner.wrapper = wrapper  # type: ignore[attr-defined]
    return learner


told: list[Round] = []


@pytest.fixture(autouse=True)
def nothing_told() -> None:
    told.clear()


def trained(folder: Path, judge: Path, learner: RewardLearner | None = None, **changes: Any) -> tuple[Any, Recorder]:
    """A trainer with a learner of rounds of two steps, of five."""
    learner = learner or learner_of(judge)
    options: dict[str, Any] = {"max_steps": 5, "learning_rate": 1e-3, "fast": "off"}
    trainer, recorder = tiny_trainer(folder, wrapper=learner.wrapper, learner=learner, **options | changes)  # type: ignore[attr-defined]
    trainer._ends = lambda: set(range(128))  # random weights end a text once in a hundred tokens
    return trainer, recorder


def weights(model: Any) -> dict[str, torch.Tensor]:
    return {name: value.detach().clone() for name, value in model.state_dict().items()}


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(value, other[key]) for key, value in one.items())


# ---- which completions are compared


@pytest.mark.parametrize(
    ("group", "most", "pairs"),
    [
        ([("a", 1, True), ("b", 0, True), ("c", 0.5, True), ("d", 0.7, True)], 1, [(0, 1)]),
        ([("a", 1, True), ("b", 0, True), ("c", 0.5, True), ("d", 0.7, True)], 4, [(0, 1), (3, 2)]),
        ([("a", 1, True), ("b", 1, True)], 2, []),
        ([("a", 1, False), ("b", 0, True)], 2, []),
        ([("a", 1, False), ("b", 0.5, True), ("c", 0, False)], 1, [(1, 2)]),
        ([("a", None, True), ("b", 0, True)], 2, []),
        ([("a", 1, True), ("a", 1, True), ("b", 0, True)], 3, [(0, 2)]),
        ([("a", 1, False), ("a", 1, True), ("b", 0, True)], 3, [(1, 2)]),
    ],
    ids=["best with worst", "and the next two", "equal", "a cut one is never better", "it may be worse", "unjudged",
         "one text twice", "of equal texts one that has ended"],
)  # fmt: skip
def test_the_best_of_a_group_is_compared_with_its_worst(
    group: list[tuple[str, float | None, bool]], most: int, pairs: list[tuple[int, int]]
) -> None:
    assert of([Candidate(*one, row) for row, one in enumerate(group)], most) == pairs


def test_a_difference_has_to_be_large_enough() -> None:
    group = [Candidate(str(reward), reward, True, row) for row, reward in enumerate((1.0, 0.6, 0.5, 0.0))]
    assert of(group, 4, least=0.1) == [(0, 3)]
    assert of(group, 4, least=0.05) == [(0, 3), (1, 2)]


def of(group: list[Candidate], most: int, least: float = 0.0) -> list[tuple[int, int]]:
    return [(best.row, worst.row) for best, worst in best_with_worst(group, most, least)]


def test_comparisons_of_a_phase_are_texts_as_the_classifier_reads_them(judge: Path) -> None:
    learner = learner_of(judge)
    learner.classifier.load()
    prompts = [[{"role": "user", "content": text}] for text in ("ab", "cd")]
    texts = ["good", "bad", "same", "like"]
    written = Written(
        inputs=[{"prompt": prompts[row // 2]} for row in range(4)],
        generated=([[1]] * 4, [[7, 2]] * 4, None, [[{"role": "assistant", "content": text}] for text in texts]),
        rewards=torch.zeros(4, 1),
        notes=Notes({"rule": [0.25, 0.0, 1.0, 1.0]}, [], {}, [], [], [], []),
        sizes=[2, 2],
    )
    (found,) = of_phase(written, "rule", {2}, 1, learner.classifier)
    read = [learner.classifier.tokenizer.decode(ids) for ids in found]
    assert read == ["<bos><user>ab<end><assistant>good<end>", "<bos><user>ab<end><assistant>bad<end>"]
    assert list(of_phase(written, "rule", {3}, 1, learner.classifier)) == []  # all of them were cut


# ---- the reservoir


def test_every_subset_is_equally_likely_in_the_reservoir() -> None:
    """Two of four: each of six pairs a sixth of the time. Chi-square with 5 degrees of freedom: 20.5 is p = 0.001."""
    chance, runs = random.Random(7), 6000
    seen: Counter[tuple[int, ...]] = Counter()
    for _ in range(runs):
        reservoir = Reservoir(2, chance)
        for item in range(4):
            reservoir.add(Comparison([item], []))
        seen[tuple(sorted(each.better[0] for each in reservoir.items))] += 1
    assert seen.keys() == set(itertools.combinations(range(4), 2))
    assert sum((count - runs / 6) ** 2 / (runs / 6) for count in seen.values()) < 20.5


@pytest.mark.parametrize(
    ("new", "share", "count"), [(90, 0.1, 10), (9, 0.1, 1), (4, 0.1, 0), (50, 0.5, 50), (30, 0, 0)]
)
def test_the_share_of_earlier_comparisons_is_of_all_that_is_trained_on(new: int, share: float, count: int) -> None:
    reservoir = Reservoir(100, random.Random(1))
    for item in range(200):
        reservoir.add(Comparison([item], []))
    drawn = reservoir.drawn(new, share)
    assert len(drawn) == count and len({each.better[0] for each in drawn}) == count
    if count:
        assert count / (count + new) == pytest.approx(share)


def test_of_less_than_the_share_all_are_drawn() -> None:
    reservoir = Reservoir(100, random.Random(1))
    reservoir.add(Comparison([1], [2]))
    assert reservoir.drawn(90, 0.1) == [Comparison([1], [2])]


def test_comparisons_come_back_from_a_file_as_they_were() -> None:
    found = [Comparison([1, 2, 3], [4]), Comparison([], [5, 6])]
    assert unpacked(packed(found)) == found
    assert unpacked(packed([])) == []


# ---- a round


def comparisons(count: int) -> list[Comparison]:
    """Of all lengths."""
    draw = random.Random(3)
    texts = [[1, *(draw.randrange(8, 100) for _ in range(draw.randrange(3, 20)))] for _ in range(2 * count)]
    return [Comparison(texts[2 * row], texts[2 * row + 1]) for row in range(count)]


def bradley_terry(model: Any, found: list[Comparison]) -> Any:
    """The formula, a text at a time, without padding."""
    total = torch.zeros(())
    for each in found:
        better, worse = (model(input_ids=torch.tensor([ids])).logits[0, 0] for ids in each)
        total = total + torch.log1p(torch.exp(-(better - worse)))
    return total / len(found)


@pytest.mark.parametrize("pad", [True, False], ids=["padded", "without a padding token"])
def test_loss_and_gradient_are_those_of_the_formula(judge: Path, pad: bool) -> None:
    learner = learner_of(judge)
    learner.classifier.load()
    model, found = learner.classifier.model.requires_grad_(True), comparisons(5)
    wanted = bradley_terry(model, found)
    wanted.backward()
    gradients = {name: p.grad.clone() for name, p in model.named_parameters()}
    model.zero_grad()
    if not pad:
        model.config.pad_token_id = None
    loss = learner.loss(found)
    loss.backward()  # type: ignore[no-untyped-call]
    assert loss.item() == pytest.approx(wanted.item(), abs=1e-6)
    for name, parameter in model.named_parameters():
        assert (parameter.grad - gradients[name]).abs().max() < 1e-5, name
    assert max(float(value.abs().max()) for value in gradients.values()) > 1e-2


def test_a_round_is_adamw_on_its_comparisons_and_says_what_came_of_them(judge: Path) -> None:
    """One update of all: the same as torch's AdamW on the formula."""
    learner, new = learner_of(judge, batch_size=8), comparisons(6)
    learner.classifier.load()
    from transformers import AutoModelForSequenceClassification

    twin = AutoModelForSequenceClassification.from_pretrained(judge, dtype=torch.float32).eval()
    before = bradley_terry(twin, new).item()
    optimizer = torch.optim.AdamW(twin.parameters(), 1e-3, weight_decay=0.0)
    bradley_terry(twin, new).backward()
    optimizer.step()
    learner.waiting.extend(new)
    found = learner.round(2)
    assert found.before is not None and found.after is not None
    assert found.before[0] == pytest.approx(before, abs=1e-5)
    assert found.after[0] == pytest.approx(bradley_terry(twin, new).item(), abs=1e-3)
    assert found.after[0] < found.before[0] and (found.new, found.replayed) == (6, 0)
    for name, value in learner.classifier.model.state_dict().items():
        assert (value - twin.state_dict()[name]).abs().max() < 2e-4, name
    assert learner.reservoir.items == new and not learner.waiting
    assert not any(p.requires_grad or p.grad is not None for p in learner.classifier.model.parameters())


def test_later_rounds_replay_earlier_ones(judge: Path) -> None:
    learner = learner_of(judge, replay=0.5, reservoir=4)
    counts = []
    for _ in range(3):
        learner.waiting.extend(comparisons(6))
        found = learner.round(2)
        counts.append((found.number, found.new, found.replayed))
    assert counts == [(1, 6, 0), (2, 6, 4), (3, 6, 4)]  # the reservoir has no more than four
    assert learner.reservoir.added == 18


def test_a_round_without_comparisons_trains_nothing_and_is_told(judge: Path) -> None:
    learner = learner_of(judge)
    learner.waiting.extend(comparisons(4))
    learner.round(2)
    before, chance = weights(learner.classifier.model), learner.chance.getstate()
    assert learner.round(4) == Round(2, 4, 0, 0)
    assert same(before, weights(learner.classifier.model)) and learner.chance.getstate() == chance


def test_of_more_comparisons_than_a_round_may_have_the_newest_count(judge: Path) -> None:
    learner, found = learner_of(judge, max_pairs=3), comparisons(5)
    learner.waiting.extend(found)
    assert learner.round(2).new == 3 and learner.reservoir.items == found[2:]


def test_quantised_weights_cannot_learn(judge: Path) -> None:
    learner = learner_of(judge)
    learner.classifier.load()
    learner.classifier.model.is_quantized = True
    learner.waiting.extend(comparisons(2))
    with pytest.raises(RewardError, match="weights are quantised"):
        learner.round(2)


# ---- in a training


def test_the_next_phase_is_judged_by_what_was_learnt(tmp_path: Path, judge: Path) -> None:
    """Rounds after steps 2 and 4; what TRL is paid before them is of the weights before."""
    trainer, recorder = trained(tmp_path, judge)
    kept: list[dict[str, torch.Tensor]] = []
    inner = trainer.learner.round

    def watched(step: int) -> Round:
        kept.append(weights(trainer.learner.classifier.model))
        return inner(step)

    trainer.learner.round = watched
    trainer.train()
    kept.append(weights(trainer.learner.classifier.model))
    assert [each.step for each in told] == [2, 4] and all(each.new for each in told)
    assert not same(kept[0], kept[1]) and not same(kept[1], kept[2])
    model = trainer.learner.classifier.model
    for step, batch in recorder.batches:
        model.load_state_dict(kept[(step - 1) // 2])
        asked = list(zip(batch.prompts, batch.completions, strict=True))
        assert batch.components["judge"] == pytest.approx(trainer.learner.classifier.scores(asked), abs=1e-5)
    logged = [{name for name in logs if name.startswith("reward_model/")} for _, logs, _ in recorder.steps]
    names = {"loss", "loss_before", "accuracy", "accuracy_before", "pairs_new", "pairs_replayed"}
    assert logged == [set(), {f"reward_model/{name}" for name in names}, set(), logged[1], set()]


def test_the_policy_is_that_of_a_run_without_it_where_it_learns_nothing(tmp_path: Path, judge: Path) -> None:
    trainer, _ = trained(tmp_path / "with", judge, learner_of(judge, learning_rate=1e-30))
    trainer.train()
    assert told and told[0].new
    plain = learner_of(judge).wrapper  # type: ignore[attr-defined]
    alone, _ = tiny_trainer(tmp_path / "without", wrapper=plain, max_steps=5, learning_rate=1e-3, fast="off")
    alone.train()
    assert same(weights(trainer.model), weights(alone.model))
    learns, _ = trained(tmp_path / "learns", judge)
    learns.train()
    assert not same(weights(learns.model), weights(alone.model))


@pytest.mark.parametrize("step", [1, 2, 3, 4], ids=["before a round", "at one", "between two", "at the second"])
def test_a_resumed_run_ends_with_both_models_as_they_would_have_been(tmp_path: Path, judge: Path, step: int) -> None:
    saving = {"save_strategy": "steps", "save_steps": 1}
    options: dict[str, Any] = {"replay": 0.5, "epochs": 2}
    whole, recorder = trained(tmp_path / "whole", judge, learner_of(judge, **options), **saving)
    whole.train()
    resumed, again = trained(tmp_path / "again", judge, learner_of(judge, **options), **saving)
    resumed.train(resume_from_checkpoint=str(tmp_path / "whole" / f"checkpoint-{step}"))
    assert [number for number, _, _ in again.steps] == list(range(step + 1, 6))
    assert same(weights(whole.model), weights(resumed.model))
    assert same(weights(whole.learner.classifier.model), weights(resumed.learner.classifier.model))
    assert whole.learner.chance.getstate() == resumed.learner.chance.getstate()
    assert whole.learner.reservoir.items == resumed.learner.reservoir.items
    assert list(whole.learner.waiting) == list(resumed.learner.waiting) and whole.learner.waiting
    metrics = {number: logs.get("reward_model/loss") for number, logs, _ in recorder.steps}
    assert {number: logs.get("reward_model/loss") for number, logs, _ in again.steps}.items() <= metrics.items()
    files = [f"checkpoint-5/{checkpoints.JUDGE}/model.safetensors", "checkpoint-5/model.safetensors"]
    for name in files:
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "again" / name).read_bytes()


def test_a_checkpoint_has_a_classifier_that_transformers_loads(tmp_path: Path, judge: Path) -> None:
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    trainer, _ = trained(tmp_path, judge, save_strategy="steps", save_steps=5)
    trainer.train()
    folder = tmp_path / "checkpoint-5" / checkpoints.JUDGE
    model = AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.float32)
    assert same(weights(model), weights(trainer.learner.classifier.model))
    text = AutoTokenizer.from_pretrained(folder).apply_chat_template(
        [{"role": "user", "content": "ab"}, {"role": "assistant", "content": "x"}], tokenize=False
    )
    ids = AutoTokenizer.from_pretrained(folder)(text, add_special_tokens=False, return_tensors="pt")["input_ids"]
    (score,) = trainer.learner.classifier.scores([([{"role": "user", "content": "ab"}], "x")])
    assert model(input_ids=ids).logits.item() == pytest.approx(score, abs=1e-5) and math.isfinite(score)


def test_a_checkpoint_of_before_is_gone_on_with(tmp_path: Path, judge: Path) -> None:
    learner = learner_of(judge)
    learner.waiting.extend(comparisons(2))
    learner.load(tmp_path)
    assert len(learner.waiting) == 2 and learner.rounds == 0
