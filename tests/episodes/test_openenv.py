"""Episodes on an OpenEnv server: tools from its schemas, a session each, rewards added up, errors by name."""

from __future__ import annotations

import random
import socket
import threading
import time
from typing import Any

import pytest
from transformers.utils import get_json_schema

from tests.episodes.openenv_server import ACTION, NUMBER, TOOL, Server, serving
from tests.latin import in_korean
from trainer import preflight, presets
from trainer.episodes import check
from trainer.episodes.contract import Tool, method
from trainer.episodes.host import Asked, Host, Lost, Raised
from trainer.episodes.openenv import arguments
from trainer.episodes.own import Recipe
from trainer.errors import RewardError, SpecError
from trainer.text import Message

ROWS = [{"prompt": "a"}, {"prompt": "b"}]


def host_of(server: Server, deadline_s: float = 20.0) -> Host:
    return Host(Recipe.of("openenv", None, server.url), deadline_s, 4.0)


def begun(host: Host, slot: int, seed: int = 5) -> int:
    """The number that is to be guessed."""
    host.ask(slot, Asked("1", "reset", {"seed": seed, "prompt": "a"}))
    return random.Random(seed).randint(1, 3)


def ask(host: Host, slot: int, tool: str, **given: Any) -> tuple[str | None, float | None]:
    reply = host.ask(slot, Asked("1", tool, given), True)
    return reply.text, reply.rating


def test_a_server_with_actions_is_one_tool_that_steps() -> None:
    with serving() as server:
        host = host_of(server)
        (tool,) = host.described.tools
        assert (tool.name, [one.name for one in tool.parameters]) == ("step", ["number"])
        found = check.trial(host, ROWS)
        assert (found.problems, found.notes) == ([], [])
        number = begun(host, 0)
        wrong = number % 3 + 1
        said = "higher" if wrong < number else "lower"
        assert ask(host, 0, "step", number=wrong) == (said, 0.25)
        assert server.seen[-1] == {"type": "step", "data": {"kind": "guess", "number": wrong}}
        with pytest.raises(Raised, match=r"^ValueError: Invalid message: number: must be a whole number$"):
            ask(host, 0, "step", number="x")
        assert ask(host, 0, "step", number=number) == ('{"said": "right", "left": [1]}', 1.25)
        before = len(server.seen)
        assert ask(host, 0, "step", number=wrong) == ("the episode is over", 1.25)
        assert len(server.seen) == before
        host.close()


def test_a_server_with_mcp_tools_is_called_by_their_names() -> None:
    with serving(tools=[TOOL]) as server:
        host = host_of(server)
        (tool,) = host.described.tools
        assert tool.doc == "Guess the number.\n\nArgs:\n    number: Your guess.\n    loud: loud"
        assert check.trial(host, ROWS).problems == []
        first = host.ask(0, Asked("1", "reset", {"seed": 5, "prompt": "a"})).text
        assert first == "\n1 to 3"
        assert ask(host, 0, "guess-it", number=random.Random(5).randint(1, 3), loud=True) == ("right", 0.25)
        assert server.seen[-1]["data"]["arguments"]["loud"] is True
        with pytest.raises(Raised, match="far too high"):
            ask(host, 0, "guess-it", number=99)
        host.close()


def test_sessions_are_apart_and_closed_when_the_batch_is_over() -> None:
    with serving(most=8) as server:
        host = host_of(server)
        for _ in range(3):  # more than the server holds, were they left open
            numbers = [begun(host, slot, seed=slot) for slot in range(8)]
            assert [ask(host, slot, "step", number=number)[1] for slot, number in enumerate(numbers)] == [1.25] * 8
            host.forget()
        host.close()
        end = time.monotonic() + 5.0
        while server.sessions and time.monotonic() < end:
            time.sleep(0.02)
        assert server.sessions == 0


@pytest.mark.parametrize(
    ("number", "why"),
    [
        (66, "returned 'much' where a number"),
        (67, "returned 1000.* where a number"),
        (69, "lost the server .*answered a message of the type nothing"),
        (77, "lost the server .*the server has closed the connection"),
        (88, "was refused by the server"),
    ],
)
def test_a_session_that_breaks_loses_its_row_and_no_other(number: int, why: str) -> None:
    with serving() as server:
        host = host_of(server)
        begun(host, 0)
        right = begun(host, 1)
        with pytest.raises(Lost, match=why) as lost:
            ask(host, 0, "step", number=number)
        in_korean(lost.value.why)
        assert ask(host, 1, "step", number=right)[1] == 1.25
        host.close()


