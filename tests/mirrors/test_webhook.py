"""What log.webhook is told, in which form, and that nothing it does reaches the run. Servers on loopback only."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from tests.builders import began, finished, step, write_run
from tests.records import event_of
from trainer import mirrors, presets
from trainer.errors import SpecError
from trainer.machine.json_files import read_json, write_json
from trainer.machine.secrets import Redactor
from trainer.mirrors import notifier, webhook
from trainer.report import compare
from trainer.report.material import of as material_of
from trainer.run.records import AlertEvent
from trainer.run.rundir import RunDir, outputs_dir
from trainer.text import words

EN = words("en")
Told = list[dict[str, Any]]


class Hook:
    """A server that answers what it is told to, and remembers what came."""

    def __init__(self) -> None:
        self.got: Told = []
        self.answers: list[int] = []
        hook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                hook.got.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                code = hook.answers.pop(0) if hook.answers else 200
                self.send_response(code)
                if code == 302:
                    self.send_header("Location", "/elsewhere")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.server.server_port}/services/T0/very-secret-path"
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()


@pytest.fixture
def hook(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hook]:
    monkeypatch.setattr(webhook, "WAITS_S", (0.0, 0.0, 0.0))
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    made = Hook()
    yield made
    made.server.shutdown()
    made.server.server_close()


@pytest.fixture
def ended_worker() -> dict[str, Any]:
    """What run_started says of a worker that is not there any more."""
    return {"pid": 999_999, "pid_started": "1", "boot_id": "another"}


@pytest.fixture
def told(hook: Hook, monkeypatch: pytest.MonkeyPatch, ended_worker: dict[str, Any]) -> Callable[..., Told]:
    """told(*events): what the hook got of a run with that log."""
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    monkeypatch.setattr(os, "nice", lambda _: 0)
    monkeypatch.setattr(notifier, "POLL_S", 0.0)

    def tell(*events: dict[str, Any], form: str = "auto") -> Told:
        run = write_run(outputs_dir(), f"run-{len(os.listdir(outputs_dir())) if outputs_dir().is_dir() else 0}", [])
        stored = read_json(run.spec) or {}
        stored["log"] |= {"webhook": hook.address, "webhook_form": form}
        write_json(run.spec, stored)
        lines = [{"t": 100.0 + n, "attempt": 1} | event for n, event in enumerate(events)]
        lines[0] |= ended_worker
        run.events.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
        assert notifier.main(run.path, 1) == 0
        return hook.got

    return tell


def alert(**changes: Any) -> dict[str, Any]:
    said = {"kind": "alert", "level": "warn", "key": "disk_almost_full", "values": {"name": "checkpoint-1"}}
    return said | {"title": "disk", "text": "is nearly full"} | changes


def test_a_run_that_finished_says_what_it_came_to(told: Callable[..., Told]) -> None:
    (got,) = told(*finished())
    assert (got["event"], got["steps"], got["correct_before"], got["correct_after"]) == ("finished", 40, 0.25, 0.75)
    assert got["text"].endswith("has finished its 40 steps. Held-out rows answered right: 25 % before, 75 % after.")


@pytest.mark.parametrize(
    ("final", "event", "said"),
    [
        ({"kind": "run_stopped", "step": 1}, "stopped", "stopped at step 1 of 40"),
        ({"kind": "run_paused", "step": 1}, "paused", "is paused at step 1 of 40"),
        (
            {"kind": "run_failed", "step": 1, "problems": [{"where": "reward", "what": "broke", "fix": ""}]},
            "failed",
            "failed at step 1 of 40: reward: broke",
        ),
        (None, "lost", "disappeared after step 1 of 40"),
    ],
)
def test_how_else_a_run_ends(told: Callable[..., Told], final: dict[str, Any] | None, event: str, said: str) -> None:
    (got,) = told(began(), step(1), *([final] if final else []))
    assert got["event"] == event and said in got["text"]


def test_one_that_goes_on_with_a_smaller_batch_has_not_failed(told: Callable[..., Told]) -> None:
    assert told(began(), step(1), {"kind": "run_failed", "step": 1, "retry": True}) == []


def test_of_each_kind_of_alert_the_first_is_told_and_no_mere_note(told: Callable[..., Told]) -> None:
    got = told(began(), alert(level="info", key="policy_sync"), alert(), alert(), alert(key=""), *finished()[1:])
    assert [one["event"] for one in got] == ["alert", "alert", "finished"]
    assert got[0]["level"] == "warn" and got[0]["alert"] == "disk_almost_full"


def test_slacks_form_where_it_is_asked_for_and_at_slacks_own_address(told: Callable[..., Told]) -> None:
    (got,) = told(*finished(), form="slack")
    assert set(got) == {"text"}
    said = {"event": "finished", "text": "x"}
    assert json.loads(webhook.body(said, "auto", "https://hooks.slack.com/services/T/B/x", Redactor({}))) == {
        "text": "x"
    }
    assert "event" in json.loads(webhook.body(said, "auto", "https://hooks.slack.com.example.org/x", Redactor({})))


def test_secrets_and_the_address_itself_are_not_sent(hook: Hook) -> None:
    redactor = Redactor({"MY_TOKEN": "abcdefgh12345"}, [hook.address])
    sent = webhook.body({"event": "alert", "text": f"abcdefgh12345 at {hook.address}"}, "json", hook.address, redactor)
    assert b"abcdefgh12345" not in sent and b"very-secret-path" not in sent


def test_a_busy_server_is_asked_again_a_few_times(hook: Hook) -> None:
    hook.answers = [503, 429]
    assert webhook.send(hook.address, b"{}") == "" and len(hook.got) == 3
    hook.answers = [500] * 9
    assert webhook.send(hook.address, b"{}") == "HTTP 500" and len(hook.got) == 3 + 4


@pytest.mark.parametrize("code", [302, 403, 404])
def test_one_that_refuses_or_sends_elsewhere_is_asked_once(hook: Hook, code: int) -> None:
    hook.answers = [code]
    assert webhook.send(hook.address, b"{}") == f"HTTP {code}" and len(hook.got) == 1


def test_where_nobody_listens_it_ends_and_names_no_address(hook: Hook) -> None:
    said = webhook.send("http://127.0.0.1:9/services/very-secret-path", b"{}")
    assert said == "ConnectionRefusedError"


def test_the_log_of_the_notifier_has_no_address(told: Callable[..., Told], capsys: pytest.CaptureFixture[str]) -> None:
    told(*finished())
    assert capsys.readouterr().out == "finished: sent\n"


def test_a_variable_holds_the_address(monkeypatch: pytest.MonkeyPatch) -> None:
    assert webhook.address("$HOOK", {"HOOK": " https://x.example/1 "}) == "https://x.example/1"
    assert webhook.address("$HOOK", {}) is None
    assert webhook.address("https://x.example/1", {}) == "https://x.example/1"


@pytest.mark.parametrize("value", ["ftp://x/y", "hooks.slack.com/x", "HOOK", "$1", "https:///x", "https://x y"])
def test_what_is_no_address_is_refused_before_the_start(value: str) -> None:
    with pytest.raises(SpecError, match=r"log\.webhook"):
        presets.load("tiny", [f"log.webhook={value}"])


def test_the_worker_starts_it_without_waiting_and_only_where_it_is_asked_for(
    make_run: Callable[..., RunDir], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[list[str]] = []
    monkeypatch.setattr("trainer.machine.spawn.detached", lambda arguments, *_, **__: asked.append(arguments))
    run = make_run()
    mirrors.notify(run, None, 1)
    assert asked == []
    mirrors.notify(run, "$HOOK", 2)
    assert asked == [["trainer.mirrors.notifier", str(run.path), "2"]]

    def broken(*_: Any, **__: Any) -> subprocess.Popen[bytes]:
        raise OSError("no more processes")

    monkeypatch.setattr("trainer.machine.spawn.detached", broken)
    mirrors.notify(run, "$HOOK", 3)  # the run goes on


def test_a_comparison_of_runs_does_not_show_it(make_run: Callable[..., RunDir]) -> None:
    runs = [make_run("a", *finished()), make_run("b", *finished())]
    stored = read_json(runs[0].spec) or {}
    stored["log"]["webhook"] = "https://x.example/services/very-secret-path"
    write_json(runs[0].spec, stored)
    flat = compare._flat(material_of(runs[0]))
    assert flat["log.webhook"] == "[secret]"
    assert Redactor({}).config(stored)["log"]["webhook"] == "[secret]"


def test_the_record_of_an_alert_is_put_into_the_words_of_the_reader() -> None:
    event = event_of(alert(), 1.0)
    assert isinstance(event, AlertEvent)
    said = webhook.alerted(event, "tiny-1", EN)
    assert said["text"].startswith("tiny-1: ")
