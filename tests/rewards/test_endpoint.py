"""What a server that judges may send, and what may not come of it: no hang, no full memory, no wrong grade."""

from __future__ import annotations

import json
import socket
import string
import time
import tracemalloc
from typing import Any

import pytest

from tests.judge_server import Endpoint, says
from trainer.rewards.contract import Failure
from trainer.rewards.library import REWARDS
from trainer.rewards.library.endpoint import MOST_BYTES
from trainer.rewards.library.endpoint import Endpoint as Asked
from trainer.rewards.library.group_judge import _ranking
from trainer.rewards.library.judge import _grade

KEY = "sk-proj-0123456789"


def judge(endpoint: Endpoint, **params: Any) -> Any:
    given = {"prompt": "Grade it: {completion}", "api_key_env": "JUDGE_KEY"} | params
    return REWARDS["llm_judge"]("judge-1", endpoint.url, **given)


def pay(endpoint: Endpoint, **params: Any) -> Any:
    return judge(endpoint, **params)(prompts=["p"], completions=["text"])[0]


# ---- time


def test_a_name_that_is_looked_up_for_long_does_not_outlast_the_deadline(
    endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = socket.getaddrinfo

    def slow(*arguments: Any, **options: Any) -> Any:
        endpoint.closing.wait(6)
        return real(*arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    began = time.monotonic()
    url = endpoint.url.replace("127.0.0.1", "localhost")  # an address is not looked up
    made = REWARDS["llm_judge"]("m", url, prompt="{completion}", timeout_s=0.3, deadline_s=0.3)
    (found,) = made(prompts=["p"], completions=["text"])
    assert time.monotonic() - began < 3
    assert isinstance(found, Failure)


def test_what_is_late_is_not_asked_after_its_batch(endpoint: Endpoint) -> None:
    def slow(question: str) -> Any:
        endpoint.closing.wait(0.5)
        return says("5")

    endpoint.reply = slow
    made = judge(endpoint, concurrency=1, timeout_s=0.3, deadline_s=0.3)
    made(prompts=["p"] * 4, completions=list("abcd"))
    asked = len(endpoint.asked)
    time.sleep(1.0)
    assert len(endpoint.asked) == asked == 1


@pytest.mark.parametrize(
    "after", ["Mon, 01 Jan 2020 99999999999999:00:00 GMT", "Mon, 01 Jan 2020 00:00:00 +" + "9" * 26]
)
def test_a_date_beyond_all_dates_is_no_pause(endpoint: Endpoint, after: str) -> None:
    replies = iter([(503, {"Retry_After": after}, b""), says("9")])
    endpoint.reply = lambda question: next(replies)
    assert pay(endpoint) == 0.9


def test_a_long_reply_is_read_once() -> None:
    """Each of these took minutes with expressions that begin anew at every letter."""
    letters = string.ascii_uppercase
    chain = " > ".join(letters[place % 26] for place in range(100_000)) + " >"
    began = time.monotonic()
    with pytest.raises(Exception, match="gave no ranking"):
        _ranking(chain, lambda text: "", letters="AB")
    assert isinstance(_grade("x" + " " * 300_000 + "x", lambda text: "", 0, 10), Failure)
    assert time.monotonic() - began < 5


# ---- memory


def test_an_answer_without_an_end_is_not_read_to_its_end(endpoint: Endpoint) -> None:
    endpoint.reply = lambda question: (200, {}, b"x" * (16 * MOST_BYTES))
    judge(endpoint)(prompts=["p"], completions=["warm"])
    tracemalloc.start()
    try:
        endpoint.reply = lambda question: (200, {}, served)
        served = b"x" * (16 * MOST_BYTES)
        tracemalloc.reset_peak()
        before, _ = tracemalloc.get_traced_memory()
        found = pay(endpoint)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert "is not a chat completion: 'xxx" in found.reason
    assert peak - before < 6 * MOST_BYTES


def test_what_is_remembered_of_a_question_is_small(endpoint: Endpoint) -> None:
    asked: Asked[float] = Asked(endpoint.url, {"max_tokens": 1}, "JUDGE_KEY", 1, 0, 5.0, 5.0, True)
    from trainer.rewards.library.endpoint import Question

    assert asked.answers([Question("long " * 10_000, lambda reply, shown: float(reply))]) == [5.0]
    (kept,) = asked.known
    assert len(kept) == 32


def test_a_number_of_tokens_that_no_answer_has_is_not_counted(endpoint: Endpoint) -> None:
    body = {"choices": [{"message": {"content": "5"}}], "usage": {"prompt_tokens": 10**400, "completion_tokens": 2}}
    endpoint.reply = lambda question: (200, {}, json.dumps(body).encode())
    made = judge(endpoint)
    assert made(prompts=["p"], completions=["a"]) == [0.5]
    assert made.cost() == {"calls": 1, "prompt_tokens": 0, "completion_tokens": 2}


# ---- grades and ranks


@pytest.mark.parametrize("reply", ["1,000", "1,000 out of 1,000", "1000/1,000", "1,000.0"])
def test_a_comma_between_thousands_is_no_decimal_one(reply: str) -> None:
    assert _grade(reply, repr, 0, 1000) == 1.0


def test_a_decimal_comma_stays_one() -> None:
    assert _grade("7,5", repr, 0, 10) == _grade("7,500", repr, 0, 10) == 0.75


@pytest.mark.parametrize("reply", ["B >> A > B", "b > A > B", "C < A > B"])
def test_the_end_of_a_chain_is_no_ranking(reply: str) -> None:
    with pytest.raises(Exception, match="gave no ranking"):
        _ranking(reply, repr, letters="AB")


# ---- what is refused when the reward is made


@pytest.mark.parametrize(
    "field", ["{completion:.10}", "{completion!r}", "{completion:{width}}", "{completion} {answer:.2f}"]
)
def test_a_field_with_a_format_is_refused(field: str) -> None:
    with pytest.raises(ValueError, match="not just the name of a column"):
        REWARDS["llm_judge"]("m", "http://127.0.0.1/v1", prompt=field)


@pytest.mark.parametrize(
    "url", ["http://:pw@host/v1", "http://host/v1?key=1", "http://host/v1#x", "http://ho st/v1", 5]
)
def test_an_address_with_more_than_a_path_is_refused(url: Any) -> None:
    with pytest.raises(ValueError, match="without a user, a key or a query"):
        REWARDS["llm_judge"]("m", url, prompt="{completion}")


@pytest.mark.parametrize("name", [KEY, "", None, "MY KEY"])
def test_a_key_in_place_of_the_name_of_its_variable_is_refused_and_not_shown(name: Any) -> None:
    with pytest.raises(ValueError, match="must be the name of an environment variable") as caught:
        REWARDS["llm_judge"]("m", "http://127.0.0.1/v1", prompt="{completion}", api_key_env=name)
    assert KEY not in str(caught.value)
