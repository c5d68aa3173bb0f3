"""Junk and foreign requests at every door of the page: what a program on this machine or another web page could send.

The functions are read from the page's own list, so that a new one is asked too.
"""

from __future__ import annotations

import http.client
import itertools
import json
import re
import socket
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from tests.builders import finished, write_run
from tests.ui.conftest import PROJECT, Server, end_server, start_server

SECRET = "a-word-that-no-answer-may-hold"
MULTIPART = (
    b'--x\r\nContent-Disposition: form-data; name="files"; filename="a.txt"\r\n'
    b"Content-Type: text/plain\r\n\r\nhello\r\n--x--\r\n"
)
JUNK = {
    "up": "../x",
    "up and back": "tiny-1/../../x",
    "absolute": "/tmp/made-by-junk",
    "empty": "",
    "65 letters": "a" * 65,
    "long": "a" * 5000,
    "NUL": "tiny-1\0",
    "line end": "tiny-1\n",
    "unicode": "\u4f60\u597d-\U0001f600",
    "not text": "\ud800",
    "dash": "-rf",
    "option": "--preset=tiny",
    "encoded": "..%2f..%2fx",
    "backslash": "..\\..\\x",
    "hidden": ".creating-x",
    "template": "{{7*7}}${7*7}{0.__class__}%s",
    "link": "link",
    "regex": "(a+)+$",
}
TEXTS = ("textbox", "radio", "dropdown", "code", "html", "markdown", "textarea")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("probes")


@pytest.fixture(scope="module")
def site(folder: Path) -> Iterator[Server]:
    """A server with one run, a link to outside under outputs/ and inside the run, and a secret beside them."""
    outputs = folder / "outputs"
    outputs.mkdir()
    run = write_run(outputs, "tiny-1", finished())
    secret = folder / "secret"
    secret.mkdir()
    (secret / "spec.json").write_text(json.dumps({"title": SECRET}))
    (outputs / "link").symlink_to(secret)
    (run.path / "link.txt").symlink_to(secret / "spec.json")
    running = start_server(folder)
    yield running
    end_server(running)


def everything(folder: Path) -> set[str]:
    """All that is there, but for the log."""
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.name != "server.log"}


# -- junk ----------------------------------------------------------------------------------------


def functions(server: Server) -> list[tuple[dict[str, Any], list[dict[str, Any]]]]:
    """What the page can be asked to do, hidden ones too: (function, its inputs)."""
    config = json.loads(server.ask("GET", "/config")[1])
    known = {component["id"]: component for component in config["components"]}
    found = config["dependencies"]
    return [(each, [known[number] for number in each["inputs"]]) for each in found if each["backend_fn"]]


def event_names(server: Server) -> set[str]:
    """Names in what scripts of the page send with a click: trigger("click", {run: ...})."""
    found = re.findall(r'trigger\(\\?"\w+\\?", ?\{([^}]*)\}', server.ask("GET", "/config")[1])
    return {name for inner in found for name in re.findall(r"(\w+):", inner)}


def join(server: Server, number: int, data: list[Any], event: dict[str, Any], session: str) -> str:
    """Ask function `number` as the page does, which knows no hidden ones; all that came back."""
    asked = {"data": data, "fn_index": number, "session_hash": session, "event_data": event}
    status, text, _ = server.ask("POST", "/gradio_api/queue/join", json.dumps(asked), Content_Type="application/json")
    if status != 200:
        return text
    try:
        return server.ask("GET", f"/gradio_api/queue/data?session_hash={session}")[1]
    except http.client.IncompleteRead as error:
        return f"it broke off: {error.partial.decode()}"


def is_language(component: dict[str, Any]) -> bool:
    choices = str(component["props"].get("choices"))
    return "'en'" in choices and "'ko'" in choices


def has_choices(component: dict[str, Any]) -> bool:
    return "choices" in component["props"]


def nothing(_: dict[str, Any]) -> bool:
    return False


Kept = Callable[[dict[str, Any]], bool]


def filled(inputs: list[dict[str, Any]], kinds: Iterator[str], keep: Kept) -> list[Any]:
    """The next kind of junk for every text but those to keep, which stay as the page has them."""
    texts = [each["type"] in TEXTS and not keep(each) for each in inputs]
    return [JUNK[next(kinds)] if text else each["props"].get("value") for text, each in zip(texts, inputs, strict=True)]


