"""An episode on an OpenEnv server, by the contract of trainer.episodes.contract.

Messages over /ws (openenv-core 0.3.0, openenv/core/env_server/types.py, `WSResetMessage` to `WSErrorResponse`):

    {"type": "reset", "data": {"seed": 1, ...}}   -> {"type": "observation", "data": {observation, reward, done}}
    {"type": "step", "data": action}              -> the same
    {"type": "mcp", "data": JSON-RPC}             -> {"type": "mcp", "data": JSON-RPC}
    anything                                      -> {"type": "error", "data": {message, code}}

What an episode is worth is the sum of the rewards of its steps, that of reset included.
"""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Mapping
from typing import Any, ClassVar
from urllib.parse import urlsplit

from trainer.episodes.contract import RESET, REWARD, Cut, Tool, method
from trainer.episodes.openenv import arguments
from trainer.episodes.openenv.websocket import MOST, Broken, Refused, WebSocket
from trainer.errors import Problem, RewardError
from trainer.machine import regular_files
from trainer.rewards.contract import LARGEST
from trainer.text import Message

NAME, PATH, SCHEMA = "openenv", "/ws", "/schema"
CONNECT_S = 10.0
ANSWER_S = 3600.0
"""The deadline of a call is the host's (episode.deadline_s), which ends this process."""
ROOM_S = 2.0
"""A server may take a moment to see that the sessions of the batch before are closed."""
AGAIN_S = 0.05
OVER = "the episode is over"
OF_THE_CALL = ("VALIDATION_ERROR", "EXECUTION_ERROR")
"""Codes of what the model did wrong, or what the environment said to it; others end the episode."""
FULL = "CAPACITY_REACHED"


class Said(Exception):
    """The server answered with an error."""

    def __init__(self, data: Mapping[str, Any]) -> None:
        self.code = str(data.get("code", ""))
        places = [error for error in _as_list(data.get("errors")) if isinstance(error, dict)]
        more = "; ".join(f"{'.'.join(map(str, _as_list(one.get('loc'))))}: {one.get('msg')}" for one in places)
        super().__init__(": ".join(filter(None, (str(data.get("message") or self.code or "-"), more))))


def environment(url: str) -> type:
    """The class of its episodes, with a method for each tool. Raises RewardError: not reachable, no OpenEnv, no tools,
    tools that a model cannot be told of."""
    tools, calls_step, fixed = _offered(url)
    if not tools:
        raise RewardError(Problem("episodes.openenv.no_tools", url))
    for tool in tools:
        if tool.name.startswith("_") or tool.name in (RESET, REWARD):
            raise RewardError(Problem("episodes.openenv.tool_name", url, tool=tool.name))
    methods = {tool.name: method(tool, _call) for tool in tools}
    return type("OpenEnv", (Episode,), {**methods, "_url": url, "_calls_step": calls_step, "_fixed": fixed})


class Episode:
    """One session. Whatever does not begin with an underscore is told to the model."""

    _url: ClassVar[str]
    _calls_step: ClassVar[bool]
    """A call is an action by itself, else the name of a tool and its arguments."""
    _fixed: ClassVar[dict[str, Any]]
    _closed_at: ClassVar[float] = -ROOM_S

    def __init__(self) -> None:
        self._socket: WebSocket | None = None
        self._earned, self._over = 0.0, False

    def reset(self, seed: int, **row: Any) -> str | None:
        observation = self._begun({**row, "seed": seed})
        text = _text(observation)
        return f"\n{text}" if text else None

    def get_reward(self) -> float:
        return self._earned

    def __del__(self) -> None:
        if self._socket is not None:
            self._socket.close()
            Episode._closed_at = time.monotonic()

    def _begun(self, data: dict[str, Any]) -> Any:
        while True:
            try:
                self._socket = WebSocket(self._url, PATH, CONNECT_S)
            except OSError as error:
                raise Cut(Message("episodes.lost.connection", url=self._url, said=_why(error))) from error
            self._socket.timeout_s = ANSWER_S
            try:
                return self._asked({"type": "reset", "data": data})
            except Said as error:
                self._socket.close()
                if error.code != FULL or time.monotonic() > Episode._closed_at + ROOM_S:
                    raise Cut(Message("episodes.lost.refused", url=self._url, said=str(error))) from error
                time.sleep(AGAIN_S)

    def _asked(self, message: dict[str, Any]) -> Any:
        """The observation. Raises Said, and Cut where the connection is lost."""
        assert self._socket is not None
        try:
            data = _exchange(self._socket, message, "observation")
        except OSError as error:
            raise Cut(Message("episodes.lost.connection", url=self._url, said=_why(error))) from error
        reward = 0.0 if data.get("reward") is None else data["reward"]
        if not (isinstance(reward, (bool, int, float)) and abs(reward) <= LARGEST):  # NaN is below nothing
            raise Cut(Message("episodes.lost.no_number", seen=repr(reward)[:40]))
        self._earned += float(reward)
        self._over = bool(data.get("done"))
        return data.get("observation")


def _call(self: Episode, tool: Tool, given: dict[str, Any]) -> str:
    """What a tool answers. Raises ValueError with what is to be told to the model."""
    if self._over:
        return OVER
    called = {"type": "call_tool", "tool_name": tool.name, "arguments": given}
    try:
        observation = self._asked({"type": "step", "data": {**self._fixed, **given} if self._calls_step else called})
    except Said as error:
        if error.code not in OF_THE_CALL:
            raise Cut(Message("episodes.lost.refused", url=self._url, said=str(error))) from error
        raise ValueError(str(error)) from error
    if not self._calls_step and isinstance(observation, dict):
        failed = observation.get("error")
        if failed:
            raise ValueError(str(failed.get("message") if isinstance(failed, dict) else failed))
        return _result(observation.get("result"))
    return _text(observation) or "{}"


