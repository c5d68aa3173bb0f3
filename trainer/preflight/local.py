"""A model that is a folder on this machine: is it there, and is it whole.

Of weights only the headers are read, so a folder of any size takes milliseconds.
"""

from __future__ import annotations

import difflib
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from trainer.errors import Problem
from trainer.machine.project import PROJECT
from trainer.preflight import model_files, repo_id
from trainer.preflight.model_files import Incomplete
from trainer.spec import RunSpec

_DRIVE = re.compile(r"[A-Za-z]:")
_LFS = b"version https://git-lfs"
# safetensors' own bound on the header's length (safetensors 0.8, MAX_HEADER_SIZE).
_HEADER_BYTES = 100_000_000
HOLDS = "the folder of a model holds config.json, its weights (*.safetensors) and its tokenizer"


def is_folder(name: str) -> bool:
    """Whether model.name is a path and not a Hub id. The worker looks from the project's folder, so this does too."""
    written = name.startswith((".", "/", "~")) or "\\" in name or name.count("/") > 1 or _DRIVE.match(name)
    return bool(written) or os.path.isdir(PROJECT / name) or name.lower().endswith(".gguf")


def problems(spec: RunSpec, has_gpu: bool) -> Iterator[Problem]:
    """What is wrong with the folder model.name."""
    name = spec.model.name
    place = PROJECT / name
    found = _not_a_folder(name, place)
    yield from [found] if found else inside(spec, place, f'the folder "{name}"', has_gpu)


def inside(spec: RunSpec, folder: Path, place: str, has_gpu: bool) -> Iterator[Problem]:
    """What is wrong with the files of a model's folder: nothing when it is whole."""
    try:
        names = set(os.listdir(folder))
        adapter = _read_json(folder / model_files.ADAPTER_CONFIG) if model_files.ADAPTER_CONFIG in names else {}
        missing = model_files.problem(spec, names, _base(adapter), place)
        if missing:
            yield missing
            return
        config = _read_json(folder / model_files.CONFIG)
        if config is None:
            what = f"{place} has a {model_files.CONFIG} that is not a JSON object"
            yield Incomplete.plain("model.name", what, "fetch the file again")
        else:
            yield from model_files.quantised(spec, config, has_gpu)
        yield from _weights(folder, names, place)
    except OSError as error:
        yield Problem.plain("model.name", f"{place} cannot be read: {error.strerror}", "make it readable for this user")


# ---- the folder itself


def _not_a_folder(name: str, place: Path) -> Problem | None:
    where, shown = "model.name", repo_id.short(name)
    if name.startswith("~"):
        full = os.path.expanduser(name)
        there = "" if os.path.isdir(full) else "not "
        fix = _typed(Path(full)) if os.path.isdir(full) else "write the full path of a folder that is there"
        return Problem.plain(
            where, f'is "{shown}": ~ is not replaced here, and {repo_id.short(full)} is {there}there', fix
        )
    if name.lower().endswith(".gguf"):
        return Problem.plain(where, f'"{shown}" is a GGUF file, which cannot be trained', model_files.GGUF_FIX)
    if os.path.isdir(place):  # unlike Path.is_dir, False also for a name too long or a folder that is closed
        return None
    if os.path.isfile(place):
        return Problem.plain(where, f'"{shown}" is a file, not the folder of a model', _typed(place.parent))
    here = Path.cwd() / name
    if os.path.isdir(here):
        what = f'there is no folder "{shown}" in {PROJECT}, where a run looks'
        return Problem.plain(where, what, _typed(here.resolve()))
    return Problem.plain(where, f'there is no folder "{shown}"', _nearest(place))


def _typed(folder: Path) -> str:
    """The folder as something to type, if it can be meant."""
    return f"--set model.name={folder}" if _of_a_model(folder) else HOLDS


def _of_a_model(folder: Path) -> bool:
    names = (model_files.CONFIG, *model_files.WEIGHTS)
    return any(os.path.isfile(folder / name) for name in names)


def _nearest(place: Path) -> str:
    """The nearest names of models in the folder above, as something to type."""
    above = place.parent
    if not os.path.isdir(above):
        first = next(one for one in above.parents if os.path.isdir(one))
        return f"{first} is there, what should follow in it is not; check the path"
    try:
        folders = [entry.name for entry in os.scandir(above) if entry.is_dir() and not entry.name.startswith(".")]
    except OSError:
        return "check the path"
    models = [folder for folder in sorted(folders) if _of_a_model(above / folder)]
    near = difflib.get_close_matches(place.name, models, n=3, cutoff=0.6) or models[:3]
    if not near:
        return f"check the path; {HOLDS}"
    others = f" (also there: {', '.join(near[1:])})" if near[1:] else ""
    return f"--set model.name={above / near[0]}{others}"


# ---- its files


def _read_json(path: Path) -> dict[str, Any] | None:
    """The object in the file; None when it holds none. OSError when it cannot be read."""
    try:
        value = json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _base(adapter: dict[str, Any] | None) -> str | None:
    base = (adapter or {}).get("base_model_name_or_path")
    return base if isinstance(base, str) and base else None


def _weights(folder: Path, names: set[str], place: str) -> Iterator[Problem]:
    """Parts an index names that are not there, and parts that were cut short."""
    chosen = next(name for name in model_files.WEIGHTS if name in names)
    parts = [chosen]
    if chosen.endswith(".index.json"):
        index = _read_json(folder / chosen) or {}
        listed = index.get("weight_map")
        if not isinstance(listed, dict) or not listed:
            yield Incomplete.plain(
                "model.name", f"{place} has a {chosen} that names no weights", "fetch the file again"
            )
            return
        parts = sorted({str(part) for part in listed.values()})
        absent = [part for part in parts if part not in names]
        if absent:
            more = f" and {len(absent) - 1} more" if absent[1:] else ""
            what = f"{place} lacks {absent[0]}{more} of {len(parts)} parts"
            yield Incomplete.plain("model.name", what, "fetch what is missing, or the whole model again")
    broken = [part for part in parts if part in names and not _whole(folder / part)]
    if broken:
        more = f" and {len(broken) - 1} more" if broken[1:] else ""
        what = f"{place} holds {broken[0]}{more} cut short or not as weights"
        yield Incomplete.plain("model.name", what, "fetch it again, whole (for a git clone: git lfs pull)")


def _whole(path: Path) -> bool:
    """Whether a weights file is as long as its own header says; of other formats, whether it is more than a stub."""
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(max(8, len(_LFS)))
        if size == 0 or start == _LFS or path.suffix != ".safetensors":
            return size > 0 and start != _LFS
        length = int.from_bytes(start[:8], "little")
        if size < 8 or length > min(size, _HEADER_BYTES):
            return False
        file.seek(8)
        try:
            header = json.loads(file.read(length))
            ends = [one["data_offsets"][1] for key, one in header.items() if key != "__metadata__"]
        except (ValueError, KeyError, TypeError, IndexError, AttributeError):
            return False
    return size == 8 + length + max(ends, default=0)
