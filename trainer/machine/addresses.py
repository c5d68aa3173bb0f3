"""Addresses of servers that a person names in the settings."""

from __future__ import annotations

from urllib.parse import urlsplit


def is_plain(url: str) -> bool:
    """Of a server, http or https, that a path may be added to: without a name and password, which would be in every
    copy of the settings, and without a query."""
    try:
        parts = urlsplit(url)
        return (
            parts.scheme in ("http", "https")
            and bool(parts.hostname)
            and "@" not in parts.netloc
            and not (parts.query or parts.fragment)
            and parts.port != 0
            and url.isascii()
            and url.isprintable()
            and " " not in url
        )
    except ValueError:
        return False
