"""A real Chromium through `forward -D`: a page with sixty resources and a WebSocket, in HTTP/2 and in HTTP/1.1."""

from __future__ import annotations

from collections.abc import Iterator

import browsed
import program
import pytest
from browsed import HELLO, RESOURCES, Page
from program import Process, Site

site = program.site


@pytest.fixture(scope="module")
def server(site: Site) -> Process:
    return site.serve("-v")


@pytest.fixture(scope="module")
def port(site: Site, server: Process) -> int:
    return site.proxy(site.profile("alice", server.port)).port


@pytest.fixture(scope="module")
def page(site: Site) -> Iterator[Page]:
    with Page(site) as made:
        yield made


@pytest.mark.parametrize(
    ("way", "secure", "protocol"),
    [("socks5", True, "h2"), ("http", True, "h2"), ("http", False, "http/1.1")],
)
def test_a_page(site: Site, server: Process, port: int, page: Page, way: str, secure: bool, protocol: str) -> None:
    before = str(server.err).count("\n")
    told = page.load(*browsed.through(f"{way}://127.0.0.1:{port}"), secure=secure)
    assert (told["page"], told["echoed"], told["ran"]) == (protocol, HELLO, RESOURCES / 3)
    assert [each["protocol"] for each in told["resources"]] == [protocol] * RESOURCES
    assert sum(each["size"] for each in told["resources"]) == page.size
    server.err.wait(f"127.0.0.1:{page.secure if secure else page.plain} reached", before)