def test_pings_are_answered_while_the_model_writes() -> None:
    """A server closes a session whose pings are not answered, and a turn of a large model takes minutes."""
    with serving() as server:
        host = host_of(server)
        right = begun(host, 0)
        before = server.pongs
        for _ in range(2):
            server.open[-1].ping()
        end = time.monotonic() + 10
        while server.pongs < before + 2 and time.monotonic() < end:
            time.sleep(0.05)
        assert server.pongs == before + 2
        assert ask(host, 0, "step", number=right)[1] == 1.25
        host.close()


def test_an_error_of_another_shape_is_told_to_the_model() -> None:
    with serving() as server:
        host = host_of(server)
        begun(host, 0)
        with pytest.raises(Raised, match=r"^ValueError: VALIDATION_ERROR: number: no$"):
            ask(host, 0, "step", number=68)
        host.close()


def test_episodes_that_cannot_be_begun_again_do_not_each_take_the_whole_deadline() -> None:
    """One hangs, and the server does not begin those again that were under way."""
    with serving() as server:
        host = host_of(server, deadline_s=2.0)
        for slot in range(5):
            begun(host, slot)
        host.close()
        server.stuck.clear()
        began, said = time.monotonic(), []
        for slot in range(5):
            with pytest.raises(Lost) as lost:
                ask(host, slot, "step", number=1)
            said.append(str(lost.value))
        server.stuck.set()
        assert said == [f"took longer than {seconds} s" for seconds in ("2", "1", "0.67", "0.5", "0.5")]
        assert time.monotonic() - began < 2 + 1 + 0.7 + 0.5 + 0.5 + 8  # and five starts of the process
        assert host.late == 0
        host.relax()
        assert host.late_again == 0
        host.close()


def test_a_server_without_room_loses_the_rows_it_refuses() -> None:
    with serving(most=2) as server:
        host = host_of(server)
        begun(host, 0)
        begun(host, 1)
        time.sleep(2.1)  # no session was closed for so long that this one could come free
        with pytest.raises(Lost, match="Server at capacity"):
            begun(host, 2)
        host.close()


def test_a_process_that_is_replaced_plays_the_episodes_again() -> None:
    with serving() as server:
        host = host_of(server)
        number = begun(host, 0)
        ask(host, 0, "step", number=number % 3 + 1)
        host.close()
        assert ask(host, 0, "step", number=number)[1] == 1.25
        assert [message["type"] for message in server.seen[-3:]] == ["reset", "step", "step"]
        host.close()


# ---- what is refused before training


def refused(**options: Any) -> str:
    with serving(**options) as server, pytest.raises(RewardError) as caught:
        host_of(server)
    return str(caught.value)


def test_a_server_that_cannot_be_used_is_named_with_the_reason() -> None:
    assert "the OpenEnv server offers no tool" in refused(tools=[], action={"properties": {"tool_name": {}}})
    assert "/schema: no schema of an action" in refused(action={"type": "string"})
    assert "a tool called _x, a name that is taken" in refused(tools=[TOOL | {"name": "_x"}])
    strange = ACTION | {"properties": {"number": {"title": "X"}}}
    assert "number of the tool step has a schema without a type" in refused(action=strange)
    badly = ACTION | {"properties": {"class": NUMBER}}
    assert "class of the tool step is no name that an argument can have" in refused(action=badly)
    assert "refuses a session: CAPACITY_REACHED Server at capacity" in refused(most=0)
    with serving() as server:
        url = server.url
        with pytest.raises(RewardError, match=r"does not answer as an OpenEnv server \(/ws: .*HTTP 404\)"):
            Host(Recipe.of("openenv", None, f"{url}/elsewhere"), 10.0, 4.0)
    with pytest.raises(RewardError, match=r"cannot be reached: .*Connect call failed"):
        Host(Recipe.of("openenv", None, url), 10.0, 4.0)


@pytest.mark.parametrize("schema", [5, {"properties": ["a"]}, {"properties": {}, "required": 5}, {"$defs": [1]}])
def test_a_schema_that_is_none_is_named_with_its_tool(schema: Any) -> None:
    said = "describes the arguments of the tool guess-it by no JSON schema"
    assert said in refused(tools=[TOOL | {"inputSchema": schema}])


@pytest.mark.parametrize(
    "found", [True, {"enum": [[1]]}, {"anyOf": [{"const": {"a": 1}}]}, {"type": []}, {"$ref": "#/$defs/A"}]
)
def test_an_argument_of_no_type_is_named(found: Any) -> None:
    with pytest.raises(RewardError, match="x of the tool go has a schema without a type that is known here"):
        arguments.of_tool("go", "", {"properties": {"x": found}}, "here")


