"""Who may talk to the page: the rules one by one, then a real server."""

from __future__ import annotations

import contextlib
import inspect
import logging
import os
import socket
from pathlib import Path
from typing import Any

import pytest
from starlette.exceptions import HTTPException

from tests.ui.conftest import Server
from trainer.errors import InputError
from trainer.text import words
from trainer.ui import server as serving
from trainer.ui.guard import Guard

MULTIPART = (
    b'--x\r\nContent-Disposition: form-data; name="files"; filename="a.txt"\r\n'
    b"Content-Type: text/plain\r\n\r\nhello\r\n--x--\r\n"
)


def test_an_ipv6_address_has_its_brackets_where_it_stands_in_an_address() -> None:
    shown = {"::": "[::]", "[::]": "[::]", "::1": "[::1]", "127.0.0.1": "127.0.0.1", "localhost": "localhost"}
    assert {host: serving._in_address(host) for host in shown} == shown


async def nothing(*_: Any) -> None: ...


@pytest.mark.parametrize(
    ("bound", "host", "passes"),
    [
        ("127.0.0.1", "127.0.0.1:7860", True),
        ("127.0.0.1", "localhost:7860", True),
        ("127.0.0.1", "LOCALHOST:7860", True),
        ("127.0.0.1", "[::1]:7860", True),
        ("127.0.0.1", "127.0.0.1:7861", True),  # ssh -L 7861:localhost:7860
        ("127.0.0.1", "127.0.0.1", True),
        ("127.0.0.1", "localhost:1", True),
        ("127.0.0.1", "[::1]:65535", True),
        ("0.0.0.0", "localhost:8080", True),  # docker -p 8080:7860
        ("192.168.1.5", "LocalHost:9000", True),
        ("[::]", "[fe80::1]:7860", True),
        ("[::1]", "[::1]:7860", True),
        ("127.0.0.1", "localhost:65536", False),
        ("127.0.0.1", "localhost.:7861", False),
        ("127.0.0.1", "localhost.evil.com:7861", False),
        ("127.0.0.1", "127.0.0.2:7861", False),
        ("127.0.0.1", "evil.com@localhost:7861", False),
        ("127.0.0.1", "::1:7861", False),
        ("192.168.1.5", "192.168.1.5:8080", False),
        ("0.0.0.0", "192.168.1.6:8080", False),
        ("127.0.0.1", "evil.com:7860", False),
        ("127.0.0.1", "127.0.0.1.evil.com:7860", False),
        ("127.0.0.1", "localhost@evil.com:7860", False),
        ("127.0.0.1", "evil.com@localhost:7860", False),
        ("127.0.0.1", "localhost:7860/evil", False),
        ("127.0.0.1", "192.168.1.5:7860", False),
        ("127.0.0.1", "localhost:x", False),
        ("127.0.0.1", "[::1", False),
        ("127.0.0.1", "", False),
        ("192.168.1.5", "192.168.1.5:7860", True),
        ("192.168.1.5", "192.168.1.6:7860", False),
        ("0.0.0.0", "192.168.1.6:7860", True),
        ("0.0.0.0", "[fe80::1]:7860", True),
        ("0.0.0.0", "evil.com:7860", False),
    ],
)
def test_host_must_be_an_address_of_this_server(bound: str, host: str, passes: bool) -> None:
    guard = Guard(nothing, bound, 7860)
    assert guard.refusal([host], []) == ("" if passes else "host")


@pytest.mark.parametrize(
    ("origin", "passes"),
    [
        ("http://localhost:7860", True),
        ("https://localhost:7860", True),
        ("http://evil.com", False),
        ("http://localhost:3000", False),
        ("http://127.0.0.1:7860", False),
        ("null", False),
        ("file://localhost:7860", False),
        ("", False),
    ],
)
def test_origin_must_be_the_page_itself(origin: str, passes: bool) -> None:
    """At the port of the browser's address bar, whatever the server's."""
    forwarded = origin.replace("7860", "8080")
    assert Guard(nothing, "0.0.0.0", 7860).refusal(["localhost:8080"], [forwarded]) == ("" if passes else "origin")
    guard = Guard(nothing, "127.0.0.1", 7860)
    assert guard.refusal(["localhost:7860"], [origin]) == ("" if passes else "origin")


def test_two_hosts_or_none_are_refused() -> None:
    guard = Guard(nothing, "127.0.0.1", 7860)
    assert guard.refusal([], []) == "host"
    assert guard.refusal(["localhost:7860", "evil.com"], []) == "host"


# ---------------------------------------------------------------------------------- real server


@pytest.fixture(scope="module")
def pages() -> None:
    """Here, as in test_probes.py, it starts as for everybody: Gradio sees what a shell has set from the first."""


def test_the_own_page_is_served_with_headers_against_framing(server: Server) -> None:
    status, _, headers = server.ask("GET", "/")
    assert status == 200
    assert headers["x-frame-options"] == "DENY"
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"


