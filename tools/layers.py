"""Layers: folders of packages, not environments, that some tests put on the path of their own processes, with .venv.

For packages that are too large for everybody's .venv or do not go with what is in it. They are installed without their
dependencies: what is in .venv already serves them as well, and some would bring a CUDA torch.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
from pathlib import Path
from typing import NamedTuple

from tools import setup_env


class Layer(NamedTuple):
    """folder: where it is. wanted: requirements for pip. pins: the file that holds their versions. what: for people,
    with its size."""

    folder: Path
    wanted: list[str]
    pins: Path
    what: str

    @property
    def done(self) -> Path:
        """Written last: what was installed, as a hash of requirements, pins and Python."""
        return self.folder / ".setup-done"

    def is_there(self) -> bool:
        """Does it hold what is wanted now?"""
        try:
            return self.done.read_text("utf-8") == self._fingerprint()
        except OSError:
            return False

    def _fingerprint(self) -> str:
        parts = [self.wanted, self.pins.read_text("utf-8"), os.path.realpath(setup_env.PYTHON)]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    def make(self) -> int:
        """The exit code of the set-up; 0 at once when it is there."""
        if self.is_there():
            return 0
        setup_env.say(f"installing {self.what}")
        try:
            with setup_env.only_one_at_a_time():
                self._install()
        except setup_env.SetupError as error:
            print(f"set-up failed: {error}", file=sys.stderr)
            return 1
        return 0

    def _install(self) -> None:
        """Into a folder beside it, renamed when complete: one that was cut short is never taken for whole."""
        draft = self.folder.with_name(self.folder.name + ".unfinished")
        shutil.rmtree(draft, ignore_errors=True)
        problem = setup_env.pip(["--target", str(draft), "--no-deps", *self.wanted], self.pins)
        if problem:
            shutil.rmtree(draft, ignore_errors=True)
            raise setup_env.SetupError(f"pip could not install {self.what}:\n{problem}")
        (draft / self.done.name).write_text(self._fingerprint(), "utf-8")
        shutil.rmtree(self.folder, ignore_errors=True)
        draft.rename(self.folder)
