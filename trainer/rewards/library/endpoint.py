"""A language model behind an OpenAI-compatible endpoint: what asking it costs, how often, how long, what is remembered.

Knows nothing of what is asked. Imports asyncio and httpx only inside functions. httpx comes with datasets, gradio and
huggingface_hub.
"""

from __future__ import annotations

import email.utils
import hashlib
import json
import math
import os
import random
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from trainer.errors import Unfit
from trainer.machine import addresses
from trainer.rewards.contract import Failure
from trainer.text import Message

FIRST_PAUSE_S = 0.5
"""Before the second attempt; it doubles with every further one."""
REMEMBERED = 10_000
"""Most answers that are kept, of one judge."""
MOST_BYTES = 4 * 2**20
"""Read of an answer: a model that thinks writes long ones, a server that never ends one must not fill the memory."""
MOST_TOKENS = 2**53
"""Counted of one answer: a larger number is none, and a float could not hold it."""
TOKENS = ("prompt_tokens", "completion_tokens")
UNITS = ("calls", *TOKENS)
"""What an answer costs: requests, and tokens by the names of the protocol."""

T = TypeVar("T")
Shown = Callable[[str], str]
"""The beginning of what a server sent, as a reason may show it."""


class TryAgain(Exception):
    """What was wrong with an attempt that another one may not meet, and the pause the server asked for."""

    def __init__(self, why: Message, pause_s: float | None = None) -> None:
        super().__init__(why)
        self.why, self.pause_s = why, pause_s


@dataclass(frozen=True)
class Question(Generic[T]):
    """read: what a reply to the text says. It raises TryAgain for a reply that another attempt may make better."""

    text: str
    read: Callable[[str, Shown], T | Failure]


@dataclass
class Cost:
    """Requests that were sent, the attempts again among them, and tokens as the server has counted them."""

    calls: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    counts_tokens: bool = False
    """Some reply has said how many tokens it took."""

    def add(self, body: Any) -> None:
        """The `usage` of a chat completion; many servers leave it out."""
        usage = body.get("usage") if isinstance(body, dict) else None
        for name in TOKENS:
            count = usage.get(name) if isinstance(usage, dict) else None
            if isinstance(count, int) and not isinstance(count, bool) and 0 <= count <= MOST_TOKENS:
                self.counts_tokens = True
                setattr(self, name, getattr(self, name) + count)

    def taken(self) -> dict[str, float]:
        """{unit: number} since it was last taken; without tokens where no reply has ever named any."""
        found = {name: float(getattr(self, name)) for name in UNITS if self.counts_tokens or name not in TOKENS}
        self.calls = self.prompt_tokens = self.completion_tokens = 0
        return found


