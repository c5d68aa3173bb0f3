"""Can W&B be reached with this key? One short request before anything slow is begun.

wandb itself retries for minutes, which is right in the middle of a run and wrong before its first step. Standard
library and trainer.text.
"""

from __future__ import annotations

import base64
import json
import queue
import socket
import ssl
import threading
import urllib.error
import urllib.request
from typing import Any
from urllib.parse import urlsplit

from trainer.text import Message

REFUSED = "mirror.why.refused"  # key of that message
PROBE_S = 5.0  # for all of it: name, connection, handshake, answer
_QUERY = json.dumps({"query": "query { viewer { id } }"}).encode()


def trouble(base_url: str, key: str | None, seconds: float = PROBE_S) -> Message | None:
    """Why it cannot be used; None when it can, or when only wandb itself can tell.

    key: None when the right to write comes from somewhere else and is not looked at.
    """
    host = urlsplit(base_url).hostname or base_url
    answers: queue.Queue[Message | None] = queue.Queue()
    # In a thread: looking up a name has no time limit of its own, nor has a server that sends a byte now and then.
    threading.Thread(target=lambda: answers.put(_ask(base_url, host, key, seconds)), daemon=True).start()
    try:
        return answers.get(timeout=seconds)
    except queue.Empty:
        return Message("mirror.why.no_answer", host=host, seconds=seconds)


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """urllib would take the key along to wherever it is sent."""

    def redirect_request(self, *_: Any) -> None:
        return None


def _ask(base_url: str, host: str, key: str | None, seconds: float) -> Message | None:
    headers = {"Content-Type": "application/json", "User-Agent": "onegrpo"}
    if key is not None:
        headers["Authorization"] = "Basic " + base64.b64encode(f"api:{key}".encode()).decode()
    opener = urllib.request.build_opener(_NoRedirects())  # proxies of the environment are its default
    try:
        request = urllib.request.Request(f"{base_url.rstrip('/')}/graphql", _QUERY, headers)
        with opener.open(request, timeout=seconds) as response:
            return _judge(response.read(1 << 16), host, key)
    except urllib.error.HTTPError as error:
        if error.code in (401, 403) and key is not None:
            return Message(REFUSED, host=host)
        return None  # it is there; what else it wants wandb knows better
    except (OSError, ValueError) as error:
        return _in_words(getattr(error, "reason", error), host, seconds)
    except Exception as error:  # http.client's own errors: whatever answers there does not speak HTTP
        return Message("mirror.why.not_http", host=host, said=type(error).__name__)


def _judge(body: bytes, host: str, key: str | None) -> Message | None:
    try:
        answer = json.loads(body)
    except ValueError:
        return Message("mirror.why.other", host=host)
    viewer = (answer.get("data") or {}).get("viewer") if isinstance(answer, dict) else None
    return None if viewer or key is None else Message(REFUSED, host=host)


def _in_words(reason: object, host: str, seconds: float) -> Message | None:
    if isinstance(reason, ssl.SSLCertVerificationError):
        return None  # Python may lack certificates that wandb's own program finds
    if isinstance(reason, socket.gaierror):
        return Message("mirror.why.no_name", host=host)
    if isinstance(reason, TimeoutError):
        return Message("mirror.why.no_answer", host=host, seconds=seconds)
    said = reason.strerror if isinstance(reason, OSError) and reason.strerror else str(reason)
    return Message("mirror.why.unreachable", host=host, said=said)