# ---- what a server offers


def _offered(url: str) -> tuple[list[Tool], bool, dict[str, Any]]:
    """(tools, whether a call is an action by itself, what every action says). Raises RewardError."""
    listed = _listed(url)
    if listed:
        return [_tool(one, url) for one in listed if isinstance(one, dict)], False, {}
    schema = _schema(url).get("action")
    if not isinstance(schema, dict) or not isinstance(schema.get("properties"), dict):
        raise _no_openenv(url, SCHEMA, Message("episodes.server.no_action"))
    if "tool_name" in schema["properties"]:  # a server of MCP tools that has none
        return [], False, {}
    return (
        [arguments.of_tool("step", str(schema.get("description") or ""), schema, url)],
        True,
        arguments.constants(schema),
    )


def _listed(url: str) -> list[Any] | None:
    """Its MCP tools; None of a server that has no such thing. Raises RewardError."""
    end = time.monotonic() + ROOM_S
    while True:
        try:
            found = _asked_for_tools(url).get("result")
            return found.get("tools") if isinstance(found, dict) else None
        except Said as error:
            if error.code in ("UNKNOWN_TYPE", *OF_THE_CALL):
                return None
            if error.code != FULL or time.monotonic() > end:
                said = f"{error.code} {error}"
                raise RewardError(Problem("episodes.openenv.refuses", url, said=said)) from error
            time.sleep(AGAIN_S)


def _asked_for_tools(url: str) -> dict[str, Any]:
    """JSON-RPC. Raises Said, RewardError."""
    try:
        socket = WebSocket(url, PATH, CONNECT_S)
    except Refused as error:
        raise _no_openenv(url, PATH, error.why) from error
    except OSError as error:
        raise RewardError(Problem("episodes.openenv.unreachable", url, said=_why(error))) from error
    try:
        asked = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}}
        return _exchange(socket, {"type": "mcp", "data": asked}, "mcp")
    except OSError as error:
        raise _no_openenv(url, PATH, _why(error)) from error
    finally:
        socket.close()
        Episode._closed_at = time.monotonic()


def _tool(listed: Mapping[str, Any], url: str) -> Tool:
    schema = listed.get("inputSchema", listed.get("input_schema", {}))
    return arguments.of_tool(str(listed.get("name")), str(listed.get("description") or ""), schema, url)


def _schema(url: str) -> dict[str, Any]:
    """What GET /schema answers; redirects are not followed. Raises RewardError."""
    parts = urlsplit(url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname or "", parts.port, timeout=CONNECT_S)
    try:
        connection.request("GET", f"{parts.path.rstrip('/')}{SCHEMA}")
        answer = connection.getresponse()
        if answer.status != 200:
            raise _no_openenv(url, SCHEMA, Message("plain.text", text=f"HTTP {answer.status}"))
        found = json.loads(answer.read(MOST))
        return found if isinstance(found, dict) else {}
    except (ValueError, RecursionError) as error:
        raise _no_openenv(url, SCHEMA, Message("episodes.server.no_json")) from error
    except (OSError, http.client.HTTPException) as error:
        raise _no_openenv(url, SCHEMA, _why(error)) from error
    finally:
        connection.close()


def _no_openenv(url: str, path: str, why: Message) -> RewardError:
    return RewardError(
        Problem("episodes.openenv.no_openenv", url, said=Message("episodes.server.at", path=path, why=why))
    )


def _why(error: Exception) -> Message:
    return error.why if isinstance(error, Broken) else regular_files.why(error)


# ---- messages and texts


def _exchange(socket: WebSocket, message: dict[str, Any], kind: str) -> dict[str, Any]:
    """The data of the answer. Raises Said, OSError."""
    said = socket.ask(json.dumps(message, default=str))
    try:
        answer = json.loads(said)
    except (ValueError, RecursionError) as error:
        raise Broken(Message("episodes.server.no_json")) from error
    data = answer.get("data") if isinstance(answer, dict) else None
    if not isinstance(data, dict):
        raise Broken(Message("episodes.server.no_message"))
    if answer.get("type") == "error":
        raise Said(data)
    if answer.get("type") != kind:
        raise Broken(Message("episodes.server.other_type", kind=str(answer.get("type"))[:40]))
    return data


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


def _text(observation: Any) -> str:
    """As the model reads it: the one text that it consists of, else JSON; fields without anything in them left out."""
    if isinstance(observation, dict):
        said = {key: value for key, value in observation.items() if value not in (None, "", [], {})}
        said.pop("metadata", None)
        if not said:
            return ""
        observation = next(iter(said.values())) if len(said) == 1 else said
    return observation if isinstance(observation, str) else json.dumps(observation, ensure_ascii=False)


def _result(result: Any) -> str:
    """Of an MCP tool: its data, or the texts of its content (MCP 2025-06-18, `CallToolResult`)."""
    if isinstance(result, dict) and ("content" in result or "data" in result):
        texts = [str(part.get("text", "")) for part in result.get("content") or () if isinstance(part, dict)]
        if result.get("is_error") or result.get("isError"):
            raise ValueError("\n".join(texts) or "the tool failed")
        result = result["data"] if result.get("data") is not None else "\n".join(texts)
    return result if isinstance(result, str) else json.dumps(result, ensure_ascii=False)
