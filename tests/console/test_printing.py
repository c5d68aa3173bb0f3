"""Nothing that a console cannot show, or a reader that leaves, ends a command with a traceback."""

from __future__ import annotations

import ast
import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

import app
from trainer import launch
from trainer.__main__ import main as tool
from trainer.console import exit_code, printing

PROJECT = Path(__file__).resolve().parents[2]
SAID = "한국어 é \u2192 \U0001f600 \udcff"  # the last: half a character, as a file name may have


def console(encoding: str, errors: str = "strict") -> io.TextIOWrapper:
    return io.TextIOWrapper(io.BytesIO(), encoding, errors)


@pytest.mark.parametrize("encoding", ["ascii", "cp949", "cp1252", "latin-1", "utf-8", "utf-16", "cp437"])
def test_every_console_can_be_written_to(encoding: str) -> None:
    out = console(encoding)
    printing.put(SAID, out)
    written = out.buffer.getvalue().decode(encoding)  # type: ignore[attr-defined]
    assert written.endswith("?\n")
    assert ("한국어" in written) == (encoding in ("cp949", "utf-8", "utf-16"))
    assert ("é" in written) == (encoding not in ("ascii", "cp949"))


@pytest.mark.parametrize(("encoding", "lang"), [("ascii", "ko"), ("cp1252", "ko"), ("cp949", "en")])
def test_commands_print_on_such_a_console(monkeypatch: pytest.MonkeyPatch, encoding: str, lang: str) -> None:
    for words in (["--dry-run", "--preset", "malpyeong-tiny"], ["--dry-run", "--preset", "\udcff"]):
        out, err = console(encoding), console(encoding)
        monkeypatch.setattr(sys, "stdout", out)
        monkeypatch.setattr(sys, "stderr", err)
        assert app.main([*words, "--lang", lang]) == (2 if "\udcff" in words else 0)
    monkeypatch.setattr(sys, "stdout", console(encoding))
    assert tool(["runs", "--lang", lang]) == 0


@pytest.mark.parametrize("command", [["--help"], ["runs", "--help"]])
def test_help_goes_the_same_way(monkeypatch: pytest.MonkeyPatch, command: list[str]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as out, pytest.raises(SystemExit) as end:
        monkeypatch.setattr(sys, "stdout", out)
        tool(command)
    assert end.value.code == 0


def test_a_reader_that_left_is_no_trouble_and_the_work_goes_on() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as out:
        for _ in range(3):
            printing.put("x" * 100_000, out)
    assert printing.trouble() is None


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has a device that is always full")
def test_what_a_full_disk_did_not_take_is_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with open("/dev/full", "w", encoding="utf-8") as full:
        monkeypatch.setattr(sys, "stdout", full)

        def call() -> int:
            printing.put("a report")
            printing.put("its end")
            return launch.EXIT_FINISHED

        assert exit_code.exit_code(call) == launch.EXIT_FAILED
    assert capsys.readouterr().err == "error: output: not all of it could be written: No space left on device\n"
    assert printing.trouble() is None


def test_a_closed_stream_is_the_null_device(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("stdin", "stdout", "stderr"):
        monkeypatch.setattr(sys, name, None)
    printing.put("to nobody")
    printing.prepare()
    printing.put("to nobody")
    with pytest.raises(EOFError):
        printing.read("> ")
    for stream in (sys.stdin, sys.stdout, sys.stderr):
        stream.close()


@pytest.mark.parametrize("encoding", ["ascii", "cp949", "utf-8"])
def test_what_is_typed_is_read_whatever_the_console_says_it_is(monkeypatch: pytest.MonkeyPatch, encoding: str) -> None:
    sent = "비 오는 날".encode("utf-8" if encoding == "ascii" else encoding)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(sent + b"\n"), encoding))
    printing.prepare()
    assert printing.read("") == "비 오는 날"


def test_a_process_says_no_word_of_what_its_console_lacks() -> None:
    """From the first line of the interpreter to its last flush."""
    environment = os.environ | {"PYTHONIOENCODING": "ascii", "LANG": "ko_KR.UTF-8", "ONEGRPO_LANG": "ko"}
    command = [sys.executable, "app.py", "--list-presets"]
    done = subprocess.run(command, cwd=PROJECT, env=environment, capture_output=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"tiny" in done.stdout and b"??" in done.stdout


def test_there_is_one_printing_function() -> None:
    """Rooms of the terminal write with printing.put alone."""
    files = [*(PROJECT / "trainer/console").rglob("*.py"), *(PROJECT / "trainer/preflight").rglob("*.py")]
    files += [PROJECT / "app.py", PROJECT / "trainer/__main__.py", PROJECT / "trainer/ui/server.py"]
    for path in files:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            called = ast.unparse(node.func) if isinstance(node, ast.Call) else ""
            allowed = path.name == "printing.py"
            assert allowed or called not in ("print", "input", "sys.stdout.write", "sys.stderr.write"), path
