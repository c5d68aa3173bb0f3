"""The screen Try it of the real page, asked as a browser would, on a run that was really trained."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import warm as warming
from tests.builders import finished, write_run
from tests.tryit.conftest import WAIT_S, trained  # noqa: F401
from tests.ui.conftest import Server, end_server, start_server
from trainer.run.rundir import RunDir
from trainer.tryit import exporting, reading

pytestmark = pytest.mark.slow
XSS = "Reverse: <img src=x onerror=alert(1)> ${7*7} {x}"
SAMPLING = (0, 12, "", 0)


@pytest.fixture(scope="module")
def page(
    trained: Path,  # noqa: F811
    warm_process: Path,
    pages: Path | None,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("try")
    (folder / "outputs").mkdir()
    shutil.copytree(trained, folder / "outputs" / "short")
    write_run(folder / "outputs", "empty", finished())
    none = {"PATH": str(folder), "LLAMA_CPP": "", "UNSLOTH_LLAMA_CPP_PATH": str(folder), "HF_TOKEN": ""}
    server = start_server(folder, pages, **none, **{warming.SOCKET: str(warm_process)})
    yield server
    end_server(server)
    identity = reading.process(RunDir(folder / "outputs" / "short")).identity
    if identity is not None:
        identity.kill_group()


def told(page: Server, name: str, *given: Any) -> dict[str, Any]:
    """What an event of the tab says, by output."""
    names = ["told", "status", "answers", "talk", "ask", "next", "send", "stop", "end", "timer"]
    found = page.call(name, *given)
    names = names[1:] if name == "try_stream" else ["message", *names] if name == "try_send" else names
    return dict(zip(names, found, strict=False))


def at_rest(page: Server, step: str = "") -> dict[str, Any]:
    """The tab as soon as nothing is open any more."""
    deadline = time.monotonic() + WAIT_S
    while (seen := told(page, "try_stream", "short", "en", step))["timer"]["active"]:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    return seen


def run_of(page: Server) -> RunDir:
    return RunDir(page.outputs / "short")


def test_both_answers_come_as_inert_text_and_any_browser_sees_them(page: Server) -> None:
    asked = told(page, "try_ask", "short", "en", "2", XSS, *SAMPLING)
    assert asked["told"] == ""
    assert asked["timer"]["active"] is True and asked["stop"]["interactive"] is True
    shown = at_rest(page)
    assert "Step 2 is loaded on the CPU" in shown["status"]
    assert shown["answers"].count("tokens in") == 2 and "step 2" in shown["answers"]
    assert "<img" not in shown["answers"] and "&lt;img src=x" in shown["answers"]
    assert "${" not in shown["answers"] and "{x}" not in shown["answers"]
    assert shown["stop"]["interactive"] is False and shown["end"]["interactive"] is True
    korean = told(page, "try_stream", "short", "ko", "")
    assert "학습한 모델" in korean["answers"] and "2스텝이 CPU에 올라와 있습니다" in korean["status"]


def test_held_out_prompts_come_one_after_the_other_with_both_rewards(page: Server) -> None:
    """An empty field asks for them, too."""
    for number, asking in enumerate((("try_next",), ("try_ask", " ")), 1):
        told(page, asking[0], "short", "en", "", *asking[1:], *SAMPLING)
        shown = at_rest(page)["answers"]
        assert f"Held-out prompt {number} of 4" in shown
        assert shown.count("<table") == 2 and "correct" in shown and "format" in shown
        assert "Right answer" in shown and "&lt;answer&gt;" in shown


def test_a_conversation_is_remembered_until_a_new_one_is_begun(page: Server) -> None:
    sent = told(page, "try_send", "short", "en", "", "Reverse: ab", "tuned", *SAMPLING)
    assert sent["message"] == "" and sent["told"] == ""
    at_rest(page)
    told(page, "try_send", "short", "en", "", "Again", "base", *SAMPLING)
    talk = at_rest(page)["talk"]
    assert talk.count("try-turn") == 4 and talk.index("Reverse: ab") < talk.index("Again")
    newest = reading.newest(run_of(page), 1, reading.process(run_of(page)))[0]
    assert [turn["role"] for turn in newest.request.turns] == ["user", "assistant", "user"]
    assert list(newest.sides) == ["base"]
    assert "A conversation" in told(page, "try_new", "short", "en", "")["talk"]


@pytest.mark.parametrize(
    ("run", "step", "prompt", "sampling", "what"),
    [
        ("short", "", "x" * 20_001, SAMPLING, "20,000"),
        ("../short", "", "Hi", SAMPLING, "run name"),
        ("nowhere", "", "Hi", SAMPLING, "there is no such run"),
        ("empty", "", "Hi", SAMPLING, "has no checkpoint"),
    ],
)
def test_what_can_not_be_asked_is_said(
    page: Server, run: str, step: str, prompt: str, sampling: tuple[Any, ...], what: str
) -> None:
    assert what in told(page, "try_ask", run, "en", step, prompt, *sampling)["told"]


def test_the_table_marks_the_best_and_a_click_chooses_another(page: Server) -> None:
    names = _outputs()
    shown = dict(zip(names, page.call("try_step", "short", "en", "1"), strict=True))
    assert 'data-step="1" aria-label="Try step 1" aria-pressed="true"' in shown["table"]
    assert "\u2605 best" in shown["table"] and "before GRPO" in shown["table"]
    assert "Export step 1" in shown["hints"] and "There is no adapter" in shown["hints"]
    assert "LLAMA_CPP" in shown["hints"]
    assert shown["gguf"]["interactive"] is False and shown["adapter"]["interactive"] is False
    asked = told(page, "try_ask", "short", "en", "1", "Reverse: abc", *SAMPLING)
    assert asked["told"] == ""
    assert "Step 1 is loaded" in at_rest(page, "1")["status"]
    for wrong in ("9", "x", "../1", None):
        page.call("try_step", "short", "en", wrong)
    nothing = dict(zip(names, page.call("try_step", "empty", "ko", ""), strict=True))
    assert "체크포인트가 없어" in nothing["status"] and nothing["ask"]["interactive"] is False


def _outputs() -> list[str]:
    from trainer.ui.page import Page

    return next(list(tab.outputs) for tab in Page().tabs if tab.name == "try")


def test_an_export_ends_with_files_that_can_be_downloaded(page: Server) -> None:
    said, shown = page.call("try_export_merged", "short", "en", "2")
    assert "has started" in said and "merged weights of step 2: working" in shown
    refused, _ = page.call("try_export_merged", "short", "en", "2")
    assert "is being exported already" in refused
    deadline = time.monotonic() + WAIT_S
    while exporting.listed(run_of(page))[0].state == "running":
        assert time.monotonic() < deadline
        time.sleep(0.1)
    shown = page.call("try_export_hub", "short", "en", "2", "no name", True)[1]
    assert "merged weights of step 2: done, merged-2" in shown
    address = "/exports/short/merged-2/config.json"
    assert f'href="{address}"' in shown
    status, text, headers = page.ask("GET", address)
    assert status == 200 and '"model_type"' in text
    assert headers["content-disposition"].startswith("attachment") and headers["x-frame-options"] == "DENY"


@pytest.mark.parametrize(
    "path",
    [
        "/exports/short/merged-2/../../spec.json",
        "/exports/short/../short/spec.json",
        "/exports/short/merged-2/%2e%2e%2f%2e%2e%2fspec.json",
        "/exports/../short/merged-2/config.json",
        "/exports/empty/merged-2/config.json",
        "/exports/short/merged-2/.merged",
        "//exports/short/merged-2/config.json",
        "/exports/short/checkpoints/MANIFEST.json",
    ],
)
def test_nothing_else_of_outputs_is_served(page: Server, path: str) -> None:
    status, text, _ = page.ask("GET", path)
    assert status in (403, 404) and "builtin/tiny-qwen3" not in text and "model_type" not in text


def test_a_foreign_page_is_refused_before_a_file_is_looked_for(page: Server) -> None:
    assert page.ask("GET", "/exports/short/merged-2/config.json", Host="evil.com")[0] == 403
    assert page.ask("GET", "/exports/short/merged-2/config.json", Origin="http://evil.com")[0] == 403


def test_the_model_is_unloaded_on_request_and_the_page_says_so(page: Server) -> None:
    told(page, "try_ask", "short", "en", "", "Reverse: abc", *SAMPLING)
    at_rest(page)
    assert "Asked to unload" in told(page, "try_end", "short", "en", "")["told"]
    deadline = time.monotonic() + WAIT_S
    while reading.process(run_of(page)).at_work:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    shown = told(page, "try_stream", "short", "en", "")
    assert "Unloaded: the CPU is free" in shown["status"] and shown["end"]["interactive"] is False
    assert "No model is loaded" in told(page, "try_end", "short", "en", "")["told"]
    assert "Nothing is being answered" in told(page, "try_stop", "short", "en", "")["told"]


def test_the_page_never_imports_torch_while_a_run_is_tried(page: Server) -> None:
    maps = Path(f"/proc/{page.process.pid}/maps")
    if not maps.exists():
        pytest.skip("no /proc here")
    assert "libtorch" not in maps.read_text()
