"""`--resume` while another run trains on the same device: asked in a terminal, only told in a script."""

from __future__ import annotations

import os
import pty
import select

import pytest

from trainer import launch
from trainer.console.commands import train
from trainer.run.rundir import RunDir, outputs_dir

pytestmark = pytest.mark.usefixtures("busy")


def said_to(answer: str, *changes: str) -> tuple[int, str]:
    """What comes of it in a terminal in which this is typed, and what was shown there."""
    person, console = pty.openpty()
    os.write(person, f"{answer}\n".encode())
    with (
        pytest.MonkeyPatch.context() as patched,
        os.fdopen(os.dup(console), encoding="utf-8") as typed,
        os.fdopen(console, "w", encoding="utf-8") as shown,
    ):
        patched.setattr("sys.stdin", typed)
        patched.setattr("sys.stdout", shown)
        code = train.resume("tiny-1", overrides=changes)
        told = b""
        while select.select([person], [], [], 0.1)[0]:
            told += os.read(person, 100_000)
    os.close(person)
    return code, told.decode()


def test_who_wants_neither_starts_nothing(halted: RunDir) -> None:
    code, shown = said_to("")
    assert code == launch.EXIT_INPUT and "busy-1 is training now" in shown and "[q]" in shown
    assert halted.newest_attempt() == 0 and launch.queue.waiting(outputs_dir()) == []


def test_it_can_wait_for_its_turn(halted: RunDir) -> None:
    code, shown = said_to("q")
    assert code == launch.EXIT_FINISHED and "tiny-1: number 1 in the queue" in shown
    assert halted.newest_attempt() == 0 and launch.queue.waiting(outputs_dir()) == [halted]


def test_with_other_settings_it_cannot_wait_because_the_queue_would_go_on_without_them(halted: RunDir) -> None:
    code, shown = said_to("q", "data.path=elsewhere.jsonl")
    assert code == launch.EXIT_INPUT and "[q]" not in shown and "[b]" in shown
    assert halted.newest_attempt() == 0 and launch.queue.waiting(outputs_dir()) == []


def test_it_trains_beside_the_other_where_that_is_wanted(halted: RunDir) -> None:
    code, _ = said_to("b")
    assert code == launch.EXIT_FINISHED and launch.may_be_beside(halted) and halted.newest_attempt() == 2


def test_a_script_is_told_and_goes_on(halted: RunDir, capsys: pytest.CaptureFixture[str]) -> None:
    assert train.resume("tiny-1") == launch.EXIT_FINISHED
    assert "note: on this device busy-1 is training now" in capsys.readouterr().err
    assert launch.may_be_beside(halted)


def test_alone_nothing_is_asked(halted: RunDir, busy: RunDir) -> None:
    busy.identity.unlink()
    code, shown = said_to("")
    assert code == launch.EXIT_FINISHED and "[b]" not in shown and not launch.may_be_beside(halted)
