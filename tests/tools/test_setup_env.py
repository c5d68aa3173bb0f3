"""What the set-up says of a pip that failed."""

from __future__ import annotations

import pytest

from tools.setup_env import without_credentials


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        (
            "at https://me:s3cret@pypi.corp.example:8443/simple, twice",
            "at https://pypi.corp.example:8443/simple, twice",
        ),
        ("(https://me:s3@cret@h.example/simple)", "(https://h.example/simple)"),
        ("https://me:s3/cret@h.example/simple/", "https://h.example/simple/"),
        ("401: 'https://tok_s3cret@h.example/x'", "401: 'https://h.example/x'"),
        ("http://h.example:8080/a@1.0/b", "http://h.example:8080/a@1.0/b"),
        ("git+https://oauth2:s3cret@git.example/a.git@v1", "git+https://git.example/a.git@v1"),
        ("url: /simple/torch/?token=s3cret (Caused by", "url: /simple/torch/? (Caused by"),
        ("proxy me:s3cret@proxy.example:3128 answers 407", "proxy proxy.example:3128 answers 407"),
        ("HTTPSConnectionPool(host='pypi.org', port=443)", "HTTPSConnectionPool(host='pypi.org', port=443)"),
    ],
)
def test_credentials_are_hidden_and_the_host_is_not(said: str, shown: str) -> None:
    assert without_credentials(said) == shown
