"""What TRL is given as `environment_factory`: stand-ins whose tools ask the environments behind them.

TRL 1.14.2 (trl/trainer/grpo_trainer.py) makes one stand-in a row, tells each `reset(**row)` in the order of the rows,
and calls its public methods as tools: what a method raises is told to the model. A stand-in shows no `get_reward`: TRL
would add it as a reward of its own, beside the components.
"""

from __future__ import annotations

import functools
import hashlib
from typing import Any

from trainer.episodes.contract import RESET, REWARD, Tool, method
from trainer.episodes.host import Asked, Host, Lost, Raised, Reply
from trainer.errors import RewardError
from trainer.rewards.played import Played
from trainer.text import Message

SEED = "seed"
"""What reset is told beside the row, unless the row has a column of that name."""


class Over(Exception):
    """The episode was lost; `str()` is why, in English."""


class Seat:
    """One episode: where it is played, and what came of it.

    ratings: {turn: what get_reward said after its newest call}; empty where nobody asked.
    """

    def __init__(self, slot: int) -> None:
        self.slot = slot
        self.begin(0)

    def begin(self, seed: int) -> None:
        self.seed, self.calls = seed, 0
        self.lost: Message | None = None
        self.ratings: dict[int, float] = {}
        self.played: Played | None = None


class Table:
    """All episodes of a run. factor: what the environment's reward counts in the total, where turns are compared and
    so every call is rated; None where they are not."""

    def __init__(self, host: Host, run_seed: int, factor: float | None = None) -> None:
        self.host, self.run_seed, self.factor = host, run_seed, factor
        self.turn = -1
        """Turns that were written so far of every episode that still goes on, less one."""
        self.seats: list[Seat] = []
        self.broken: RewardError | None = None
        """Why the process of the environments could not be started again, which ends the run."""
        # TRL goes by the name of the function; the attribute's is one that nothing else of a stand-in has.
        tools = {f"tool_{tool.name}": method(tool, _call) for tool in host.described.tools}
        self._class = type(host.described.name, (StandIn,), tools)
        self._of, self._group, self._begun = "", 1, 0

    def environment(self) -> Any:
        """One more stand-in."""
        self.seats.append(Seat(len(self.seats)))
        return self._class(self, self.seats[-1])

    def begin(self, of: str, group: int, first: int = 0) -> None:
        """A batch, whose episodes begin in the order of its rows. of: what tells it from all others of the run, also
        after a resume. group: rows of a prompt, which begin with the same seed. first: rows of `of` before these."""
        self._of, self._group, self._begun, self.turn = of, group, first, -1
        self.host.relax()
        self.host.forget()

    def writing(self) -> None:
        """The next turn of every episode that goes on is written. Raises RewardError where there can be none: TRL tells
        the model what a tool raises, so that the call that found it out could not end the run."""
        self._refuse_broken()
        self.turn += 1

    def reset(self, seat: Seat, row: dict[str, Any]) -> str | None:
        seat.begin(self._seed(self._begun // self._group))
        self._begun += 1
        try:
            return self._ask(seat, RESET, {SEED: seat.seed, **row}).text
        except Raised as error:  # TRL would end the run
            seat.lost = Message("episodes.lost.call", method=RESET, why=error.why)
        except Over:
            pass
        return None

    def call(self, seat: Seat, tool: str, arguments: dict[str, Any]) -> str:
        """What the environment answers. Raises what is to be told to the model."""
        try:
            reply = self._ask(seat, tool, arguments, self.factor is not None)
        except Raised as error:
            self._rate(seat, error.rating)
            raise
        self._rate(seat, reply.rating)
        return reply.text or ""

    def played(self, seat: Seat) -> Played:
        """Raises RewardError as `writing` does."""
        if seat.played is None:
            self._refuse_broken()
            reward = None
            if seat.lost is None and self.host.described.has_reward:
                try:
                    reward = self._ask(seat, REWARD, {}, True).rating
                except Raised as error:
                    seat.lost = Message("episodes.lost.call", method=REWARD, why=error.why)
                except Over:
                    pass
            seat.played = Played(reward, seat.lost)
        return seat.played

    def close(self) -> None:
        self.host.close()

    def _ask(self, seat: Seat, method: str, arguments: dict[str, Any], rated: bool = False) -> Reply:
        if seat.lost is not None:
            raise Over(str(seat.lost))
        self._refuse_broken()
        seat.calls += 1
        try:
            return self.host.ask(seat.slot, Asked(f"{seat.seed}/{seat.calls}", method, arguments), rated)
        except Lost as error:
            seat.lost = Message("episodes.lost.call", method=error.method, why=error.why)
            raise Over(str(seat.lost)) from error
        except RewardError as error:
            self.broken = error
            raise

    def _refuse_broken(self) -> None:
        if self.broken is not None:
            raise self.broken

    def _rate(self, seat: Seat, rating: float | None) -> None:
        if rating is not None:
            seat.ratings[self.turn] = rating

    def _seed(self, number: int) -> int:
        digest = hashlib.sha256(f"{self.run_seed}/{self._of}/{number}".encode()).digest()
        return int.from_bytes(digest[:4], "big") >> 1  # 31 bits: fits whatever takes a seed


class StandIn:
    """What TRL holds for an environment. `played` is no method, or it would be a tool."""

    def __init__(self, table: Table, seat: Seat) -> None:
        self.played = functools.partial(table.played, seat)
        self._table, self._seat = table, seat

    def reset(self, /, **row: Any) -> str | None:
        return self._table.reset(self._seat, row)


def _call(stand_in: StandIn, tool: Tool, arguments: dict[str, Any]) -> str:
    return stand_in._table.call(stand_in._seat, tool.name, arguments)
