"""forward: SIGUSR1 asks for a line, and --retry waits for a server; what it carries is in tests/whole."""

from __future__ import annotations

import signal

import program
from loopback import unused_port
from program import Site, expect_one_line

site = program.site


def test_a_status_line(site: Site) -> None:
    server = site.serve()
    client = site.forward(site.profile("bob", server.port), "0:127.0.0.1:1")
    client.signal(signal.SIGUSR1)
    line = client.err.wait(", up ")
    assert line.startswith("nitrosocks: ") and "sessions made so far" in line
    assert client.signal().wait() == 0


def test_retry_goes_on_until_there_is_a_server(site: Site) -> None:
    port = unused_port()
    profile = site.profile("carol", port)
    assert "refused" in expect_one_line(site.run("forward", "-i", profile, "-L", "0:127.0.0.1:1").stderr)
    client = site.nitrosocks("forward", "-i", profile, "-L", "0:127.0.0.1:1", "--retry")
    client.err.wait("; trying again in 0.2 s")
    server = site.serve(listen=f"127.0.0.1:{port}")
    client.err.wait("nitrosocks: ready")
    for process in (client, server):
        assert process.signal().wait() == 0
