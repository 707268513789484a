"""--decoy, and addresses that are told with their option."""

from __future__ import annotations

import pytest
from wrongly import wrong

from nitrosocks_lib.cli import options as specs
from nitrosocks_lib.server.decoy import Site


@pytest.mark.parametrize(
    ("text", "site"),
    [
        (None, None),
        ("127.0.0.1:8080", Site("127.0.0.1", 8080)),
        ("http://127.0.0.1:8080/", Site("127.0.0.1", 8080)),
        ("HTTP://web.example", Site("web.example", 80)),
        ("https://web.example", Site("web.example", 443, tls=True)),
        ("https://[::1]", Site("::1", 443, tls=True)),
        ("https://web.example:8443/", Site("web.example", 8443, tls=True)),
    ],
)
def test_decoys(text: str | None, site: Site | None) -> None:
    assert specs.decoy(text) == site


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("/var/www/html", "a directory or path is not served; name a web server that runs"),
        (".", "a directory or path is not served"),
        ("https://web.example/site", "a path is not served"),
        ("ftp://web.example", "not a web server"),
        ("web.example", "--decoy 'web.example' has no port; write it as host:port"),
        ("none", "--decoy 'none' has no port"),
        ("", "--decoy '' has no port"),
        ("web.example:http", "'http' is not a port"),
    ],
)
def test_decoys_that_are_none(text: str, told: str) -> None:
    said = wrong(lambda: specs.decoy(text))
    assert said.startswith("--decoy") and told in said


def test_an_address_is_told_with_its_option() -> None:
    assert specs.address("--open", "a.example:80") == ("a.example", 80)
    assert wrong(lambda: specs.address("--open", "a.example")).startswith("--open 'a.example' has no port; write")
    assert wrong(lambda: specs.listen("nowhere")).startswith("--listen 'nowhere' has no port; write")
