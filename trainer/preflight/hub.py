"""A model that is a Hub id: whole in the local cache, or one look at the Hub, never longer than five seconds.

A Hub that is slow is left to the worker, which waits longer; one that answers with an error (5xx, too many requests)
is not: the worker would ask it for a minute and fail. Asks through huggingface_hub, so that proxies, certificates,
tokens and HF_ENDPOINT mean the same here and in the worker.
"""

from __future__ import annotations

import glob
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

from trainer.errors import Problem
from trainer.machine.secrets import hide
from trainer.preflight import doctor, local, machine, model_files, repo_id
from trainer.preflight.model_files import Incomplete
from trainer.spec import RunSpec
from trainer.text import Message

ENDPOINT = "https://huggingface.co"
REQUEST_S = 3.0
TOTAL_S = 4.5  # for both requests, and for the search for the host's address, which knows no timeout
WHERE = "model.name"


@dataclass
class Found:
    """What a look found. to_download: bytes that are not in the local cache yet; 0 where that is not known."""

    problems: list[Problem] = field(default_factory=list)
    to_download: int = 0


def look(spec: RunSpec, has_gpu: bool) -> Found:
    """Problems with the Hub model of the spec. Asks the Hub only about what the cache does not hold whole."""
    name = spec.model.name
    illegal = _illegal(name)
    if illegal:
        return Found([illegal])
    faults: list[Problem] = [_no_copy(spec)]
    snapshot = cached_snapshot(name, spec.model.revision)
    if snapshot is not None:
        faults = list(local.inside(spec, snapshot, Message("preflight.in_the_cache", name=name), has_gpu))
    if not any(isinstance(fault, Incomplete) for fault in faults):
        return Found(faults)  # what is there is all there is
    if _may_take_another_copy(spec, has_gpu) and _copy_of_unsloth(name):
        return Found()
    if offline():
        return Found([_when_offline(spec, fault) for fault in faults])
    return _within(TOTAL_S, lambda: _ask(spec, has_gpu, faults[0].part("what")))


def offline() -> bool:
    """Whether the user switched the network off for the Hub; the same words as in huggingface_hub's constants."""
    value = os.environ.get("HF_HUB_OFFLINE") or os.environ.get("TRANSFORMERS_OFFLINE") or ""
    return value.upper() in ("1", "ON", "YES", "TRUE")


def endpoint() -> str:
    return (os.environ.get("HF_ENDPOINT") or ENDPOINT).rstrip("/")


def _illegal(name: str) -> Problem | None:
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]  # not in its __all__

    try:
        validate_repo_id(name)
    except HFValidationError:
        return Problem("preflight.no_hub_id", WHERE, name=repo_id.short(name))
    return None


# ---- the local cache


def repo_cache(name: str) -> Path:
    """Folder of a repository in the cache, as huggingface_hub lays it out."""
    return doctor.hub_folder(os.environ) / f"models--{name.replace('/', '--')}"


def cached_snapshot(name: str, revision: str | None) -> Path | None:
    """Folder of the cached files of a revision (the branch main without one); None when nothing of it is there."""
    cache, wanted = repo_cache(name), revision or "main"
    try:
        commit = (cache / "refs" / wanted).read_text(encoding="utf-8").strip()
    except (OSError, ValueError):  # a commit has no file of its own
        commit = wanted
    folder = cache / "snapshots" / commit
    return folder if os.path.isdir(folder) else None


def _may_take_another_copy(spec: RunSpec, has_gpu: bool) -> bool:
    """Unsloth 2026.10.7 loads its own, ungated copy of models it knows (models/mapper.py), of another size."""
    return machine.is_unsloth(spec, has_gpu) and not spec.model.name.lower().endswith("-bnb-4bit")


def _copy_of_unsloth(name: str) -> bool:
    """Whether the cache has one: which it would be, only Unsloth knows."""
    copies = repo_cache(f"unsloth/{glob.escape(name.rpartition('/')[2])}*")
    return any(copies.parent.glob(copies.name))


def _no_copy(spec: RunSpec) -> Problem:
    if spec.model.revision:
        return Incomplete("preflight.revision_not_cached", WHERE, name=spec.model.name, revision=spec.model.revision)
    return Incomplete("preflight.not_cached", WHERE, name=spec.model.name)


def _when_offline(spec: RunSpec, fault: Problem) -> Problem:
    if not isinstance(fault, Incomplete):
        return fault
    revision = f" --revision {spec.model.revision}" if spec.model.revision else ""
    wanted = f"{spec.model.name}{revision}"
    return Problem("preflight.offline", WHERE, cached=fault.part("what"), wanted=wanted)


# ---- the Hub


def _within(seconds: float, ask: Callable[[], Found]) -> Found:
    """What `ask` finds within the time, or nothing; a thread, because a search for an address cannot be cut short."""
    answers: list[Found | Exception] = []

    def work() -> None:
        try:
            answers.append(ask())
        except Exception as error:  # raised again below, in the thread that asked
            answers.append(error)

    thread = threading.Thread(target=work, name="hub-look", daemon=True)
    thread.start()
    thread.join(seconds)
    if not answers:
        return Found()  # slow, which is no fault of the run: the worker waits longer
    if isinstance(answers[0], Exception):
        raise answers[0]
    return answers[0]


