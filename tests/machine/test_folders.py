"""Who may enter outputs/ and the state folder."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from trainer import launch
from trainer.machine.folders import is_open, make_private
from trainer.preflight import doctor
from trainer.run import rundir

pytestmark = pytest.mark.skipif(os.name == "nt", reason="folders have no mode there")


def mode(folder: Path) -> int:
    return folder.stat().st_mode & 0o7777


def open_folder(path: Path) -> Path:
    path.mkdir()
    path.chmod(0o2775)
    return path


def test_a_new_folder_is_its_users_alone_and_those_above_it_are_not_touched(tmp_path: Path) -> None:
    for named in (True, False):
        made = tmp_path / f"above-{named}" / "x"
        make_private(made, named=named)
        assert (mode(made), mode(made.parent)) == (0o700, mode(tmp_path / f"above-{named}"))
        assert is_open(made.parent)


def test_a_folder_that_is_there_is_narrowed_unless_a_person_chose_it(tmp_path: Path) -> None:
    named, own = open_folder(tmp_path / "named"), open_folder(tmp_path / "own")
    (tmp_path / "link").symlink_to(named)
    make_private(named, named=True)
    make_private(tmp_path / "link", named=False)
    make_private(own, named=False)
    assert (mode(named), mode(own)) == (0o2775, 0o2700)


def test_a_mount_another_users_folder_and_a_disk_without_modes_stay_and_a_file_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = open_folder(tmp_path / "x")
    with monkeypatch.context() as patch:
        patch.setattr(Path, "is_mount", lambda _: True)
        make_private(place, named=False)
    with monkeypatch.context() as patch:
        patch.setattr(os, "getuid", lambda: place.stat().st_uid + 1)
        make_private(place, named=False)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "chmod", lambda *_: (_ for _ in ()).throw(PermissionError()))
        make_private(place, named=False)
    assert mode(place) == 0o2775
    (tmp_path / "file").touch()
    with pytest.raises(FileExistsError):
        make_private(tmp_path / "file", named=False)


def test_windows_makes_its_folders_as_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []
    monkeypatch.setattr(os, "name", "nt")
    monkeypatch.setattr(Path, "mkdir", lambda _, *mode, **how: asked.append((mode, how)))
    make_private(tmp_path, named=False)
    assert asked == [((), {"parents": True, "exist_ok": True})]


def test_outputs_and_state_are_private_and_old_ones_of_this_program_become_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rundir.make_outputs(rundir.outputs_dir())
    assert (mode(rundir.outputs_dir()), mode(launch.make_state_dir())) == (0o700, 0o700)
    monkeypatch.setattr(rundir, "PROJECT", tmp_path)
    monkeypatch.delenv("ONEGRPO_STATE")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "xdg"))
    rundir.outputs_dir().chmod(0o755)
    (tmp_path / "xdg" / "onegrpo").mkdir(parents=True)
    rundir.make_outputs(rundir.outputs_dir())
    assert (mode(rundir.outputs_dir()), mode(launch.make_state_dir())) == (0o700, 0o700)


def test_doctor_says_what_others_can_read(tmp_path: Path) -> None:
    folder = open_folder(tmp_path / "shared")
    found = doctor.check_writable(folder)
    assert (found.state, str(found.todo)) == ("warn", f"chmod 700 {folder}, unless it is shared on purpose")