def asked_with(inputs: list[dict[str, Any]]) -> Iterator[tuple[str, list[Any]]]:
    """(kind of junk that is sent with the event, values): every kind once, in one of its texts or another.

    Gradio refuses what is not among the choices before the function sees it: so the choices are kept, but for twice.
    """
    kinds = itertools.cycle(JUNK)
    free = sum(each["type"] in TEXTS and not has_choices(each) for each in inputs)
    # Without a text of its own a function can still be told of a click.
    for number in range(-(-len(JUNK) // max(1, free))):
        yield list(JUNK)[number % len(JUNK)], filled(inputs, kinds, has_choices)
    for keep in (nothing, is_language):
        yield "up", filled(inputs, itertools.repeat("unicode"), keep)


def test_junk_is_answered_and_makes_nothing(site: Server, folder: Path) -> None:
    before, log = everything(folder), folder / "server.log"
    names, wrong = event_names(site), []
    session = uuid.uuid4().hex  # of one browser: for each new one Gradio copies the whole page
    for function, inputs in functions(site):
        for kind, values in asked_with(inputs):
            told = log.stat().st_size
            said = join(site, function["id"], values, dict.fromkeys(names, JUNK[kind]), session)
            more = log.read_bytes()[told:].decode("utf-8", "replace")
            if "process_completed" not in said or not refusals_only(more):
                wrong.append(f"{function['id']} {function['api_name']} {values!r:.200}: {said[-200:]} {more[-2000:]}")
            assert SECRET not in said
        assert everything(folder) == before, function["api_name"]
    assert not wrong, "\n".join(wrong)
    assert not Path(JUNK["absolute"]).exists()
    assert site.process.poll() is None


def refusals_only(log: str) -> bool:
    """Gradio writes a traceback of its own when it refuses a value that is not among the choices; no others may be."""
    last_lines = re.findall(r"^(?!Traceback|The above|During)[\w.]+(?:Error|Exception)\b.*$", log, re.MULTILINE)
    if "Traceback" in log and not last_lines:
        return False
    ours = f'File "{PROJECT / "trainer"}'
    return ours not in log and all(line.startswith('gradio.exceptions.Error: "Value: ') for line in last_lines)


# -- foreign pages -------------------------------------------------------------------------------


def doors(server: Server) -> list[tuple[str, str]]:
    """(method, path) of all the server answers, from its own list."""
    listed = json.loads(server.ask("GET", "/openapi.json")[1])["paths"]
    known = [(method.upper(), re.sub(r"\{[^}]*\}", "x", path)) for path, ways in listed.items() for method in ways]
    more = [("POST", f"/gradio_api/{name}") for name in ("queue/join", "upload", "call/start", "run/start", "cancel")]
    return [*known, *more, ("GET", "/"), ("GET", "/config"), ("GET", "/no-such-page")]


def test_no_door_opens_for_a_foreign_name_or_page(site: Server, folder: Path) -> None:
    before = everything(folder)
    evil = f"evil.com:{site.port}"
    own = f"127.0.0.1:{site.port}"
    found = doors(site)
    assert len(found) > 20
    for method, path in found:
        for headers in (
            {"Host": evil, "Origin": f"http://{evil}"},
            {"Host": evil},
            {"Host": own, "Origin": f"http://{evil}"},
            {"Host": own, "Origin": "null"},
            {"Host": own, "Origin": f"http://{own}.evil.com"},
        ):
            status, text, _ = site.ask(method, path, "{}", Content_Type="application/json", **headers)
            assert status == 403, (method, path, headers, text)
            assert len(text) < 400, (method, path)
    assert everything(folder) == before


@pytest.mark.parametrize(
    "host",
    [
        "evil.com",
        "evil.com:{port}",
        "localhost.evil.com:{port}",
        "127.0.0.1.nip.io:{port}",
        "127.0.0.1:{port}@evil.com",
        "127.0.0.1:{port}.evil.com",
        "127.0.0.1:{port}, evil.com",
        "2130706433:{port}",
        "0x7f000001:{port}",
        "127.1:{port}",
        "0.0.0.0:{port}",
        "[::ffff:127.0.0.1]:{port}",
        "127.0.0.1:{port}0",
        "",
    ],
)
def test_a_host_that_is_not_this_servers_is_refused(site: Server, host: str) -> None:
    sent = host.format(port=site.port)
    assert site.ask("GET", "/config", Host=sent)[0] in (400, 403)
    assert site.ask("POST", "/gradio_api/call/stop", '{"data": []}', Host=sent)[0] in (400, 403)


def raw(server: Server, lines: list[str]) -> str:
    """The answer's first line to a request that no decent client sends."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
        connection.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
        return connection.makefile("rb").readline().decode()


def test_two_hosts_no_host_and_another_in_the_first_line_are_refused(site: Server) -> None:
    own, evil = f"127.0.0.1:{site.port}", f"evil.com:{site.port}"
    for lines in (
        ["GET /config HTTP/1.1", f"Host: {own}", f"Host: {evil}"],
        ["GET /config HTTP/1.1", f"Host: {evil}", f"Host: {own}"],
        ["GET /config HTTP/1.1", f"Host: {own}", f"Origin: http://{own}", f"Origin: http://{evil}"],
        ["GET /config HTTP/1.0"],
        [f"GET http://{evil}/config HTTP/1.1", f"Host: {evil}"],
    ):
        assert raw(site, lines).split()[1] in ("400", "403"), lines


def test_a_foreign_upload_stores_nothing(site: Server, folder: Path) -> None:
    own, evil = f"127.0.0.1:{site.port}", f"evil.com:{site.port}"
    before = everything(folder)
    for path in ("/gradio_api/upload", "/upload", "/gradio_api/upload?upload_id=x", "/gradio_api//upload"):
        for host, origin in ((evil, f"http://{evil}"), (own, f"http://{evil}"), (own, "null")):
            headers = {"Content_Type": "multipart/form-data; boundary=x", "Host": host, "Origin": origin}
            assert site.ask("POST", path, MULTIPART, **headers)[0] == 403, (path, host, origin)
    assert everything(folder) == before


# -- files ---------------------------------------------------------------------------------------


def secret_paths(folder: Path) -> list[str]:
    run = folder / "outputs" / "tiny-1"
    return [
        str(run / "spec.json"),
        str(run / "events.jsonl"),
        str(run / "link.txt"),
        str(folder / "outputs" / "link" / "spec.json"),
        str(folder / "secret" / "spec.json"),
        str(folder / "server.log"),
        str(folder / "state" / "page" / ".." / ".." / "secret" / "spec.json"),
        str(PROJECT / "app.py"),
        str(PROJECT / ".env"),
        str(PROJECT / "pyproject.toml"),
        "/etc/passwd",
        "/proc/self/environ",
        "app.py",
        "pyproject.toml",
        "outputs/tiny-1/spec.json",
        "../secret/spec.json",
        "trainer/ui/page.py",
    ]


DISGUISES = {
    "plain": lambda path: path,
    "encoded": lambda path: quote(path, safe=""),
    "twice": lambda path: quote(quote(path, safe=""), safe=""),
    "dots": lambda path: "%2e%2e/" * 12 + path.lstrip("/"),
    "dots encoded": lambda path: "..%2f" * 12 + path.lstrip("/"),
    "backslashes": lambda path: "..%5c" * 12 + path.lstrip("/"),
    "double": lambda path: "....//" * 12 + path.lstrip("/"),
    "scheme": lambda path: f"file://{path}",
    "NUL": lambda path: f"{path}%00.png",
    "host": lambda path: f"//127.0.0.1/{path}",
    "upper": lambda path: path.upper(),
}
SERVED = ("/gradio_api/file=", "/file=", "/gradio_api/file/", "/file/", "/static/", "/assets/", "/svelte/", "/")
# A piece of each file above; none of them is on the page.
MARKS = (SECRET, "builtin/tiny-qwen3", "argparse", "root:x:", "[build-system]", "PATH=", "run_started", "import gradio")


@pytest.mark.parametrize("disguise", DISGUISES)
def test_no_file_comes_out(site: Server, folder: Path, disguise: str) -> None:
    for path in secret_paths(folder):
        for prefix in SERVED:
            asked = prefix + DISGUISES[disguise](path)
            status, text, _ = site.ask("GET", asked)
            assert 400 <= status < 500, (asked, status, text[:200])
            assert not [mark for mark in MARKS if mark in text], asked


def test_the_server_fetches_nothing_for_others(site: Server) -> None:
    for way in ("file=", "proxy=", "file/", "proxy/"):
        for address in (f"http://127.0.0.1:{site.port}/config", "http://169.254.169.254/latest", "//127.0.0.1:9/x"):
            status, text, headers = site.ask("GET", f"/gradio_api/{way}{address}")
            assert 300 <= status < 500 and "dependencies" not in text, (way, address)
            assert "127.0.0.1" not in headers.get("location", "") and "169.254" not in headers.get("location", "")
