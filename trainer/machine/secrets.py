"""What is secret: environment variables by their name or value, passwords in ~/.netrc and in addresses.

`is_secret` says which variables a person's code is not given. `Redactor` looks for secrets by value, wherever they
stand: a completion, a data path, a parameter of a reward. No third-party package.
"""

from __future__ import annotations

import dataclasses
import netrc
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from trainer.machine.project import PROJECT

SECRET = "[secret]"
SHORTEST = 8  # characters: TOKENIZERS_PARALLELISM=false is no secret, and "false" stands everywhere
# Short words are held against what they are part of: PAT is not PATH, AUTH not AUTHOR, PWD alone is the folder.
_NAMES = re.compile(
    r"KEY|TOKEN|SECRET|PASS|CRED|COOKIE|DSN|PRIVATE|WEBHOOK|JWT|BEARER|CONN(?:ECTION)?_?STR"
    r"|(?<!COM)(?<!EX)PATS?(?![A-Z])|AUTH(?!OR(?!IZ))|(?<!^)(?<!^OLD)PWD|PW(?=$|_)|(?:^|_)(?:PSK|SAS|OTP)(?![A-Z])",
    re.IGNORECASE,
)
# Nobody else's business either, but often a plain word, which must not be taken out of every text: AWS_PROFILE=training
_NAMES_ONLY = re.compile(r"SESSION|^AWS_", re.IGNORECASE)
_FIELD = r"[\w.-]*(?:pass(?:w(?:or)?d|phrase)?|pwd|auth|token|secret|key|signature|sig|credential)\s*=\s*"
_ADDRESS = re.compile(r"""://[^\s"'<>]+""")
# What a person or a program has put into an address, and into the query behind it.
_IN_ADDRESS = re.compile(r"(?<=://)[^/?#]+(?=@)")
_IN_QUERY = re.compile(rf"([?&#](?:amp;)?{_FIELD})[^&#]+", re.IGNORECASE)
# A value may also be a proxy without http://, fields (password=... user=...), an address with a raw / in its password;
# an address whose path is the secret (a webhook, a bot), a key, a token that says so at its beginning.
_IN_VALUE = re.compile(
    rf"""://[^\s/?#]*@|://[^\s/@:]*:\S*@|^[^\s/@:]*:[^\s/@][^\s@]*@[^\s/@]+|(?:^|[\s;?&#,"']){_FIELD}[^\s;&]"""
    r"""|://hooks\.|/webhooks?/|/bot\d+:|-----BEGIN [A-Z ]*PRIVATE|"private_key"\s*:"""
    r"""|(?<![\w/.-])(?:gh[oprsu]_|github_pat_|glpat-|hf_|hvs\.|sk-(?:\w+-)*|xox[a-z]-)[A-Za-z0-9]{16}""",
    re.IGNORECASE,
)
_PASSWORD = re.compile(r"://[^\s/@:]*:(\S+)@")
# Settings, unlike variables, also name special tokens and variables that hold a key.
_SETTING = re.compile(
    r"(?:(?<!^)key|(?<![bep]os_)(?<!pad_)(?<!unk_)(?<!sep_)(?<!cls_)(?<!mask_)token|secret|passw(?:or)?d|webhook)$",
    re.I,
)


def is_secret(name: str, value: str = "") -> bool:
    """Whether a variable is to be kept from code that is not ours: its name says so, or its value holds a password."""
    return bool(_NAMES.search(name) or _NAMES_ONLY.search(name) or _IN_VALUE.search(value))


def is_secret_setting(name: str, value: Any) -> bool:
    """Whether a setting holds what nobody else is to see: a key, a password, an address that is one."""
    return isinstance(value, str) and len(value) >= SHORTEST and _SETTING.search(name) is not None


def hide(text: str) -> str:
    """Without the user, the password and the keys that stand in its addresses."""
    return _ADDRESS.sub(lambda found: _IN_QUERY.sub(rf"\1{SECRET}", _IN_ADDRESS.sub(SECRET, found[0])), text)


class Redactor:
    """Replaces secrets in whatever is about to be sent."""

    def __init__(self, environment: Mapping[str, str], more: Iterable[str] = ()) -> None:
        found = {value for name, value in environment.items() if _NAMES.search(name)}
        for value in environment.values():
            found |= {said for password in _PASSWORD.findall(value) for said in (password, unquote(password))}
        found |= {*more, *_netrc_passwords(environment)}
        # A key of several lines is also met line by line.
        found |= {line for value in found for line in value.splitlines()}
        known = sorted((value.strip() for value in found), key=len, reverse=True)  # the longer before what it contains
        parts = [re.escape(value) for value in known if len(value) >= SHORTEST]
        self._known = re.compile("|".join(parts)) if parts else None

    def text(self, text: str) -> str:
        if self._known is not None:
            text = self._known.sub(SECRET, text)
        return hide(text)

    def clean(self, value: Any) -> Any:
        """A copy of plain values and of records of such, its keys looked through as well."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            return {self.text(str(key)): self.clean(part) for key, part in value.items()}
        if isinstance(value, list | tuple):
            return [self.clean(part) for part in value]
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            parts = {each.name: self.clean(getattr(value, each.name)) for each in dataclasses.fields(value)}
            return dataclasses.replace(value, **parts)
        return value

    def config(self, value: Any) -> Any:
        """The same, without what a setting called a key, a token or a password holds; paths inside this project without
        the way to it."""
        if isinstance(value, str):
            return self.text(value.replace(f"{PROJECT}/", "")).replace(f"{PROJECT}\\", "")
        if isinstance(value, dict):
            return {self.text(str(key)): self._setting(str(key), part) for key, part in value.items()}
        if isinstance(value, list | tuple):
            return [self.config(part) for part in value]
        return value

    def _setting(self, name: str, value: Any) -> Any:
        return SECRET if is_secret_setting(name, value) else self.config(value)


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
