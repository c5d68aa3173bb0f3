"""trainer.evaluate.sampled: means of exact figures, the same for the same seed, and no trace in the run."""

import itertools
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig

from tests.builders import HALF, Recorder, rows, tiny_model, tiny_trainer
from trainer.evaluate.sampled import Sampled, sample, seed_at
from trainer.rewards.wrapper import ComponentRewardWrapper
from trainer.spec import Component, Generation, Reward

WARM = Generation(max_completion_length=6, temperature=1.5, num_generations=4)
LORA = LoraConfig(r=4, lora_dropout=0.1, target_modules="all-linear", task_type="CAUSAL_LM")


class Remembering(ComponentRewardWrapper):
    """Keeps the texts that were judged, and which of them were right, over all batches."""

    def __init__(self, reward: Reward) -> None:
        super().__init__(reward)
        self.texts: list[str] = []
        self.right: list[bool] = []

    def score(self, prompts: Any, completions: Any, **columns: Any) -> list[float | None]:
        self.texts += [completion[-1]["content"] for completion in completions]
        assert len(columns["completion_ids"]) == len(completions) <= 16
        paid = super().score(prompts, completions, **columns)
        self.right += [flag is True for flag in self.last_correct]
        return paid


def sampled(model: Any, tokenizer: Any, wrapper: Any = None, **changes: Any) -> Sampled | None:
    settings: dict[str, Any] = {
        "samples": 6,
        "ks": [1, 2, 4],
        "group": 4,
        "generation": WARM,
        "batch_size": 16,
        "reward_batch_size": 16,
        "seed": 7,
    }
    return sample(model, tokenizer, rows(8), wrapper or ComponentRewardWrapper(HALF), **settings | changes)


@pytest.fixture(scope="module")
def tiny() -> tuple[Any, Any]:
    return tiny_model()


def test_the_figures_are_the_means_over_all_subsets_of_the_judged_samples(tiny: tuple[Any, Any]) -> None:
    wrapper = Remembering(HALF)
    found = sampled(*tiny, wrapper)
    assert found is not None
    assert (found.rows, found.samples, found.group) == (8, 6, 4)
    right = wrapper.right
    assert len(right) == 48 and 0 < sum(right) < 48
    of_rows = [right[start : start + 6] for start in range(0, 48, 6)]
    for k in (1, 2, 4):
        some = [any(subset) for row in of_rows for subset in itertools.combinations(row, k)]
        assert found.pass_at[str(k)] == pytest.approx(statistics.fmean(some))
    groups = [subset for row in of_rows for subset in itertools.combinations(row, 4)]
    assert found.all_right_frac == pytest.approx(statistics.fmean(all(group) for group in groups))
    assert found.all_wrong_frac == pytest.approx(statistics.fmean(not any(group) for group in groups))
    assert found.maj_at["1"] == pytest.approx(found.pass_at["1"])
    assert found.pass_at["1"] < found.pass_at["2"] < found.pass_at["4"]
    assert len(set(wrapper.texts)) > 40  # samples of a row differ


def test_a_majority_is_of_the_answers_that_the_deciding_component_finds(tiny: tuple[Any, Any]) -> None:
    """The answer is the first character: texts that differ after it vote together."""
    params = {"answer_column": "letter", "extract": r"\A(.)"}
    wrapper = Remembering(Reward(components=[Component(function="exact_match", params=params)]))
    data = [row | {"letter": "a"} for row in rows(4)]
    sizes: dict[str, Any] = {"samples": 5, "group": 4, "batch_size": 8, "reward_batch_size": 8}
    found = sample(*tiny, data, wrapper, ks=[5], generation=WARM, seed=1, **sizes)
    assert found is not None
    credits = []
    for start in range(0, 20, 5):
        letters = [text[:1] for text in wrapper.texts[start : start + 5]]
        most = max(letters.count(letter) for letter in letters if letter)
        winners = {letter for letter in letters if letter and letters.count(letter) == most}
        credits.append(("a" in winners) / len(winners))
    assert found.maj_at == {"5": pytest.approx(statistics.fmean(credits))}


def test_the_same_seed_samples_the_same_and_another_does_not(tiny: tuple[Any, Any]) -> None:
    said = []
    for seed in (7, 7, 8):
        wrapper = Remembering(HALF)
        sampled(*tiny, wrapper, seed=seed)
        said.append(wrapper.texts)
    assert said[0] == said[1] != said[2]