def test_a_name_pointed_at_this_machine_is_refused_with_what_to_do(server: Server) -> None:
    evil = f"evil.com:{server.port}"
    for path in ("/", "/config", "/gradio_api/info", "/gradio_api/startup-events"):
        status, text, headers = server.ask("GET", path, Host=evil, Origin=f"http://{evil}")
        assert status == 403, path
        assert f"http://localhost:{server.port}" in text
    assert headers["x-frame-options"] == "DENY"
    _, text, _ = server.ask("GET", "/", Host=evil, Accept_Language="ko")
    assert text.strip() == words("ko")("refused.host", host="localhost", port=server.port)


def test_another_web_page_can_call_nothing(server: Server) -> None:
    for origin in ("http://evil.com", "null", "http://localhost:3000"):
        for path in ("/gradio_api/call/start", "/gradio_api/queue/join", "/gradio_api/run/check"):
            body = '{"data": ["en", "tiny", "", ""]}'
            headers = {"Content_Type": "application/json", "Origin": origin}
            assert server.ask("POST", path, body, **headers)[0] == 403
    assert [path.name for path in server.outputs.iterdir()] == ["tiny-1"]


def test_nobody_can_upload_anything(server: Server) -> None:
    for kind in ("multipart/form-data; boundary=x", " Multipart/Form-Data;boundary=x", "multipart/mixed; boundary=x"):
        for path in ("/gradio_api/upload", "/gradio_api/component_server", "/gradio_api/stream/x", "/", "/login/x"):
            status, text, _ = server.ask("POST", path, MULTIPART, Content_Type=kind)
            assert (status, text.strip()) == (413, words("en")("refused.upload")), (kind, path)
    assert not list((server.outputs.parent / "state").rglob("a.txt"))
    assert (server.outputs.parent / "state" / "page").stat().st_mode & 0o777 == 0o700


def test_a_body_has_a_size(server: Server) -> None:
    large = "x" * (serving.MOST_BODY + 1)
    assert server.ask("POST", "/gradio_api/queue/join", large, Content_Type="application/json")[0] == 413


def test_headers_have_a_size_before_anybody_is_asked_for_a_password(server: Server) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as knocking:
        knocking.sendall(b"GET / HTTP/1.1\r\nHost: evil.com\r\n")
        answered = b""
        with contextlib.suppress(ConnectionError):  # closed while more is sent
            for number in range(40):
                knocking.sendall(f"X-{number}: {'a' * 50_000}\r\n".encode())
            knocking.sendall(b"\r\n")
            answered = knocking.recv(100)
    assert not answered or answered.startswith(b"HTTP/1.1 400 "), answered


def test_the_server_is_the_same_with_and_without_packages_that_uvicorn_takes_by_itself(server: Server) -> None:
    mapped = Path(f"/proc/{server.process.pid}/maps")
    if not mapped.exists():
        pytest.skip("what a process has loaded is known on Linux only")
    assert not [line for line in mapped.read_text().splitlines() if "uvloop" in line or "httptools" in line]


@pytest.mark.parametrize("site", ["cross-site", "same-site", "x"])
def test_another_web_page_may_link_to_the_page_and_to_nothing_else(server: Server, site: str) -> None:
    link = {"Sec_Fetch_Site": site, "Sec_Fetch_Mode": "navigate", "Sec_Fetch_Dest": "document"}
    assert server.ask("GET", "/?run=tiny-1&tab=groups", **link)[0] == 200
    doors = ("/logout", "/gradio_api/deep_link?session_hash=x", "/gradio_api/startup-events", "/config", "//", "/login")
    for path in (*doors, "/exports/tiny-1/merged-2/model.safetensors", "/gradio_api/heartbeat/x"):
        status, text, _ = server.ask("GET", path, **link)
        assert (status, text.strip()) == (403, words("en")("refused.origin")), path
    picture = link | {"Sec_Fetch_Mode": "no-cors", "Sec_Fetch_Dest": "image"}
    frame = link | {"Sec_Fetch_Dest": "iframe"}
    for method, headers in (("GET", picture), ("GET", frame), ("POST", link)):
        assert server.ask(method, "/", **headers)[0] == 403
    for own in ("same-origin", "none"):
        assert server.ask("GET", "/config", Sec_Fetch_Site=own)[0] == 200


def test_another_web_page_can_upload_nothing(server: Server) -> None:
    headers = {"Content_Type": "multipart/form-data; boundary=x"}
    foreign = headers | {"Origin": "http://evil.com"}
    assert server.ask("POST", "/gradio_api/upload", MULTIPART, **foreign)[0] == 403
    assert not list((server.outputs.parent / "state").rglob("a.txt"))


def test_no_file_of_a_run_or_of_the_project_is_served(server: Server) -> None:
    spec = server.outputs / "tiny-1" / "spec.json"
    assert spec.is_file()
    project = Path(serving.__file__).resolve().parents[2]
    for path in (spec, project / "app.py", Path("/etc/passwd")):
        for prefix in ("/gradio_api/file=", "/file=", "/gradio_api/file/"):
            status, text, _ = server.ask("GET", f"{prefix}{path}")
            assert status in (403, 404), (prefix, path)
            assert "builtin/tiny-qwen3" not in text


