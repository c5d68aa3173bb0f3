"""An export uploaded to the Hugging Face Hub. The only file of this room that talks to the network.

The token is taken by huggingface_hub from HF_TOKEN or from where `hf auth login` put it; it is never shown.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from trainer.errors import ExportError, ExportRefused, Problem


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
        problems.append(Problem.plain("--repo", str(error)))
    if not repo or repo.count("/") != 1:
        problems = [Problem.plain("--repo", f"{repo!r} is not USER/NAME", "for example --repo me/my-model")]
    token = huggingface_hub.get_token()
    if not token:
        what = "there is no token of the Hugging Face Hub"
        fix = "hf auth login, or HF_TOKEN in the environment; one with write access, huggingface.co/settings/tokens"
        problems.append(Problem.plain("HF_TOKEN", what, fix))
    if problems:
        raise ExportRefused(problems)
    assert repo
    assert token
    return Account(repo, token)


def upload(account: Account, folder: Path, private: bool, label: str, say: Callable[[str], None]) -> str:
    """Upload the folder; address of the commit. Raises ExportRefused before anything private is shown, ExportError."""
    import httpx
    import huggingface_hub
    from huggingface_hub.errors import HfHubHTTPError

    api = huggingface_hub.HfApi(token=account.token)
    try:
        api.create_repo(account.repo, private=private, exist_ok=True)
        # One that was there keeps its visibility: create_repo says nothing about it.
        if private and not api.repo_info(account.repo).private:
            fix = "--public to upload all the same, or --repo with another name"
            raise ExportRefused(Problem.plain(account.repo, "exists and is public", fix))
        say(f"uploading to {account.repo}")
        done: Any = api.upload_folder(repo_id=account.repo, folder_path=str(folder), commit_message=label)
    except (HfHubHTTPError, httpx.HTTPError, OSError) as error:
        text = str(error).replace(account.token, "***")
        fix = f"the export is complete in {folder}; the same command uploads it again"
        raise ExportError(Problem.plain(account.repo, f"the upload failed: {text}", fix)) from None
    return str(done.commit_url)