def test_a_seed_for_every_run_and_step() -> None:
    seeds = {seed_at(seed, step) for seed in range(20) for step in range(50)}
    assert len(seeds) == 1000
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert seed_at(42, 10) == seed_at(42, 10)


def test_no_trace_is_left_in_model_and_random_state(tiny: tuple[Any, Any]) -> None:
    model = tiny[0].train()
    before = torch.get_rng_state()
    assert sampled(*tiny) is not None
    assert torch.equal(torch.get_rng_state(), before)
    assert model.training


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_no_trace_is_left_in_the_random_state_of_the_gpu() -> None:
    model, tokenizer = tiny_model()
    before = torch.cuda.get_rng_state()
    assert sampled(model.to("cuda"), tokenizer) is not None
    assert torch.equal(torch.cuda.get_rng_state(), before)


def test_a_run_is_bit_for_bit_the_same_with_it(tmp_path: Path) -> None:
    """After every step of one of two runs; dropout in the adapter would show a single number drawn."""

    class Sampling(Recorder):
        after_step: Callable[[], Any]

        def step(self, step: int, logs: dict[str, Any], spans: list[Any]) -> None:
            super().step(step, logs, spans)
            assert self.after_step() is not None

    def run(folder: Path, with_samples: bool) -> dict[str, torch.Tensor]:
        trainer, recorder = tiny_trainer(
            folder, wrapper=ComponentRewardWrapper(HALF), peft_config=LORA, max_steps=3, temperature=1.5
        )
        if with_samples:
            watching = Sampling()
            watching.after_step = lambda: sampled(
                trainer.model, trainer.processing_class, trainer.reward_wrapper, seed=len(watching.steps)
            )
            trainer.observer = recorder = watching
        trainer.train()
        texts.append([text for _, batch in recorder.batches for text in batch.completions])
        return {name: value.clone() for name, value in trainer.model.state_dict().items()}

    texts: list[list[str]] = []
    one, other = run(tmp_path / "one", False), run(tmp_path / "other", True)
    assert texts[0] == texts[1]
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert any("lora_B" in name and one[name].any() for name in one)  # something was learnt


def test_rows_that_nobody_can_judge_are_left_out(tiny: tuple[Any, Any], tmp_path: Path) -> None:
    own = tmp_path / "own.py"
    own.write_text(
        "def some(prompts, completions, answer, **_):\n"
        "    return [None if gold.startswith('a') else 1.0 if i % 2 else None for i, gold in enumerate(answer)]\n"
    )
    wrapper = ComponentRewardWrapper(Reward(components=[Component(function="some", file=str(own))]))
    found = sampled(*tiny, wrapper, samples=4, ks=[1])
    assert found is not None
    assert found.rows == 6  # of 8 rows two start with "a"
    assert found.record().failed is None  # it had nothing to say
    assert found.pass_at == {"1": 0.5}  # an unjudged sample counts as wrong


def test_samples_that_could_not_be_judged_count_as_wrong_and_are_counted(tiny: tuple[Any, Any], tmp_path: Path) -> None:
    own = tmp_path / "own.py"
    own.write_text(
        "def every(completions, calls=[], **_):\n"
        "    calls.append(1)\n"
        "    if len(calls) % 4 == 0:\n"
        "        raise ValueError('the fourth')\n"
        "    return [1.0] * len(completions)\n"
    )
    wrapper = ComponentRewardWrapper(Reward(components=[Component(function="every", file=str(own))]))
    found = sampled(*tiny, wrapper, samples=4, ks=[1], reward_batch_size=1)
    assert found is not None
    assert (found.pass_at, found.rows, found.record().failed) == ({"1": 0.75}, 8, 8)
    assert str(found.failure).startswith("every: it raised ValueError: the fourth")


def test_it_ends_between_two_batches_when_asked_to(tiny: tuple[Any, Any]) -> None:
    before = torch.get_rng_state()
    assert sampled(*tiny, interrupted=lambda: True) is None
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("changes", [{"ks": [7]}, {"group": 8}])
def test_too_few_samples_are_refused(tiny: tuple[Any, Any], changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="too few"):
        sampled(*tiny, **changes)
