"""Answers requests with the models of one checkpoint: prompts as they are typed, held-out rows as they are trained on.

Says every piece in the journal a few times a second. A held-out row is answered as an evaluation answers it, and both
answers are judged by the run's own rewards, which run in their own processes.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from typing import Any

from trainer.errors import Problem, RunError
from trainer.rewards import check as rewards_check
from trainer.rewards import learnt
from trainer.rewards.wrapper import ComponentRewardWrapper
from trainer.run import judges
from trainer.run.checkpoints import JUDGE
from trainer.text import storable
from trainer.tryit.chat import Chat, ChatSettings, Dialogue, Streamer
from trainer.tryit.journal import Journal
from trainer.tryit.request import Request

PIECE_S = 0.2  # between two pieces in the journal

Check = Callable[[str], None]


class Cancelled(Exception):
    """Whoever asked does not want the answer any more."""


class Answerer:
    """check: called with the id of the request at every token; what it raises ends the answer."""

    def __init__(self, chat: Chat, journal: Journal, check: Check) -> None:
        self.chat, self.journal, self.check = chat, journal, check
        self._rows: list[dict[str, Any]] | None = None
        self._wrapper: ComponentRewardWrapper | None = None

    def close(self) -> None:
        """Give back what is held: processes of the rewards, memory of the models."""
        if self._wrapper is not None:
            self._wrapper.close()
        self._wrapper = None
        self.recover()

    def recover(self) -> None:
        """After an answer that was given up: its memory is free again."""
        import torch

        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def answer(self, request: Request) -> None:
        """Write row, piece and side lines. Raises TrainerError, and what `check` raises."""
        if request.row is None:
            self._typed(request)
        else:
            self._held_out(request)

    # ---- as it was typed

    def _typed(self, request: Request) -> None:
        settings = ChatSettings(request.temperature, request.max_new_tokens)
        turns = [dict(turn) for turn in request.turns]
        text = turns.pop()["content"]
        for side in request.sides:
            base = side == "base"
            self.chat.load(base)
            dialogue = Dialogue(self.chat, settings, base, request.system, list(turns), request.seed)
            self._refuse_too_long(self.chat.prompt_ids(dialogue.prompt(text)), request)
            pieces = _Pieces(self.journal, request.id, side)
            started = time.perf_counter()
            answer = dialogue.say(text, pieces.add, lambda: self.check(request.id))
            pieces.flush()
            self.journal.write(
                "side",
                request.id,
                side=side,
                text=answer.text,
                tokens=answer.tokens,
                seconds=round(time.perf_counter() - started, 3),
                truncated=answer.cut,
            )

    def _refuse_too_long(self, ids: list[int], request: Request) -> None:
        most = self.chat.context_tokens
        if not ids:
            raise RunError(Problem("tryit.no_token", "prompt"))
        if most is not None and len(ids) + request.max_new_tokens > most:
            values = {"tokens": len(ids), "answer": request.max_new_tokens, "most": most}
            raise RunError(Problem("tryit.context", "prompt", **values))

    # ---- held-out rows

    def _held_out(self, request: Request) -> None:
        """Both answers to a row, with the reward of each."""
        from trainer.evaluate import answering

        rows = self._held_out_rows()
        assert request.row is not None
        number = request.row % len(rows)
        row = rows[number]
        gold = rewards_check.gold(self.chat.spec.reward, row)
        self.journal.write("row", request.id, prompt=row["prompt"], gold=gold, row=number, rows=len(rows))
        self._refuse_too_long(self.chat.prompt_ids(row["prompt"]), request)
        settings = ChatSettings(request.temperature, request.max_new_tokens)
        for side in request.sides:
            base = side == "base"
            self.chat.load(base)
            pieces = _Pieces(self.journal, request.id, side)
            streamer = Streamer(self.chat.tokenizer, pieces.add, lambda: self.check(request.id))
            started = time.perf_counter()
            with self.chat.speaking(base, request.seed) as model:
                answers = answering.answer(
                    model,
                    self.chat.tokenizer,
                    [row["prompt"]],
                    self.chat.decoding(settings) | {"streamer": streamer},
                    batch_size=1,
                    chat_template_kwargs=self.chat.spec.trl.get("chat_template_kwargs"),
                )
            assert answers is not None
            pieces.flush()
            seconds = round(time.perf_counter() - started, 3)
            paid = answering.score(self._rewards(), [row], answers, batch_size=1)
            assert paid is not None
            self.journal.write(
                "side",
                request.id,
                side=side,
                text=answers.texts[0],
                tokens=len(answers.ids[0]),
                seconds=seconds,
                truncated=self.chat.cut(answers.ids[0], base),
                reward=paid.rewards[0],
                components={name: values[0] for name, values in paid.components.items()},
                correct=paid.correct[0],
                failures=storable(paid.failures[0]),
            )

    def _held_out_rows(self) -> list[dict[str, Any]]:
        """As an evaluation takes them. Raises DataError when the file is gone, RunError without such rows."""
        from trainer.data import dataset

        if self._rows is None:
            if not self.chat.spec.data.has_held_out_rows:
                raise RunError(Problem("tryit.no_held_out", "data", run=self.chat.source.rundir.name))
            self._rows = dataset.load(self.chat.spec, self.chat.tokenizer).held_out
        if not self._rows:
            raise RunError(Problem("tryit.none_fits", "data"))
        return self._rows

    def _rewards(self) -> ComponentRewardWrapper:
        if self._wrapper is None:
            source = self.chat.source
            reward, judge = judges.in_run(self.chat.spec.reward, source.rundir), source.path / JUDGE
            # A reward model that has learnt judges as it did when that checkpoint was saved.
            reward = learnt.from_folder(reward, judge) if judge.is_dir() else reward
            self._wrapper = ComponentRewardWrapper(reward, pooled=True)
        return self._wrapper


class _Pieces:
    """Text as it comes, written a few times a second."""

    def __init__(self, journal: Journal, id: str, side: str) -> None:
        self.journal, self.id, self.side = journal, id, side
        self._text = ""
        self._written = 0.0

    def add(self, text: str) -> None:
        self._text += text
        if time.monotonic() - self._written >= PIECE_S:
            self.flush()

    def flush(self) -> None:
        if self._text:
            self.journal.write("piece", self.id, side=self.side, text=self._text)
            self._text, self._written = "", time.monotonic()
