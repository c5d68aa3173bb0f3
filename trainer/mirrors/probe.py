"""Can W&B be reached with this key? One short request before anything slow is begun.

wandb itself retries for minutes, which is right in the middle of a run and wrong before its first step. Standard
library only.
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

REFUSED = "refuses the key"
PROBE_S = 5.0  # for all of it: name, connection, handshake, answer
_QUERY = json.dumps({"query": "query { viewer { id } }"}).encode()


def trouble(base_url: str, key: str | None, seconds: float = PROBE_S) -> str | None:
    """Why it cannot be used, in words; None when it can, or when only wandb itself can tell.

    key: None when the right to write comes from somewhere else and is not looked at.
    """
    host = urlsplit(base_url).hostname or base_url
    answers: queue.Queue[str | None] = queue.Queue()
    # In a thread: looking up a name has no time limit of its own, nor has a server that sends a byte now and then.
    threading.Thread(target=lambda: answers.put(_ask(base_url, host, key, seconds)), daemon=True).start()
    try:
        return answers.get(timeout=seconds)
    except queue.Empty:
        return f"{host} did not answer within {seconds:g} s"


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """urllib would take the key along to wherever it is sent."""

    def redirect_request(self, *_: Any) -> None:
        return None


def _ask(base_url: str, host: str, key: str | None, seconds: float) -> str | None:
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
            return f"{host} {REFUSED}"
        return None  # it is there; what else it wants wandb knows better
    except (OSError, ValueError) as error:
        return _in_words(getattr(error, "reason", error), host, seconds)
    except Exception as error:  # http.client's own errors: whatever answers there does not speak HTTP
        return f"{host} gives no proper answer ({type(error).__name__})"


def _judge(body: bytes, host: str, key: str | None) -> str | None:
    try:
        answer = json.loads(body)
    except ValueError:
        return f"something else answers for {host}: a log-in page of the network?"
    viewer = (answer.get("data") or {}).get("viewer") if isinstance(answer, dict) else None
    return None if viewer or key is None else f"{host} {REFUSED}"


def _in_words(reason: object, host: str, seconds: float) -> str | None:
    if isinstance(reason, ssl.SSLCertVerificationError):
        return None  # Python may lack certificates that wandb's own program finds
    if isinstance(reason, socket.gaierror):
        return f"the name {host} cannot be looked up: no network?"
    if isinstance(reason, TimeoutError):
        return f"{host} did not answer within {seconds:g} s"
    said = reason.strerror if isinstance(reason, OSError) and reason.strerror else str(reason)
    return f"{host} cannot be reached: {said}"
