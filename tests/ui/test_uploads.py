"""Files that somebody chooses on the page: which are taken, under which name, and that nothing else is stored."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.ui.conftest import Server
from trainer import launch
from trainer.errors import SpecError
from trainer.run.rundir import RunDir
from trainer.text import words
from trainer.ui import chosen_files, uploads
from trainer.ui.train import actions
from trainer.ui.train.form import Form

ROWS = "질문,정답\n하나?,1\n".encode("cp949")


def keep(name: str, *pieces: bytes, with_code: bool = True) -> Path:
    async def stream() -> AsyncIterator[bytes]:
        for piece in pieces:
            yield piece

    return asyncio.run(uploads.keep(name, stream(), with_code))


def everything() -> list[str]:
    return sorted(each.name for each in (launch.state_dir() / launch.CHOSEN).rglob("*") if each.is_file())


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("sheet.csv", "sheet.csv"),
        ("C:\\Users\\me\\Sheet 1.CSV", "Sheet 1.csv"),
        ("../../etc/질문 모음.jsonl", "질문 모음.jsonl"),
        (".csv.csv", "csv.csv"),
        ('a"b\n\0$(c).py', "a_b____c_.py"),
        ("x" * 300 + ".tsv", "x" * 60 + ".tsv"),
    ],
)
def test_a_name_is_one_file_and_nothing_else(given: str, name: str) -> None:
    assert uploads.name_of(given) == name


@pytest.mark.parametrize("given", ["", "rows", "rows.xlsx", "rows.csv/", "model.safetensors", "x.pyc"])
def test_other_kinds_of_files_are_refused(given: str) -> None:
    with pytest.raises(SpecError, match="has to end in"):
        uploads.name_of(given)


def test_a_file_is_kept_once_for_its_user_alone() -> None:
    first = keep("sheet.csv", ROWS[:5], ROWS[5:])
    assert first.read_bytes() == ROWS and keep("sheet.csv", ROWS) == first
    assert (first.stat().st_mode & 0o777, first.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    other = keep("sheet.csv", ROWS + b"x")
    assert other != first and other.name == first.name and first.read_bytes() == ROWS


def test_what_is_too_large_empty_or_code_from_elsewhere_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "MOST_FILE", 8)
    monkeypatch.setattr(uploads, "MOST_ALL", 20)
    for name, pieces, with_code in (("a.csv", [b"12345", b"6789"], True), ("a.csv", [], True), ("a.py", [b"1"], False)):
        with pytest.raises(SpecError):
            keep(name, *pieces, with_code=with_code)
    assert everything() == []
    kept = [keep("a.csv", str(number).encode() * 8) for number in range(2)]
    with pytest.raises(SpecError, match="delete some from"):
        keep("a.csv", b"7" * 8)
    assert keep("a.csv", b"1" * 8) == kept[1] and len(everything()) == 2


def long_ago(path: Path) -> None:
    then = time.time() - chosen_files.KEPT_S - 60
    os.utime(path.parent, (then, then))


def test_room_is_made_by_what_nothing_names_and_nobody_used_lately(
    make_run: Callable[..., RunDir], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploads, "MOST_ALL", 40)
    of_a_run, of_a_form, oldest, newer, fresh = (keep("a.csv", bytes([48 + n]) * 8) for n in range(5))
    for path in (oldest, newer, of_a_run, of_a_form):
        long_ago(path)
    os.utime(oldest.parent, (1.0, 1.0))
    spec = make_run("old-1").spec  # made by a version that took no copies
    spec.write_text(spec.read_text().replace(json.loads(spec.read_text())["data"]["path"], str(of_a_run)))
    actions.check(Form("preset", "tiny", changes=(f"data.path={of_a_form}",)))
    kept = keep("a.csv", b"x" * 8)
    assert kept.exists() and not oldest.exists()
    assert all(path.exists() for path in (of_a_run, of_a_form, newer, fresh))
    keep("a.csv", b"y" * 8)
    assert not newer.exists()
    with pytest.raises(SpecError, match="7 days"):
        keep("a.csv", b"z" * 8)
    assert all(path.exists() for path in (of_a_run, of_a_form, fresh, kept))


def test_a_file_that_is_chosen_again_is_used_again() -> None:
    path = keep("a.csv", ROWS)
    long_ago(path)
    keep("a.csv", ROWS)
    assert path.parent.stat().st_mtime > time.time() - 600


def test_the_page_takes_a_file_and_says_where_it_lies(server: Server) -> None:
    address = f"/files?name={quote('질문.csv')}&lang=ko"
    status, text, _ = server.ask("POST", address, ROWS, Content_Type=uploads.TYPE)
    assert status == 200, text
    path = Path(json.loads(text)["path"])
    assert path.name == "질문.csv" and path.read_bytes() == ROWS
    assert path.is_relative_to(server.outputs.parent / "state" / launch.CHOSEN)
    status, text, _ = server.ask("POST", "/files?name=x.exe&lang=ko", ROWS, Content_Type=uploads.TYPE)
    said = json.loads(text)["problem"]
    assert status == 422 and said.startswith("x.exe") and "파일" in said


def test_a_page_elsewhere_a_form_and_a_link_store_nothing(server: Server) -> None:
    folder = server.outputs.parent / "state" / launch.CHOSEN
    before = sorted(folder.rglob("*"))
    for headers in (
        {"Content_Type": uploads.TYPE, "Origin": "http://evil.com"},
        {"Content_Type": uploads.TYPE, "Sec_Fetch_Site": "same-site"},
        {"Content_Type": uploads.TYPE, "Host": "evil.com"},
        {"Content_Type": "text/plain"},
        {"Content_Type": "multipart/form-data; boundary=x"},
    ):
        assert server.ask("POST", "/files?name=a.csv", b"a,b\n1,2\n", **headers)[0] in (403, 413, 415), headers
    assert server.ask("GET", "/files?name=a.csv")[0] in (404, 405)
    assert sorted(folder.rglob("*")) == before


def test_words_of_a_refusal_say_what_to_do() -> None:
    with pytest.raises(SpecError) as caught:
        keep("mine.py", b"x", with_code=False)
    assert "name its path" in caught.value.problems[0].said(words("en")).what
