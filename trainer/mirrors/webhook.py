"""What a webhook is told of a run, and the telling: one POST, a few tries, and no more.

JSON for programs, {"text": ...} for Slack and what takes its form. The address is a secret: it stands in no message and
no log. Standard library only.
"""

from __future__ import annotations

import http.client
import json
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from trainer.machine.secrets import Redactor
from trainer.run.records import (
    AlertEvent,
    EndEvent,
    RunFailedEvent,
    RunFinishedEvent,
    RunPausedEvent,
)
from trainer.text import Words, forms

TIMEOUT_S = 10.0
WAITS_S = (2.0, 8.0, 30.0)  # between the tries
SLACK = "hooks.slack.com"
_AGAIN = {408, 429}  # answers of 4xx that another try may change
MOST_TEXT = 600  # characters of a sentence


class _NowhereElse(urllib.request.HTTPRedirectHandler):
    """An address that sends on to another one was not the one that was chosen."""

    def redirect_request(self, *_: Any) -> None:
        return None


def address(setting: str, environment: Mapping[str, str]) -> str | None:
    """What log.webhook means: itself, or what is in the variable it names; None where that is empty."""
    return (environment.get(setting[1:]) or "").strip() or None if setting.startswith("$") else setting


def ended(event: EndEvent | None, facts: Mapping[str, Any], words: Words) -> dict[str, Any]:
    """Of the end of a run; None: its process disappeared. facts: of trainer.run.summary."""
    say = words.under("webhook")
    kind = "stopped"
    if event is None:
        kind = "lost"
    elif isinstance(event, RunFinishedEvent):
        kind = "finished"
    elif isinstance(event, RunFailedEvent):
        kind = "failed"
    elif isinstance(event, RunPausedEvent):
        kind = "paused"
    why = ""
    if isinstance(event, RunFailedEvent):
        first = event.reasons()[0].said(words)
        why = forms.printable(f"{first.where}: {first.what}")[:MOST_TEXT]
    said = say(kind, run=facts["run"], step=facts["steps"], total=facts["steps_total"] or "?", why=why)
    if facts["correct_before"] is not None and facts["correct_after"] is not None:
        key = "held_out" if facts["pairs"] is None else "ordered"
        said += " " + say(key, before=facts["correct_before"], after=facts["correct_after"])
    elif facts["reward_first"] is not None:
        said += " " + say("reward", first=facts["reward_first"], last=facts["reward_last"])
    names = (
        *("run", "steps", "steps_total", "reward_first", "reward_last", "eval_before", "eval_after"),
        *("correct_before", "correct_after", "wall_seconds"),
    )
    return {"event": kind, "text": said, **{name: facts[name] for name in names}}


def alerted(alert: AlertEvent, run: str, words: Words) -> dict[str, Any]:
    title, text = alert.said(words)
    said = words("webhook.alert", run=run, title=title, text=forms.printable(text)[:MOST_TEXT])
    return {"event": "alert", "text": said, "run": run, "level": alert.level, "alert": alert.key}


def body(message: dict[str, Any], form: str, to: str, redactor: Redactor) -> bytes:
    """As it is sent. form: log.webhook_form."""
    clean = redactor.clean({**message, "t": round(time.time(), 3)})
    slack = form == "slack" or (form == "auto" and urlsplit(to).hostname == SLACK)
    return json.dumps({"text": clean["text"]} if slack else clean, ensure_ascii=False).encode()


def send(to: str, data: bytes) -> str:
    """ "" when it was taken, else why not: in a few words, without the address."""
    opener = urllib.request.build_opener(_NowhereElse)
    said = ""
    for wait_s in (*WAITS_S, None):
        try:
            request = urllib.request.Request(to, data, {"Content-Type": "application/json", "User-Agent": "onegrpo"})
            with opener.open(request, timeout=TIMEOUT_S):
                return ""
        except urllib.error.HTTPError as error:
            error.close()
            said = f"HTTP {error.code}"
            if error.code < 500 and error.code not in _AGAIN:
                break
        except (OSError, http.client.HTTPException, ValueError) as error:
            said = type(getattr(error, "reason", error)).__name__
        if wait_s is not None:
            time.sleep(wait_s)
    return said