@dataclass
class Endpoint(Generic[T]):
    """An endpoint that is asked. asked: the fields of a request beside the messages.

    Raises Unfit where the settings cannot work.
    """

    base_url: str
    asked: dict[str, Any]
    api_key_env: str
    concurrency: int
    retries: int
    timeout_s: float
    deadline_s: float
    cache: bool
    cost: Cost = field(default_factory=Cost)
    known: OrderedDict[bytes, T] = field(default_factory=OrderedDict)
    """By a hash of the question: the texts of a group, 10,000 times, would be gigabytes."""
    jitter: random.Random = field(default_factory=random.Random)  # not the module's: the training draws from that

    def __post_init__(self) -> None:
        in_time = 0 < self.timeout_s <= self.deadline_s < math.inf
        if self.concurrency < 1 or self.retries < 0 or self.asked["max_tokens"] < 1 or not in_time:
            raise Unfit("rewards.unfit.judge_sizes")
        # A key itself, perhaps, which would be in every copy of the settings.
        if not isinstance(self.api_key_env, str) or not self.api_key_env.isidentifier():
            raise Unfit("rewards.unfit.judge_key_name")
        if not addresses.is_plain(str(self.base_url)):
            raise Unfit("rewards.unfit.judge_url")
        self.url = f"{self.base_url.rstrip('/')}/chat/completions"

    def answers(self, questions: Sequence[Question[T]]) -> list[T | Failure]:
        """One a question; none of them raises."""
        if not self.cache:
            return self._all_in_time(questions)
        marks = [hashlib.sha256(one.text.encode()).digest() for one in questions]
        fresh = {mark: one for mark, one in zip(marks, questions, strict=True) if mark not in self.known}
        found = dict(zip(fresh, self._all_in_time(list(fresh.values())), strict=True)) if fresh else {}
        values = [found[mark] if mark in found else self.known[mark] for mark in marks]
        # A failure is not remembered: the endpoint may be back in the next step.
        self.known |= {mark: answer for mark, answer in found.items() if not isinstance(answer, Failure)}
        while len(self.known) > REMEMBERED:
            self.known.popitem(last=False)
        return values

    def _all_in_time(self, questions: Sequence[Question[T]]) -> list[T | Failure]:
        """Not by asyncio.run, which waits for a name that is still looked up, whatever the deadline."""
        from trainer.rewards import event_loop

        found: list[T | Failure] = event_loop.finish(self._all(questions))
        return found

    async def _all(self, questions: Sequence[Question[T]]) -> list[T | Failure]:
        import asyncio

        import httpx

        key = os.environ.get(self.api_key_env, "").strip()
        if not (key.isascii() and (not key or key.isprintable())):
            return [Failure(Message("rewards.judge.bad_key", name=self.api_key_env))] * len(questions)
        slots = asyncio.Semaphore(self.concurrency)
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        limits = httpx.Limits(max_connections=self.concurrency)
        async with httpx.AsyncClient(headers=headers, timeout=self.timeout_s, limits=limits) as client:

            async def one(question: Question[T]) -> T | Failure:
                async with slots:
                    return await self._asked(client, question, key)

            tasks = [asyncio.ensure_future(one(question)) for question in questions]
            await asyncio.wait(tasks, timeout=self.deadline_s) if tasks else None
            late = Failure(Message("rewards.judge.late", seconds=f"{self.deadline_s:g}"))
            found = [task.result() if task.done() else late for task in tasks]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)  # so that none goes on after the batch
            return found

    async def _asked(self, client: Any, question: Question[T], key: str) -> T | Failure:
        """All attempts at one question."""
        import asyncio

        pause_s = FIRST_PAUSE_S
        for attempt in range(self.retries + 1):
            try:
                return await self._attempt(client, question, key)
            except TryAgain as error:
                why, wanted_s = error.why, error.pause_s
            if attempt < self.retries:
                await asyncio.sleep(min(wanted_s or pause_s * self.jitter.uniform(0.5, 1), self.timeout_s))
                pause_s *= 2
        return Failure(Message("rewards.judge.gave_up", why=why, count=self.retries + 1))

    async def _attempt(self, client: Any, question: Question[T], key: str) -> T | Failure:
        """Raises TryAgain. Error texts of httpx are not shown: of a header it cannot send they quote the key."""
        import asyncio

        import httpx

        request = self.asked | {"messages": [{"role": "user", "content": question.text}]}
        self.cost.calls += 1
        try:
            # httpx's own limit begins anew with every byte.
            async with asyncio.timeout(self.timeout_s), client.stream("POST", self.url, json=request) as answer:
                content = await _beginning(answer)
        except (TimeoutError, httpx.TimeoutException):
            raise TryAgain(Message("rewards.judge.silent", seconds=f"{self.timeout_s:g}")) from None
        except httpx.HTTPError as error:
            raise TryAgain(Message("rewards.judge.unreachable", said=type(error).__name__)) from None
        status = answer.status_code
        if status in (408, 429) or status >= 500:
            raise TryAgain(Message("rewards.judge.busy", status=status), _seconds(answer.headers.get("retry-after")))
        if status in (401, 403):  # what such answers say quotes parts of the key
            said = "rewards.judge.key_refused" if key else "rewards.judge.key_wanted"
            return Failure(Message(said, status=status, name=self.api_key_env))
        if status != 200:
            return Failure(Message("rewards.judge.status", status=status, said=_shown(content, key)))
        try:
            body = json.loads(content)
            self.cost.add(body)
            reply = body["choices"][0]["message"]["content"]
        except (ValueError, LookupError, TypeError, RecursionError):
            return Failure(Message("rewards.judge.no_completion", said=_shown(content, key)))
        return question.read(str(reply or ""), lambda text: _shown(text, key))


def after_thinking(reply: str) -> str | Failure:
    """What a model says after its <think> block; a Failure where it never came to an end of it."""
    _, _, said = reply.rpartition("</think>")
    return Failure(Message("rewards.judge.thinking")) if "<think>" in said else said


async def _beginning(answer: Any) -> bytes:
    """The first MOST_BYTES of what a server sends, and a piece more where it sends more: that is no JSON then."""
    content = bytearray()
    async for piece in answer.aiter_bytes():
        content += piece
        if len(content) > MOST_BYTES:
            break
    return bytes(content)


def _seconds(wanted: str | None) -> float | None:
    """Of a Retry-After header: seconds or a date."""
    if wanted is None:
        return None
    try:
        return max(0.0, float(wanted))  # 0 of a nan
    except ValueError:
        pass
    try:
        return max(0.0, email.utils.parsedate_to_datetime(wanted).timestamp() - time.time())
    except (ValueError, OverflowError):
        return None


def _shown(sent: str | bytes, key: str) -> str:
    """The beginning of what the server sent, without the key, which some servers repeat."""
    text = sent if isinstance(sent, str) else sent.decode("utf-8", "replace")
    text = " ".join((text.replace(key, "***") if key else text).split())
    return repr(text if len(text) <= 120 else text[:117] + "...")
