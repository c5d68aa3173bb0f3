"""Episodes in the trainer: TRL's own loop of turns, and the baseline of each turn worked out by hand."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from trl.chat_template_utils import parse_response

from tests.builders import HALF, Recorder, batch, rows, tiny_model, tiny_trainer
from trainer.engine.builtin import TOOLS_RESPONSE, make_tokenizer
from trainer.episodes import transcript
from trainer.episodes.host import Host
from trainer.episodes.own import Recipe
from trainer.episodes.table import Table
from trainer.evaluate import dialogues
from trainer.grpo import dialogues as recorded
from trainer.grpo import turns
from trainer.run.groups import group_of
from trainer.run.rollouts import groups
from trainer.spec import Component, Reward

NONE = float("nan")
FOUND = Reward(
    components=[
        Component(function="environment", name="found", weight=2.0),
        Component(function="format_regex", name="won", params={"pattern": "won"}),
    ],
    divide_by=4.0,
)
PLAIN = Reward(components=[Component(function="environment", weight=0.5), *HALF.components])


@pytest.fixture(scope="module")
def host() -> Iterator[Host]:
    made = Host(Recipe.of("guess", None), 20.0, 0.0)
    yield made
    made.close()


# ---- the formula


def test_turns_are_the_runs_of_the_models_own_tokens() -> None:
    assert turns.spans([1, 1, 0, 0, 1, 0, 1]) == [(0, 2), (4, 5), (6, 7)]
    assert turns.spans([1, 1, 1]) == [(0, 3)]
    assert turns.spans([1, 0, 0]) == [(0, 1)]  # the answer filled what was left


def test_a_turn_has_earned_what_the_reward_rose_and_the_last_one_all_else() -> None:
    assert turns.earned(3.5, {0: 0.5, 1: 0.25}, 3, 2.0) == [1.0, -0.5, 3.0]
    assert turns.earned(3.5, {0: 0.5, 1: 0.25, 2: 9.0}, 3, 2.0) == [1.0, -0.5, 3.0]  # after the last: in the rest
    assert turns.earned(3.5, {1: 1.0}, 3, 1.0) == [0.0, 1.0, 2.5]  # a turn whose call never arrived
    assert turns.earned(0.1, {0: 7.0}, 1, 1.0) == [0.1]
    assert torch.tensor(turns.earned(NONE, {0: 7.0}, 3, 1.0)).isnan().all()  # lost: no turn of it is compared


ROWS = [[1.0], [0.0, 1.0], [0.0, 0.0], [0.0, 0.5]]
TABLE: dict[str, list[list[float]]] = {
    # turn 0: mean 0.25, std 0.5; turn 1, of three: mean 0.5, std 0.5
    "group": [[0.75 / 0.5001], [-0.25 / 0.5001, 0.5 / 0.5001], [-0.25 / 0.5001, -0.5 / 0.5001], [-0.25 / 0.5001, 0.0]],
    "none": [[0.75], [-0.25, 0.5], [-0.25, -0.5], [-0.25, 0.0]],
}
CREDIT = [[0.75], [0.25, 0.5], [-0.75, -0.5], [-0.25, 0.0]]


@pytest.mark.parametrize("scale", ["group", "none", "batch"])
def test_advantages_of_turns_are_those_of_a_table_made_by_hand(scale: Any) -> None:
    z = turns.normalised(turns.table(ROWS), 4, scale, exact=True)
    expected = TABLE.get(scale, TABLE["group"])  # one group is the whole batch
    for row, values in enumerate(expected):
        assert z[row, : len(values)].tolist() == pytest.approx(values, rel=1e-6)
    assert z[0, 1] == 0.0
    if scale == "none":
        credit = turns.credited(z)
        for row, values in enumerate(CREDIT):
            assert credit[row, : len(values)].tolist() == pytest.approx(values)


def test_the_spread_of_a_batch_is_that_of_the_turn() -> None:
    two = [[1.0, 0.0], [0.0, 0.0], [4.0, 2.0], [0.0, 0.0]]
    z = turns.normalised(turns.table(two), 2, "batch", exact=True)
    spread = torch.tensor([1.0, 0.0, 4.0, 0.0]).std().item() + 1e-4
    assert z[:, 0].tolist() == pytest.approx([0.5 / spread, -0.5 / spread, 2.0 / spread, -2.0 / spread], rel=1e-5)


def test_a_turn_that_one_completion_has_and_one_without_a_reward_teach_nothing() -> None:
    z = turns.normalised(turns.table([[0.0, 9.0], [1.0], [NONE, NONE], [1.0]]), 4, "group", exact=True)
    assert z[0, 1] == 0.0 and z[2].tolist() == [0.0, 0.0]
    assert z[:, 0].tolist() == pytest.approx([-1.1545, 0.5773, 0.0, 0.5773], abs=1e-3)
    same = turns.normalised(turns.table([[0.1]] * 3), 3, "group", exact=True)
    assert same.tolist() == [[0.0]] * 3  # not what rounding leaves of 0.1 - mean


def test_tokens_have_the_advantage_of_their_turn_and_tools_none() -> None:
    values = torch.tensor([[1.0, 2.0], [3.0, 0.0]])
    found = turns.over_tokens(values, [[(0, 2), (3, 4)], [(0, 1)]], 5)
    assert found.tolist() == [[1.0, 1.0, 0.0, 2.0, 0.0], [3.0, 0.0, 0.0, 0.0, 0.0]]


# ---- TRL's loop


def episodic(folder: Path, host: Host, factor: float | None = 0.5, **options: Any) -> tuple[Any, Recorder, Table]:
    """factor: of FOUND, 2 / 4."""
    model, tokenizer = tiny_model(name="builtin/tiny-tools")
    table = Table(host, 42, factor)
    settings: dict[str, Any] = {"reward": FOUND, "max_completion_length": 64, "max_tool_calling_iterations": 2}
    trainer, recorder = tiny_trainer(folder, model=model, tokenizer=tokenizer, episodes=table, **settings | options)
    return trainer, recorder, table


def base_of(trainer: Any) -> Any:
    return next(cls for cls in type(trainer).__mro__ if cls.__name__ == "GRPOTrainer")


def scripted(monkeypatch: pytest.MonkeyPatch, trainer: Any, said: Sequence[Sequence[str]]) -> None:
    """What the model writes: for each turn one text for every completion that has it."""
    left = iter(said)

    def write(self: Any, ids: Any, *args: Any, **kwargs: Any) -> Any:
        texts = next(left)
        assert len(texts) == len(ids)
        return [self._tokenizer(text=text)["input_ids"] for text in texts], None

    monkeypatch.setattr(base_of(trainer), "_generate_single_turn", write)


def guess(number: object) -> str:
    return f"<call>guess number={number}</call><end>"


def test_every_turn_gets_its_own_advantage(tmp_path: Path, host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    trainer, recorder, table = episodic(tmp_path, host, scale_rewards="none", max_steps=1)
    table.begin("step 0.0", 4)
    numbers = [1 + (table._seed(group) and _drawn(table._seed(group))) for group in (0, 1)]
    first, second = numbers
    other = {number: 1 + number % 7 for number in numbers}
    scripted(
        monkeypatch,
        trainer,
        [
            [guess(first), guess(other[first]), guess(other[first]), "no<end>"] + [guess(other[second])] * 4,
            ["won<end>", guess(first), guess(other[first])] + ["<end>"] * 4,
            ["won<end>", "won<end>"],
        ],
    )
    trainer.train()
    ((_, batch),) = recorder.batches
    # found counts 2 / 4 in the turn it was found in, won 1 / 4 in the last
    assert batch.rewards == [0.75, 0.75, 0.25, 0.0, 0.0, 0.0, 0.0, 0.0]
    assert [[turn.reward for turn in row] for row in batch.turns[:4]] == [
        [0.5, 0.25], [0.0, 0.5, 0.25], [0.0, 0.0, 0.25], [0.0],
    ]  # fmt: skip
    # means of the turns 0.125, 0.25 and 0.25
    assert [[turn.advantage for turn in row] for row in batch.turns[:4]] == [
        pytest.approx(values) for values in ([0.375, 0.0], [0.125, 0.25, 0.0], [-0.375, -0.25, 0.0], [-0.125])
    ]
    assert all(turn.advantage == 0.0 for row in batch.turns[4:] for turn in row)
    answers = "lower" if other[first] > first else "higher"
    assert batch.completions[1] == (f"guess(number={other[first]})\n-> {answers}\nguess(number={first})\n-> right\nwon")
    assert batch.completion_tokens[0] == len("<call>") - 5 + len("guess number=1") + 2 + len("won") + 1
    metrics = recorder.steps[0][1]
    assert metrics["tools/call_frequency"] == pytest.approx(9 / 8)
    assert metrics["episodes/turns"] == pytest.approx((2 + 3 + 3 + 1 + 2 * 4) / 8)
    assert metrics["episodes/lost_frac"] == 0.0
    assert metrics["rewards/found/mean"] == pytest.approx(2 / 8)
    kinds = [line["outcome"] for line in groups(batch, 4)]
    assert kinds == ["spread", "all_wrong"]


def _drawn(seed: int) -> int:
    import random

    return random.Random(seed).randint(1, 7) - 1


def test_tokens_of_tools_have_no_loss_and_turns_other_weights(
    tmp_path: Path, host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer, _, _ = episodic(tmp_path, host)
    scripted(
        monkeypatch, trainer, [[guess(n) for n in (1, 2, 3, 4)] * 2, ["won<end>", "x<end>", "won<end>", "<end>"] * 2]
    )
    trainer.model.train()
    batch = trainer._generate_and_score_completions([row for row in list(trainer.train_dataset)[:2] for _ in range(4)])
    mask = batch["tool_mask"] * batch["completion_mask"]
    assert batch["advantages"].shape == mask.shape
    assert not (batch["advantages"] * (1 - mask)).any()
    text = trainer._tokenizer.decode(batch["completion_ids"][0][~mask[0].bool()], skip_special_tokens=False)
    assert text.startswith("<tool>") and text.split("<pad>")[0].endswith("<end><assistant>")
    trainer.current_gradient_accumulation_steps = 1

    def gradient(advantages: torch.Tensor) -> torch.Tensor:
        trainer.model.zero_grad()
        trainer.compute_loss(trainer.model, batch | {"advantages": advantages}).backward()
        return torch.cat([value.grad.flatten() for value in trainer.model.parameters()])

    found = gradient(batch["advantages"])
    assert found.any()
    assert torch.equal(found, gradient(batch["advantages"] + 100.0 * (1 - mask)))
    assert not torch.equal(found, gradient(batch["advantages"] * 2))


@pytest.mark.parametrize("scale", ["group", "batch", "none"])
@pytest.mark.parametrize("fast", ["auto", "off"])
def test_one_turn_is_plain_grpo_bit_by_bit(tmp_path: Path, host: Host, scale: str, fast: str) -> None:
    model, tokenizer = tiny_model(name="builtin/tiny-tools")
    silent = {"suppress_tokens": [tokenizer.convert_tokens_to_ids("<call>")]}
    options: dict[str, Any] = {
        "scale_rewards": scale, "fast": fast, "max_completion_length": 8, "generation_kwargs": silent, "max_steps": 3,
    }  # fmt: skip
    plain, _ = tiny_trainer(tmp_path / "plain", model=model, tokenizer=tokenizer, reward=HALF, **options)
    plain.train()
    expected = plain.model.state_dict()
    untrained, _ = tiny_model(name="builtin/tiny-tools")
    assert any(not torch.equal(value, expected[name]) for name, value in untrained.state_dict().items())
    for factor in (0.5, None):
        trainer, recorder, _ = episodic(tmp_path / str(factor), host, factor, reward=PLAIN, **options)
        trainer.train()
        assert all(len(row) == 1 for _, batch in recorder.batches for row in batch.turns)
        found = trainer.model.state_dict()
        assert all(torch.equal(value, found[name]) for name, value in expected.items())


def test_the_fast_path_has_the_same_gradient(tmp_path: Path, host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for fast in ("auto", "off"):
        trainer, recorder, _ = episodic(tmp_path / fast, host, fast=fast, max_steps=1)
        with monkeypatch.context() as patch:
            turns_of = [[guess(n) for n in (1, 2, 3, 4)] * 2, ["won<end>", "x<end>", "won<end>", "<end>"] * 2]
            scripted(patch, trainer, turns_of)
            trainer.train()
        found.append(recorder.steps[0][1])
    assert found[0]["grad_norm"] == pytest.approx(found[1]["grad_norm"], rel=1e-4)
    assert found[0]["loss"] == pytest.approx(found[1]["loss"], abs=1e-5)


def test_a_lost_episode_has_no_reward_and_the_others_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.episodes.made import host_of

    host = host_of(tmp_path)
    reward = Reward(components=[Component(function="environment"), *HALF.components], on_error="zero")
    trainer, recorder, _ = episodic(tmp_path, host, 1.0, reward=reward, max_steps=1, max_completion_length=160)
    calls = ["<call>bad how=none</call><end>", "<call>step by=2</call><end>", "<call>nothing</call><end>", "z<end>"]
    scripted(monkeypatch, trainer, [calls * 2, ["a<end>"] * 6])
    trainer.train()
    host.close()
    ((_, batch),) = recorder.batches
    assert batch.rewards[:4] == [None, pytest.approx(1.2), 1.0, 0.0]
    assert "NoneType where a text is expected" in str(batch.failures[0]["environment"])
    assert set(batch.failures[0]) == {"environment", "format_regex"} and not batch.failures[1]
    assert batch.advantages[0] == 0.0 and batch.advantages[1] > 0 > batch.advantages[3]
    assert batch.turns[0][0].calls[0][1] is not None and "expected" in batch.turns[0][0].calls[0][1]
    assert "not found" in str(batch.turns[2][0].calls[0][1])
    metrics = recorder.steps[0][1]
    assert metrics["episodes/lost_frac"] == 0.25
    assert metrics["tools/failure_frequency"] == pytest.approx(4 / 6)
    line = json.loads(json.dumps(groups(batch, 4)[0]))
    group = group_of(json.dumps({"step": 1, **line}).encode(), 0)
    assert group is not None
    lost, stepped = group.completions[:2]
    assert lost.reward is None and "NoneType" in lost.failed["environment"]
    assert [(turn.said, list(turn.calls)) for turn in stepped.turns] == [
        ("", [("step(by=2)", str(batch.turns[1][0].calls[0][1]))]), ("a", []),
    ]  # fmt: skip
    assert stepped.turns[0].reward == pytest.approx(0.2) and stepped.turns[0].advantage is not None


# ---- resumed, held out


def calling(monkeypatch: pytest.MonkeyPatch, trainer: Any) -> None:
    """What is sampled decides which number is guessed, so that weights and random numbers decide all that follows."""
    base = base_of(trainer)
    inner: Callable[..., Any] = base._generate_single_turn

    def write(self: Any, ids: Any, *args: Any, **kwargs: Any) -> Any:
        sampled, logprobs = inner(self, ids, *args, **kwargs)
        texts = [f"<call>guess number={1 + row[0] % 7}</call><end>" for row in sampled]
        return [self._tokenizer(text=text)["input_ids"] for text in texts], logprobs

    monkeypatch.setattr(base, "_generate_single_turn", write)


@pytest.mark.parametrize("options", [{}, {"gradient_accumulation_steps": 2, "steps_per_generation": 1}], ids=str)
def test_a_resumed_run_ends_with_the_same_weights(
    tmp_path: Path, host: Host, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any]
) -> None:
    settings: dict[str, Any] = {"max_steps": 4, "save_strategy": "steps", "save_steps": 2, **options}
    whole, recorder, _ = episodic(tmp_path / "whole", host, **settings)
    calling(monkeypatch, whole)
    whole.train()
    again, other, _ = episodic(tmp_path / "again", host, **settings)
    again.train(resume_from_checkpoint=str(tmp_path / "whole" / "checkpoint-2"))
    after = [(step, batch.completions, batch.turns) for step, batch in recorder.batches if step > 2]
    assert [(step, batch.completions, batch.turns) for step, batch in other.batches] == after
    assert len({text for _, texts, _ in after for text in texts}) > 1
    for name, weight in whole.model.state_dict().items():
        assert torch.equal(weight, again.model.state_dict()[name]), name


def test_held_out_episodes_are_greedy_the_same_every_time_and_leave_nothing(tmp_path: Path, host: Host) -> None:
    trainer, _, table = episodic(tmp_path, host)
    trainer.model.train()
    before = torch.get_rng_state()
    held_out = [row | {"high": 3} for row in rows(5)]
    first, second = (dialogues.answer(trainer, held_out, 2) for _ in range(2))
    seeds = [table.seats[0].seed]  # of the fifth row, alone in the third batch
    dialogues.answer(trainer, held_out, 5)
    assert [table.seats[4].seed] == seeds
    assert first is not None and first == second and len(first.texts) == len(first.played) == 5
    assert torch.equal(before, torch.get_rng_state())
    assert not trainer._metrics["eval"] and not trainer._metrics["train"]
    assert trainer.model.training and trainer.generation_config.do_sample
    assert dialogues.answer(trainer, held_out, 2, interrupted=lambda: True) is None
    assert {one.reward for one in first.played} == {0.0}


def test_an_episode_whose_answer_did_not_fit_counts_as_cut() -> None:
    """TRL takes the answer back, and the completion ends with a call that nobody answered."""
    call = [{"type": "function", "function": {"name": "guess", "arguments": {"number": 5}}}]
    asked = {"role": "assistant", "content": "", "tool_calls": call}
    answered = [asked, {"role": "tool", "name": "guess", "content": "higher"}]
    told = [[asked], [*answered, {"role": "assistant", "content": "5"}], [*answered, asked]]
    trainer = SimpleNamespace(episodes=object(), max_tool_calling_iterations=1)
    assert recorded.cut(trainer, told) == [True, False, False]  # the last has had its one answer
    trainer.episodes = None
    assert recorded.cut(trainer, ["plain"]) == [False]


def test_what_trls_parser_splits_off_as_thinking_is_in_the_rollout_file() -> None:
    tokenizer = make_tokenizer("builtin/tiny-tools")
    thinking = {"reasoning_content": {"open": "<think>", "close": "</think>", "content": "text"}}  # as for Qwen3
    tokenizer.response_template = TOOLS_RESPONSE | {"fields": thinking | TOOLS_RESPONSE["fields"]}
    written = "<think>half of nine</think>I guess<call>guess number=4</call><end>"
    ids, asked = (tokenizer(text, add_special_tokens=False)["input_ids"] for text in (written, "<assistant>"))
    messages = [parse_response(tokenizer, ids, prefix=asked), {"role": "tool", "name": "guess", "content": "higher"}]
    told = recorded._recorded(transcript.turns_of(messages), [(0, len(ids))], [0.5], [0.25])
    (line, _) = groups(replace(batch(), turns=[told] * 4), num_generations=2)
    found = group_of(json.dumps(line).encode(), 0)
    assert found is not None
    (turn,) = found.completions[0].turns
    assert (turn.thought, turn.said, list(turn.calls)) == ("half of nine", "I guess", [("guess(number=4)", "higher")])