def test_watching_the_traffic_and_the_tool_protocol_are_off(server: Server) -> None:
    for path in ("/monitoring", "/monitoring/summary", "/gradio_api/monitoring/summary"):
        assert "total_requests" not in server.ask("GET", path)[1]
    assert server.ask("GET", "/gradio_api/mcp/")[0] in (404, 405)


# ---------------------------------------------------------------------------------- the start


@pytest.mark.parametrize(
    ("host", "auth", "word"),
    [
        ("0.0.0.0", None, "password"),
        ("192.168.1.5", None, "password"),
        ("::", None, "password"),
        ("127.0.0.1", "me", "ONEGRPO_AUTH=me:"),
        ("0.0.0.0", "me:", "ONEGRPO_AUTH=me:"),
        ("0.0.0.0", ":secret", "ONEGRPO_AUTH=me:"),
        ("0.0.0.0", "me:\udcff", "ONEGRPO_AUTH=me:"),
    ],
)
def test_nobody_else_comes_in_without_a_password(host: str, auth: str | None, word: str) -> None:
    with pytest.raises(InputError) as refused:
        serving.serve(host, 7860, auth)
    assert refused.value.exit_code == 2
    assert word in str(refused.value)


def test_a_password_may_hold_a_colon_and_is_optional_on_this_machine() -> None:
    assert serving.check_access("0.0.0.0", ("--auth", "me:a:b")) == ("me", "a:b")
    for host in ("127.0.0.1", "localhost", "::1", "127.0.0.2"):
        assert serving.check_access(host, None) is None


@pytest.mark.parametrize("port", [0, -1, 70000])
def test_a_port_that_is_none_is_refused(port: int) -> None:
    with pytest.raises(InputError, match="65535"):
        serving.serve("127.0.0.1", port, None)


def test_a_taken_port_is_one_clear_line(server: Server) -> None:
    with pytest.raises(InputError) as refused:
        serving.serve("127.0.0.1", server.port, None)
    assert [f"--port {server.port + 1}"] == [problem.fix for problem in refused.value.problems]


def test_a_host_that_is_not_here_is_one_clear_line() -> None:
    with pytest.raises(InputError, match=r"192\.0\.2\.1"):
        serving.serve("192.0.2.1", 7860, "me:secret")


def test_gradios_variables_are_taken_away(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SHARE", "ALLOWED_PATHS", "SERVER_NAME", "MCP_SERVER", "ROOT_PATH"):
        monkeypatch.setenv(f"GRADIO_{name}", "1")
    for name in ("FORWARDED_ALLOW_IPS", "NO_PROXY", "no_proxy", "GRADIO_ANALYTICS_ENABLED", "GRADIO_TEMP_DIR"):
        monkeypatch.setenv(name, "x")
    serving.set_environment("127.0.0.1")
    left = {name for name in os.environ if name.startswith("GRADIO_")}
    assert left == {"GRADIO_ANALYTICS_ENABLED", "GRADIO_TEMP_DIR"}
    assert os.environ["GRADIO_ANALYTICS_ENABLED"] == "False"
    assert "127.0.0.1" in os.environ["NO_PROXY"]


# ---------------------------------------------------------------------------------- the terminal


@pytest.mark.parametrize(
    ("raised", "where", "is_logged"),
    [
        (KeyError("z2t5854cgzm"), "sse_stream", False),
        (HTTPException(404), "sse_stream", False),
        (HTTPException(500), "sse_stream", True),
        (ValueError("ours"), "sse_stream", True),
        (KeyError("ours"), "show", True),
    ],
)
def test_only_a_browser_that_left_leaves_no_traceback(raised: Exception, where: str, is_logged: bool) -> None:
    def stream() -> None:
        raise raised

    stream.__code__ = stream.__code__.replace(co_name=where)
    try:
        try:
            stream()
        except Exception as error:
            raise RuntimeError("Caught handled exception, but response already started.") from error
    except RuntimeError as error:
        told = (RuntimeError, error, error.__traceback__)
        record = logging.LogRecord("uvicorn.error", logging.ERROR, "", 0, "Exception in ASGI application", (), told)
    assert serving.BrowserLeft().filter(record) is is_logged


def test_a_browser_that_left_while_its_stream_waited_leaves_no_traceback() -> None:
    def sse_stream() -> None:
        raise KeyError("session") from TimeoutError("cancelled while it waited")

    with pytest.raises(KeyError) as caught:
        sse_stream()
    told = (KeyError, caught.value, caught.value.__traceback__)
    record = logging.LogRecord("uvicorn.error", logging.ERROR, "", 0, "Exception in ASGI application", (), told)
    assert not serving.BrowserLeft().filter(record)


def test_gradio_still_has_the_stream_that_loses_its_session() -> None:
    from gradio import routes

    assert "async def sse_stream(" in inspect.getsource(routes)


def test_gradio_still_waits_in_its_queue_for_as_long_as_it_is_told() -> None:
    from gradio.queueing import Queue

    assert "await asyncio.sleep(self.sleep_when_free)" in inspect.getsource(Queue.start_processing)