def _ask(spec: RunSpec, has_gpu: bool, cached: Message) -> Found:
    """One request for the repository's files, a second one only for a gated repository."""
    import httpx
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, OfflineModeIsEnabled

    name, at = spec.model.name, spec.model.revision
    revision = f"/revision/{quote(at, safe='')}" if at is not None else ""
    try:
        info = _get(f"{name}{revision}", {"blobs": "true"})
        files = {str(file["rfilename"]): dict(file) for file in info.get("siblings") or []}
        if info.get("gated"):  # everybody may list such a repository, not everybody may read its files
            _get(f"{name}/auth-check")
    except HfHubHTTPError as error:
        if isinstance(error, GatedRepoError) and _may_take_another_copy(spec, has_gpu):
            return Found()
        refused = _refused(spec, error) or _not_now(error.response.status_code, cached)
        return Found([refused] if refused else [])
    except httpx.ReadTimeout:
        return Found()  # it is there and slow: the worker waits longer
    except (httpx.HTTPError, httpx.InvalidURL, OfflineModeIsEnabled, OSError) as error:
        values = {"cached": cached, "endpoint": hide(endpoint()), "error": type(error).__name__}
        return Found([Problem("preflight.hub_unreachable", WHERE, **values)])
    except (ValueError, TypeError, KeyError, AttributeError):  # a page where JSON should be: a hotel's login
        return Found([Problem("preflight.not_the_hub", WHERE, cached=cached, endpoint=hide(endpoint()))])
    config = info.get("config") if isinstance(info.get("config"), dict) else {}
    base, model = _base_model(config, info.get("cardData")), Message("preflight.on_the_hub", name=name)
    missing = model_files.problem(spec, set(files), base, model)
    if missing:
        return Found([missing])
    problems = list(model_files.quantised(spec, config, has_gpu))
    return Found(problems, 0 if _may_take_another_copy(spec, has_gpu) else _bytes_to_download(name, files))


def _get(path: str, parameters: dict[str, str] | None = None) -> Any:
    """The JSON the Hub has about a model. Raises huggingface_hub's errors.

    Not through HfApi: huggingface_hub 1.33 puts a request of its telemetry, with 3 s of patience, before the first one,
    and auth_check takes no timeout.
    """
    from huggingface_hub import utils

    hub: Any = utils  # its __all__ leaves these three out
    token = hub.get_token_to_send(None)
    headers = {"authorization": f"Bearer {token}"} if token else {}
    address = f"{endpoint()}/api/models/{path}"
    answer = hub.get_session().get(address, headers=headers, params=parameters, timeout=REQUEST_S)
    hub.hf_raise_for_status(answer)
    return answer.json() if parameters else None


def _refused(spec: RunSpec, error: Any) -> Problem | None:
    """What the Hub's answer says about the model or the token; None when it says nothing."""
    from huggingface_hub import errors, get_token

    name, has_token = spec.model.name, get_token() is not None
    status = error.response.status_code
    if isinstance(error, errors.GatedRepoError):
        key = "preflight.gated_for_this_token" if has_token else "preflight.gated_without_token"
        return Problem(key, WHERE, name=name, endpoint=hide(endpoint()))
    if isinstance(error, errors.RevisionNotFoundError):
        return Problem("preflight.no_revision", "model.revision", revision=spec.model.revision, name=name)
    if isinstance(error, errors.RepositoryNotFoundError) or (status == 401 and not has_token):
        return Problem("preflight.not_for_this_token" if has_token else "preflight.not_on_the_hub", WHERE, name=name)
    if isinstance(error, errors.DisabledRepoError):
        return Problem("preflight.disabled", WHERE, name=name)
    if status == 401:
        return Problem("preflight.token_refused", WHERE, name=name)
    if status == 403:
        told = " ".join((error.server_message or "").split())
        return Problem("preflight.forbidden", WHERE, name=name, said=told or Message("preflight.no_reason"))
    return None


def _not_now(status: int, cached: Message) -> Problem | None:
    """An answer that says nothing about the model: the worker would get the same."""
    from huggingface_hub import get_token

    if status != 429 and status < 500:
        return None
    if status != 429:
        return Problem("preflight.hub_down", WHERE, cached=cached, endpoint=hide(endpoint()), status=status)
    key = "preflight.too_many_requests" if get_token() else "preflight.too_many_requests_without_token"
    return Problem(key, WHERE, cached=cached, endpoint=hide(endpoint()), status=status)


def _base_model(config: dict[str, Any], card: Any) -> str | None:
    """What an adapter's repository says it was trained on, in its configuration or on its card."""
    peft = config.get("peft")
    named = peft.get("base_model_name_or_path") if isinstance(peft, dict) else None
    told = card.get("base_model") if isinstance(card, dict) else None
    told = told[0] if isinstance(told, list) and told else told
    return next((one for one in (named, told) if isinstance(one, str) and one), None)


def _bytes_to_download(name: str, files: dict[str, dict[str, Any]]) -> int:
    """Size of what transformers would fetch and the cache does not hold; files are cached under their hash."""
    blobs = repo_cache(name) / "blobs"
    total = 0
    for wanted in _wanted({path for path in files if "/" not in path}):
        file = files[wanted]
        hashed = (file.get("lfs") or {}).get("sha256") or file.get("blobId")
        if not (hashed and (blobs / str(hashed)).is_file()):
            total += int(file.get("size") or 0)
    return total


def _wanted(names: set[str]) -> set[str]:
    """The small files, and the weights in the one form transformers takes of those a repository may offer."""
    small = {name for name in names if name.endswith((".json", ".txt", ".model", ".jinja", ".tiktoken"))}
    chosen = next(name for name in model_files.WEIGHTS if name in names)
    if not chosen.endswith(".index.json"):
        return small | {chosen}
    stem, ending = chosen.removesuffix(".index.json").rsplit(".", 1)
    return small | {name for name in names if name.startswith(f"{stem}-") and name.endswith(f".{ending}")}
