"""Episodes in the trainer: what is trained on and recorded of them, and held-out ones.

TRL 1.14.2 begins the environments and has the loop of turns inside `_generate_and_score_completions`; a held-out
dialogue goes the same way and leaves it where the loop has ended.
"""

from __future__ import annotations

import copy
from typing import Any

from trainer.episodes import transcript
from trainer.errors import EngineError, Problem
from trainer.grpo import turns
from trainer.grpo.generation_guard import generation_mode
from trainer.grpo.written import COMPLETION_IDS, COMPLETIONS, PROMPT_IDS, Written
from trainer.rewards import played
from trainer.rewards.contract import text_of
from trainer.run.rollouts import Turn, finite_or_none

TOOL_MASK = 2
"""Place in what TRL's `_generate` returns."""
GREEDY = {"do_sample": False, "temperature": None, "top_p": None, "top_k": None, "min_p": None}


class Conversed(Exception):
    """The loop of turns of a held-out batch has ended."""

    def __init__(self, generated: tuple[Any, ...]) -> None:
        self.generated = generated
        super().__init__()


def converse(trainer: Any, rows: list[dict[str, Any]], first: int) -> tuple[list[Any], list[list[int]], list[Any]]:
    """(completions, their tokens, what the environments say of them), written greedily. first: held-out rows that came
    before these."""
    trainer.episodes.begin("held-out", 1, first)
    sampled, trainer.generation_config = trainer.generation_config, copy.deepcopy(trainer.generation_config)
    for name, value in GREEDY.items():
        setattr(trainer.generation_config, name, value)
    trainer.is_conversing = True
    try:
        with generation_mode(trainer.model):  # in eval mode TRL counts what it writes apart
            trainer._generate_and_score_completions(rows)
    except Conversed as ended:
        found = ended.generated
    finally:
        trainer.is_conversing = False
        trainer.generation_config = sampled
        trainer._metrics["eval"].clear()
    return found[COMPLETIONS], found[COMPLETION_IDS], played.of(trainer.environments)


def refuse_cut(trainer: Any, generated: tuple[Any, ...]) -> None:
    """Raises EngineError where Unsloth would train on a part of an episode: its kernels for Llama, Qwen and others cut
    every row at `max_seq_length` and only warn (unsloth 2026.10.9, models/llama.py `LlamaModel_fast_forward`).

    A prompt here has what the template says of the tools, which no check before the run has counted.
    """
    most, prompt = trainer.model.max_seq_length, max(map(len, generated[PROMPT_IDS]))
    needed = prompt + trainer.max_completion_length
    if needed > most:
        values = {"seen": most, "prompt": prompt, "completion": trainer.max_completion_length, "needed": needed}
        raise EngineError(Problem("engine.episode_cut", "model.max_seq_length", **values))


def lengths(generated: tuple[Any, ...]) -> list[int]:
    """Tokens of each completion that the model wrote."""
    mask = generated[TOOL_MASK]
    return [len(row) for row in generated[COMPLETION_IDS]] if mask is None else [sum(row) for row in mask]


def texts(trainer: Any, completions: list[Any]) -> list[str]:
    """As people read them: of an episode all turns."""
    if trainer.episodes is None:
        return [text_of(completion) for completion in completions]
    return [transcript.text(transcript.turns_of(completion)) for completion in completions]


def cut(trainer: Any, completions: list[Any]) -> list[bool]:
    """What a tool has answered did not fit any more: TRL takes it back, and the turn before it has ended well."""
    if trainer.episodes is None:
        return [False] * len(completions)
    most = trainer.max_tool_calling_iterations
    told = map(transcript.turns_of, completions)
    return [
        bool(completion[-1].get("tool_calls")) and len(turns) <= most
        for completion, turns in zip(completions, told, strict=True)
    ]


def credit(trainer: Any, output: dict[str, Any], written: Written) -> list[list[Turn]]:
    """The turns of each completion; where turns are compared, their advantages are put into the batch, (N, T)."""
    table = trainer.episodes
    places = [turns.spans(mask) for mask in written.generated[TOOL_MASK]]
    _count(trainer, places)
    rewards: list[list[float | None]]
    if table.factor is None:  # TRL's advantage, of every turn
        values = output["advantages"][:, None].expand(-1, max(map(len, places))).cpu()
        rewards = [[None] * len(row) for row in places]
    else:
        totals = trainer._totals(written.rewards).tolist()
        paid = [
            turns.earned(total, seat.ratings, len(row), table.factor)
            for total, seat, row in zip(totals, table.seats, places, strict=False)
        ]
        scale, exact = trainer.scale_rewards, trainer.is_fast
        values = turns.credited(turns.normalised(turns.table(paid), trainer.num_generations, scale, exact))
        mask = output["completion_mask"]
        output["advantages"] = turns.over_tokens(values, places, mask.shape[1]).to(mask.device)
        rewards = [finite_or_none(row) for row in paid]
    told = map(transcript.turns_of, written.generated[COMPLETIONS])
    return [_recorded(*row) for row in zip(told, places, rewards, values.tolist(), strict=True)]


def _recorded(
    told: list[transcript.Turn], places: list[tuple[int, int]], rewards: list[float | None], values: list[float]
) -> list[Turn]:
    return [
        Turn(turn.said, [(call.text, call.result) for call in turn.calls], end, reward, value, turn.thought)
        for turn, (_, end), reward, value in zip(told, places, rewards, values, strict=False)
    ]


def _count(trainer: Any, places: list[list[tuple[int, int]]]) -> None:
    seats = trainer.episodes.seats[: len(places)]
    metrics = trainer._metrics["train"]
    metrics["episodes/turns"].append(sum(map(len, places)) / len(places))
    metrics["episodes/lost_frac"].append(sum(seat.lost is not None for seat in seats) / len(seats))
