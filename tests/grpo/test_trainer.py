"""trainer.grpo.trainer on real TRL and a tiny Qwen3: names, nesting, capture, learning."""

import statistics
from pathlib import Path
from typing import Any

import pytest
import torch
from trl import GRPOTrainer

from tests.builders import PARENTS, Recorder, tiny_trainer
from trainer.errors import CheckpointError, RewardError
from trainer.grpo.spans import Span
from trainer.run.rollouts import groups
from trainer.spec import Component, Reward
from trainer.worker.observer import profile


@pytest.fixture(scope="module")
def trained(
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[Any, Recorder, dict[str, torch.Tensor]]:
    """(trainer, what it told, weights before) after two steps of two micro-batches."""
    trainer, recorder = tiny_trainer(
        tmp_path_factory.mktemp("trained"),
        gradient_accumulation_steps=2,
        temperature=1.5,
        max_completion_length=4,
    )
    before = {name: value.clone() for name, value in trainer.model.state_dict().items()}
    trainer.train()
    return trainer, recorder, before


def test_the_class_is_named_as_the_reference_run_names_it(trained: Any) -> None:
    names = [cls.__name__ for cls in type(trained[0]).__mro__[:5]]
    assert names == ["CustomGRPOTrainer", "Hooks", "Watched", "FastUpdate", "GRPOTrainer"]


def test_every_span_is_there_under_its_parent(trained: Any) -> None:
    for _, _, spans in trained[1].steps:
        assert {span.name: span.parent for span in spans} == PARENTS
        assert all(span.ok for span in spans)


def test_self_times_add_up_to_the_step(trained: Any) -> None:
    for _, _, spans in trained[1].steps:
        step = next(span for span in spans if span.name == "step")
        assert sum(span.self_s for span in spans) == pytest.approx(step.total_s, rel=0.05)
        assert all(span.self_s >= 0 for span in spans)


def test_the_reference_runs_metric_names_are_produced_exactly(trained: Any) -> None:
    _, logs, spans = trained[1].steps[0]
    assert {
        "reward",
        "reward_std",
        "rewards/ComponentRewardWrapper/mean",
        "rewards/ComponentRewardWrapper/std",
        "loss",
        "num_tokens",
    } <= logs.keys()
    assert {
        "profiling/Time taken: CustomGRPOTrainer.transformers.generate",
        "profiling/Time taken: CustomGRPOTrainer._prepare_inputs",
        "profiling/Time taken: CustomGRPOTrainer._calculate_rewards",
        "profiling/Time taken: CustomGRPOTrainer.ComponentRewardWrapper",
    } <= profile(spans).keys()


def test_rollouts_agree_with_trls_own_metrics(trained: Any) -> None:
    for (_, batch), (_, logs, _) in zip(trained[1].batches, trained[1].steps, strict=True):
        assert statistics.fmean(batch.rewards) == pytest.approx(logs["reward"], abs=1e-6)
        assert statistics.fmean(batch.completion_tokens) == logs["completions/mean_length"]
        assert statistics.fmean(batch.truncated) == logs["completions/clipped_ratio"]
        for name in ("correct", "format"):
            assert statistics.fmean(batch.components[name]) == pytest.approx(logs[f"rewards/{name}/mean"], abs=1e-6)
        tokens = sum(batch.prompt_tokens) + sum(batch.completion_tokens)
        assert tokens <= logs["num_tokens"]


def test_a_generation_batch_is_captured_whole_in_groups(trained: Any) -> None:
    for step, batch in trained[1].batches:
        assert step in (1, 2)
        assert len(batch.rewards) == len(batch.completions) == len(batch.advantages) == 16
        for start in range(0, 16, 4):
            assert len({str(batch.prompts[i]) for i in range(start, start + 4)}) == 1
            assert sum(batch.advantages[start : start + 4]) == pytest.approx(0, abs=1e-4)
            group = [batch.rewards[i] for i in range(start, start + 4)]
            best, worst = group.index(max(group)), group.index(min(group))
            assert batch.advantages[start + best] >= batch.advantages[start + worst]


def test_the_prompt_that_is_recorded_is_the_text_the_model_had(trained: Any) -> None:
    tokenizer = trained[0].processing_class
    for _, batch in trained[1].batches:
        asked = [batch.prompts[row] for row in range(0, 16, 4)]
        put = [tokenizer.apply_chat_template(one, tokenize=False, add_generation_prompt=True) for one in asked]
        assert batch.seen == put
        assert [line["seen"] for line in groups(batch, 4)] == put


def test_training_moves_the_weights(trained: Any) -> None:
    trainer, recorder, before = trained
    assert any(advantage for _, batch in recorder.batches for advantage in batch.advantages)
    assert not torch.equal(
        before["model.layers.0.mlp.up_proj.weight"],
        trainer.model.model.layers[0].mlp.up_proj.weight,
    )


def test_the_step_can_be_any_subclass(tmp_path: Path) -> None:
    class Other(GRPOTrainer):
        pass

    trainer, _ = tiny_trainer(tmp_path, base=Other)
    names = [cls.__name__ for cls in type(trainer).__mro__[:6]]
    assert names == ["CustomGRPOTrainer", "Hooks", "Watched", "FastUpdate", "Other", "GRPOTrainer"]


def test_a_failing_step_closes_its_spans(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text("def explode(completions, **columns):\n    return [1 / 0 for each in completions]\n")
    broken = Reward(components=[Component(function="explode", file=str(file))])
    trainer, recorder = tiny_trainer(tmp_path, reward=broken)
    with pytest.raises(RewardError, match=r"reward component explode: .* raised ZeroDivisionError"):
        trainer.train()
    trainer.spans.close("step", ok=False)
    spans: list[Span] = trainer.spans.drain()
    assert {span.name for span in spans if not span.ok} >= {
        "ComponentRewardWrapper",
        "_calculate_rewards",
        "_prepare_inputs",
        "step",
    }
    assert recorder.steps == []


def test_a_row_that_could_not_be_judged_says_why(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text("def odd(completions, **columns):\n    return [1.0, float('inf')] * (len(completions) // 2)\n")
    trainer, recorder = tiny_trainer(
        tmp_path, reward=Reward(components=[Component(function="odd", file=str(file))]), max_steps=1
    )
    trainer.train()
    lines = [line for _, batch in recorder.batches for group in groups(batch, 4) for line in group["completions"]]
    for place, line in enumerate(lines):
        if place % 2:
            assert "inf" in line["failed"]["odd"]
            assert (line["reward"], line["advantage"]) == (None, 0.0)
        else:
            assert "failed" not in line
        assert "steps" not in line


def test_several_updates_per_generation_share_one_rollout(tmp_path: Path) -> None:
    trainer, recorder = tiny_trainer(tmp_path, steps_per_generation=2, num_iterations=2, max_steps=4)
    trainer.train()
    assert [step for step, _ in recorder.batches] == [1]
    assert len(recorder.steps) == 4
    assert [any(span.name == "transformers.generate" for span in spans) for _, _, spans in recorder.steps] == [
        True,
        False,
        False,
        False,
    ]


def test_a_checkpoint_of_weights_that_are_no_numbers_is_named(tmp_path: Path) -> None:
    trainer, _ = tiny_trainer(tmp_path)
    folder = tmp_path / "checkpoint-7"
    with torch.no_grad():
        trainer.model.model.norm.weight[2] = float("nan")
    trainer.save_model(str(folder))
    with pytest.raises(CheckpointError, match=r"checkpoint-7: 1 of the weights .* NaN or inf: model\.norm\.weight"):
        trainer._load_from_checkpoint(str(folder))


@pytest.mark.parametrize(
    ("batches", "boundary"),
    [
        ({}, 8),  # between two epochs of eight steps
        ({}, 9),  # inside the second
        ({"num_train_epochs": 1.5, "max_steps": -1}, 11),  # an epoch is not a whole number of saves
        ({"steps_per_generation": 2, "num_iterations": 2}, 8),
        ({"gradient_accumulation_steps": 2, "steps_per_generation": 4}, 6),
        ({"gradient_accumulation_steps": 4, "steps_per_generation": 2}, 3),
    ],
)
def test_a_resume_on_a_generation_boundary_ends_with_the_same_weights(
    tmp_path: Path, batches: dict[str, int], boundary: int
) -> None:
    settings: dict[str, Any] = {
        "max_steps": 12,
        "save_strategy": "steps",
        "save_steps": boundary,
        "temperature": 1.5,
        **batches,
    }
    whole, _ = tiny_trainer(tmp_path / "whole", max_completion_length=4, **settings)
    whole.train()
    resumed, recorder = tiny_trainer(tmp_path / "resumed", max_completion_length=4, **settings)
    resumed.train(resume_from_checkpoint=str(tmp_path / "whole" / f"checkpoint-{boundary}"))
    assert recorder.steps[0][0] == boundary + 1
    expected, found = whole.model.state_dict(), resumed.model.state_dict()
    assert all(torch.equal(expected[name], found[name]) for name in expected)
