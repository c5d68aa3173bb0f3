"""What must never reach a service: values of secret variables, passwords in ~/.netrc and in addresses.

Secrets are looked for by value, wherever they stand: a completion, a data path, a parameter of a reward. No
third-party package.
"""

from __future__ import annotations

import netrc
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from trainer.machine.project import PROJECT

SECRET = "[secret]"
SHORTEST = 8  # characters: TOKENIZERS_PARALLELISM=false is no secret, and "false" stands everywhere
_NAMES = re.compile(r"KEY|TOKEN|SECRET|PASSWORD|PASSWD", re.IGNORECASE)
_IN_ADDRESS = re.compile(r"(?<=://)[^/\s@:]*:[^/\s@]+(?=@)")


class Redactor:
    """Replaces secrets in whatever is about to be sent."""

    def __init__(self, environment: Mapping[str, str], more: Iterable[str] = ()) -> None:
        found = {value for name, value in environment.items() if _NAMES.search(name)}
        found |= {*more, *_netrc_passwords(environment)}
        # A key of several lines is also met line by line.
        found |= {line for value in found for line in value.splitlines()}
        known = sorted((value.strip() for value in found), key=len, reverse=True)  # the longer before what it contains
        parts = [re.escape(value) for value in known if len(value) >= SHORTEST]
        self._known = re.compile("|".join(parts)) if parts else None

    def text(self, text: str) -> str:
        if self._known is not None:
            text = self._known.sub(SECRET, text)
        return _IN_ADDRESS.sub(SECRET, text)

    def clean(self, value: Any) -> Any:
        """A copy of plain values, its keys looked through as well."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            return {self.text(str(key)): self.clean(part) for key, part in value.items()}
        if isinstance(value, list | tuple):
            return [self.clean(part) for part in value]
        return value

    def config(self, value: Any) -> Any:
        """The same, and paths inside this project without the way to it."""
        if isinstance(value, str):
            return self.text(value.replace(f"{PROJECT}/", "")).replace(f"{PROJECT}\\", "")
        if isinstance(value, dict):
            return {self.text(str(key)): self.config(part) for key, part in value.items()}
        if isinstance(value, list | tuple):
            return [self.config(part) for part in value]
        return value


def _netrc_passwords(environment: Mapping[str, str]) -> set[str]:
    named = environment.get("NETRC")
    files = [Path(named)] if named else [Path("~/.netrc"), Path("~/_netrc")]
    found = set()
    for file in files:
        try:
            hosts = netrc.netrc(str(file.expanduser())).hosts
        except (OSError, RuntimeError, ValueError, netrc.NetrcParseError):  # none there, no home, or not one
            continue
        found |= {password for _, _, password in hosts.values() if password}
    return found
