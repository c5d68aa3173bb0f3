"""The tab Live of a real server, driven as a browser would, over plain HTTP."""

from __future__ import annotations

import base64
import html
import json

import pytest

from tests.ui.conftest import Server, look, page


@pytest.mark.parametrize("language", ["en", "ko"])
def test_the_report_is_shown_in_a_frame_without_scripts_and_can_be_saved(server: Server, language: str) -> None:
    (shown,) = server.call("report", "tiny-1", language)
    assert '<iframe title="tiny-1.html" sandbox="" srcdoc="' in shown
    framed = html.unescape(shown.split('srcdoc="')[1].split('"></iframe>')[0])
    saved = base64.b64decode(shown.split("base64,")[1].split('"')[0]).decode()
    assert framed == saved and saved.startswith("<!doctype html>")
    assert f'<html lang="{language}">' in saved and "tiny-1" in saved
    assert "no-such-run" in server.call("report", "no-such-run", language)[0]


@pytest.mark.parametrize("name", ["../up", "no-such-run", "", None, "a" * 300])
def test_a_run_that_is_none_can_not_be_asked_anything(server: Server, name: str | None) -> None:
    for action in ("stop", "pause", "save", "resume"):
        status, text, _ = server.ask(
            "POST",
            f"/gradio_api/call/{action}",
            json.dumps({"data": [name, "en"]}),
            Content_Type="application/json",
        )
        assert status == 200
        event = json.loads(text)["event_id"]
        told = server.ask("GET", f"/gradio_api/call/{action}/{event}")[1]
        assert "asked to save" not in told and "goes on" not in told
    assert server.process.poll() is None


def test_a_run_is_not_ended_at_once_without_a_second_word(server: Server) -> None:
    for confirmed in ("", "other", "tiny-1"):
        told, asking = server.call("force", "tiny-1", "en", confirmed)
        assert "g-wrong" in told and asking == ""


def test_what_is_chosen_changes_the_board_at_once(server: Server) -> None:
    live = next(tab for tab in page().tabs if tab.name == "live")
    values = server.call("live", "tiny-1", "en", "none", "all", "5-20", "", "", "")
    shown = dict(zip(live.names, values, strict=True))
    assert "Steps 5 to 20 of 40" in shown["board"]
    told = look(server, "live", "tiny-1", "en", range="5-20", smoothing="none")
    assert told["live.board"] == shown["board"]
    assert "g-line-faint" not in shown["board"]


def test_a_log_is_sent_only_to_who_reads_it(server: Server) -> None:
    assert "live.log" not in look(server, "live", "tiny-1", "en")
    assert "The worker has written nothing" in look(server, "live", "tiny-1", "en", reading="log")["live.log"]


def test_without_a_run_the_board_is_empty_and_of_the_same_size(server: Server) -> None:
    full = look(server, "live", "tiny-1", "ko")["live.board"]
    live = next(tab for tab in page().tabs if tab.name == "live")
    from trainer.text import words
    from trainer.ui.live import board

    assert board.empty(words("ko"))[1].count("g-cell") == full.count("g-cell")
    assert live.outputs.keys() == set(live.names)


def test_a_run_that_cannot_be_read_is_not_called_no_run(server: Server) -> None:
    spec = server.outputs / "odd-1" / "spec.json"
    spec.mkdir(parents=True)
    try:
        told = look(server, "live", "odd-1")
        assert "Off: this run cannot be read." in told["live.hints"] and "it is a folder" in told["live.state"]
        assert "gg-none" in look(server, "groups", "odd-1")["groups.question"]  # without controls for nothing
    finally:
        spec.rmdir()
        spec.parent.rmdir()
