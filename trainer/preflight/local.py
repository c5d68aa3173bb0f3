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
from trainer.machine.regular_files import read_file
from trainer.preflight import model_files, repo_id
from trainer.preflight.model_files import Incomplete
from trainer.spec import RunSpec
from trainer.text import Message

_DRIVE = re.compile(r"[A-Za-z]:")
_LFS = b"version https://git-lfs"
# safetensors' own bound on the header's length (safetensors 0.8, MAX_HEADER_SIZE).
_HEADER_BYTES = 100_000_000


def is_folder(name: str) -> bool:
    """Whether model.name is a path and not a Hub id. The worker looks from the project's folder, so this does too."""
    written = name.startswith((".", "/", "~")) or "\\" in name or name.count("/") > 1 or _DRIVE.match(name)
    return bool(written) or os.path.isdir(PROJECT / name) or name.lower().endswith(".gguf")


def problems(spec: RunSpec, has_gpu: bool) -> Iterator[Problem]:
    """What is wrong with the folder model.name."""
    name = spec.model.name
    place = PROJECT / name
    found = _not_a_folder(name, place)
    yield from [found] if found else inside(spec, place, Message("preflight.the_folder", name=name), has_gpu)


def inside(spec: RunSpec, folder: Path, model: Message, has_gpu: bool) -> Iterator[Problem]:
    """What is wrong with the files of a model's folder: nothing when it is whole. model: as in model_files.problem."""
    try:
        names = set(os.listdir(folder))
        adapter = _read_json(folder / model_files.ADAPTER_CONFIG) if model_files.ADAPTER_CONFIG in names else {}
        missing = model_files.problem(spec, names, _base(adapter), model)
        if missing:
            yield missing
            return
        config = _read_json(folder / model_files.CONFIG)
        if config is None:
            yield Incomplete("preflight.config_unreadable", "model.name", model=model)
        else:
            yield from model_files.quantised(spec, config, has_gpu)
        yield from _weights(folder, names, model)
    except OSError as error:
        yield Problem("preflight.folder_closed", "model.name", model=model, reason=error.strerror)


# ---- the folder itself


def _not_a_folder(name: str, place: Path) -> Problem | None:
    where, shown = "model.name", repo_id.short(name)
    if name.startswith("~"):
        full = os.path.expanduser(name)
        values = {"name": shown, "full": repo_id.short(full)}
        if os.path.isdir(full):
            return Problem("preflight.tilde", where, **values, instead=_typed(Path(full)))
        return Problem("preflight.tilde_of_nothing", where, **values)
    if name.lower().endswith(".gguf"):
        return Problem("preflight.gguf_file", where, name=shown)
    if os.path.isdir(place):  # unlike Path.is_dir, False also for a name too long or a folder that is closed
        return None
    if os.path.isfile(place):
        return Problem("preflight.a_file", where, name=shown, instead=_typed(place.parent))
    here = Path.cwd() / name
    if os.path.isdir(here):
        instead = _typed(here.resolve())
        return Problem("preflight.folder_elsewhere", where, name=shown, project=str(PROJECT), instead=instead)
    return Problem("preflight.no_folder", where, name=shown, instead=_nearest(place))


def _typed(folder: Path) -> Message:
    """The folder as something to type, if it can be meant."""
    if _of_a_model(folder):
        return Message("preflight.type_model", folder=str(folder))
    return Message("preflight.what_a_folder_holds")


def _of_a_model(folder: Path) -> bool:
    names = (model_files.CONFIG, *model_files.WEIGHTS)
    return any(os.path.isfile(folder / name) for name in names)


def _nearest(place: Path) -> Message:
    """The nearest names of models in the folder above, as something to type."""
    above = place.parent
    if not os.path.isdir(above):
        first = next(one for one in above.parents if os.path.isdir(one))
        return Message("preflight.path_ends", folder=str(first))
    try:
        folders = [entry.name for entry in os.scandir(above) if entry.is_dir() and not entry.name.startswith(".")]
    except OSError:
        return Message("preflight.check_path")
    models = [folder for folder in sorted(folders) if _of_a_model(above / folder)]
    near = difflib.get_close_matches(place.name, models, n=3, cutoff=0.6) or models[:3]
    if not near:
        return Message("preflight.check_path_of_model")
    if near[1:]:
        return Message("preflight.type_model_or_another", folder=str(above / near[0]), others=near[1:])
    return Message("preflight.type_model", folder=str(above / near[0]))


# ---- its files


def _read_json(path: Path) -> dict[str, Any] | None:
    """The object in the file; None when it holds none. OSError when it cannot be read."""
    try:
        value = json.loads(read_file(path))
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _base(adapter: dict[str, Any] | None) -> str | None:
    base = (adapter or {}).get("base_model_name_or_path")
    return base if isinstance(base, str) and base else None


def _weights(folder: Path, names: set[str], model: Message) -> Iterator[Problem]:
    """Parts an index names that are not there, and parts that were cut short."""
    chosen = next(name for name in model_files.WEIGHTS if name in names)
    parts = [chosen]
    if chosen.endswith(".index.json"):
        index = _read_json(folder / chosen) or {}
        listed = index.get("weight_map")
        if not isinstance(listed, dict) or not listed:
            yield Incomplete("preflight.index_empty", "model.name", model=model, index=chosen)
            return
        parts = sorted({str(part) for part in listed.values()})
        absent = [part for part in parts if part not in names]
        if absent:
            yield Incomplete("preflight.parts_missing", "model.name", model=model, files=_few(absent), count=len(parts))
    broken = [part for part in parts if part in names and not _whole(folder / part)]
    if broken:
        yield Incomplete("preflight.parts_broken", "model.name", model=model, files=_few(broken))


def _few(names: list[str]) -> Message | str:
    """The first, and how many more."""
    return Message("list.more", shown=names[0], count=len(names) - 1) if names[1:] else names[0]


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