def test_a_server_that_says_something_else_is_no_openenv() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def answer() -> None:
            with listening.accept()[0] as connection:
                connection.recv(1 << 16)
                connection.sendall(b"SSH-2.0-OpenSSH\r\n\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(RewardError, match="does not answer as an OpenEnv server") as caught:
            Host(Recipe.of("openenv", None, f"http://127.0.0.1:{listening.getsockname()[1]}"), 10.0, 4.0)
        thread.join()
        in_korean(caught.value.problems[0])


def test_what_a_server_says_wrong_is_said_in_korean() -> None:
    with serving(tools=[TOOL | {"inputSchema": {"required": 5}}]) as server, pytest.raises(RewardError) as caught:
        host_of(server)
    in_korean(caught.value.problems[0])
    found: dict[str, dict[str, Any]] = {
        "at": {"path": "/ws", "why": Message("episodes.server.no_websocket")},
        "closed": {"code": 1011},
        "long": {"most": 2**24},
        "no_json": {},
        "no_message": {},
        "no_action": {},
        "endless_type": {},
    }
    for key, values in found.items():
        in_korean(Message(f"episodes.server.{key}", **values))


def test_preflight_plays_with_the_server() -> None:
    with serving() as server:
        sets = ["episode.environment=openenv", f"episode.url={server.url}"]
        spec = presets.load("tiny-guess", sets)
        assert preflight.rewards.tried(spec) == []
        assert [message["type"] for message in server.seen].count("reset") == 4  # two rows, each of them twice
    (problem,) = preflight.rewards.tried(spec)
    assert problem.key == "episodes.openenv.unreachable"


@pytest.mark.parametrize(
    ("sets", "said"),
    [
        (["episode.environment=openenv"], "episode.url: is missing"),
        (
            ["episode.url=http://localhost:8000"],
            'names a server, and episode.environment is not "openenv"',
        ),
        (["episode.environment=openenv", "episode.url=localhost:8000"], 'episode.url: is "localhost:8000", must be'),
        (["episode.environment=openenv", "episode.url=ws://localhost"], "must be the http or https address"),
        (["episode.environment=openenv", "episode.url=http://me:word@host"], "without a name and password"),
        (["episode.environment=openenv", "episode.url=http://host:99999"], "must be the http or https address"),
        (["episode.environment=openenw"], "openenv"),
    ],
)
def test_an_address_that_is_none_is_refused(sets: list[str], said: str) -> None:
    with pytest.raises(SpecError) as caught:
        presets.load("tiny-guess", sets)
    assert said in str(caught.value)


# ---- schemas


def test_types_of_a_schema_are_told_to_the_model() -> None:
    schema = {
        "$defs": {"Way": {"enum": ["north", "south"]}},
        "properties": {
            "way": {"$ref": "#/$defs/Way", "description": "Where\nto."},
            "names": {"type": "array", "items": {"type": "string"}},
            "far": {"anyOf": [{"type": "number"}, {"type": "null"}], "default": None},
            "more": {"type": "object"},
            "either": {"type": ["integer", "string"]},
            "kind": {"const": "go"},
        },
        "required": ["way", "names", "either"],
    }
    tool = arguments.of_tool("go", "Go on.", schema, "here")
    assert arguments.constants(schema) == {"kind": "go"}
    kinds = {one.name: (one.kind, one.default) for one in tool.parameters}
    assert kinds == {
        "way": (["literal", "north", "south"], []),
        "names": (["list", "str"], []),
        "far": (["union", "float", "None"], [None]),
        "more": (["union", "dict", "None"], [None]),
        "either": (["union", "int", "str"], []),
    }

    def nothing(stand_in: Any, tool: Tool, given: dict[str, Any]) -> str:
        return ""

    told = get_json_schema(method(tool, nothing))["function"]
    assert told["description"] == "Go on." and told["parameters"]["required"] == ["way", "names", "either"]
    assert told["parameters"]["properties"]["way"] == {
        "type": "string",
        "enum": ["north", "south"],
        "description": "Where to.",
    }


def test_a_description_of_choices_in_words_can_be_told() -> None:
    schema = {"properties": {"way": {"type": "string", "description": "Where (choices: north, south)"}}}
    tool = arguments.of_tool("go", "Go on.", schema, "here")
    told = get_json_schema(method(tool, lambda stand_in, tool, given: ""))["function"]
    assert told["parameters"]["properties"]["way"]["description"] == "Where (one of: north, south)"


def test_a_schema_that_refers_to_itself_is_refused() -> None:
    schema = {"$defs": {"A": {"$ref": "#/$defs/A"}}, "properties": {"x": {"$ref": "#/$defs/A"}}}
    with pytest.raises(RewardError, match="types in types without an end"):
        arguments.of_tool("go", "", schema, "here")
