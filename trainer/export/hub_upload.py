"""An export uploaded to the Hugging Face Hub. The only file of this room that talks to the network.

The token is taken by huggingface_hub from HF_TOKEN or from where `hf auth login` put it; it is never shown.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from trainer.errors import ExportError, ExportRefused, Problem
from trainer.export.kinds import Say
from trainer.text import Message


@dataclass(frozen=True)
class Account:
    """Where to upload to, and with what."""

    repo: str
    token: str = field(repr=False)


def prepare(repo: str | None) -> Account:
    """Raises ExportRefused when the repository's name or the token is missing or cannot be one."""
    import huggingface_hub
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils._validators import validate_repo_id

    problems = []
    try:
        validate_repo_id(repo or "")
    except HFValidationError as error:
        problems.append(Problem("export.repo_refused", "--repo", said=str(error)))
    if not repo:
        problems = [Problem("export.no_repo", "--repo")]
    elif repo.count("/") != 1:
        problems = [Problem("export.not_a_repo", "--repo", seen=repo)]
    token = huggingface_hub.get_token()
    if not token:
        problems.append(Problem("export.no_token", "HF_TOKEN"))
    if problems:
        raise ExportRefused(problems)
    assert repo
    assert token
    return Account(repo, token)


def upload(account: Account, folder: Path, private: bool, label: str, say: Say) -> str:
    """Upload the folder; address of the commit. Raises ExportRefused before anything private is shown, ExportError."""
    import httpx
    import huggingface_hub
    from huggingface_hub.errors import HfHubHTTPError

    api = huggingface_hub.HfApi(token=account.token)
    try:
        api.create_repo(account.repo, private=private, exist_ok=True)
        # One that was there keeps its visibility: create_repo says nothing about it.
        if private and not api.repo_info(account.repo).private:
            raise ExportRefused(Problem("export.repo_is_public", account.repo))
        say(Message("export.uploading", repo=account.repo))
        done: Any = api.upload_folder(repo_id=account.repo, folder_path=str(folder), commit_message=label)
    except (HfHubHTTPError, httpx.HTTPError, OSError) as error:
        text = str(error).replace(account.token, "***")
        raise ExportError(Problem("export.upload_failed", account.repo, said=text, folder=str(folder))) from None
    return str(done.commit_url)
