"""later: what runs goes on when an upgrade replaces the files of the program."""

from __future__ import annotations

import logging
import shutil
import signal
import socket
import sys
from pathlib import Path
from typing import Any

import program
import pytest
from logged import here, messages
from program import NITROSOCKS, Process, Site
from targets import Target, echo

from nitrosocks_lib.cli import later

site = program.own_site


class Stop:
    """As net.signals has it, but time passes at once."""

    def __init__(self, ends: bool = False) -> None:
        self._ends = ends

    def wait(self, seconds: float) -> bool:
        assert seconds == later.PAUSE
        return self._ends


def test_one_that_is_gone_is_missed_when_it_is_needed(caplog: pytest.LogCaptureFixture) -> None:
    def gone() -> None:
        raise ModuleNotFoundError("No module named 'h11'")

    caplog.set_level(logging.DEBUG)
    stop: Any = Stop()
    assert not later.first_wait(stop, gone)
    assert messages(here(caplog)) == ["what is needed later cannot be loaded: No module named 'h11'"]


def test_who_is_to_end_loads_nothing() -> None:
    stop: Any = Stop(ends=True)
    assert later.first_wait(stop, pytest.fail)


def test_the_files_are_gone(site: Site) -> None:
    """HTTP is what -D loads late; a file of a client is what a server without clients has not read yet."""
    source = Path(NITROSOCKS[1]).parent
    copied = shutil.copytree(source / "nitrosocks_lib", site.place / "copied" / "nitrosocks_lib").parent
    shutil.copy(source / "nitrosocks.py", copied)
    ours = [sys.executable, copied / "nitrosocks.py"]
    server = site.start(*ours, "serve", "--home", site.home, "--listen", "127.0.0.1:0")
    port = program.port_of(server.err.wait("listening on"))
    server.err.wait("ready, with key")
    profile = site.profile("alice", port)
    client = site.start(*ours, "forward", "-i", profile, "-D", "0")
    client.err.wait("nitrosocks: ready")
    for process in (server, client):
        process.signal(signal.SIGUSR1)  # it loads them now, and then tells
        process.err.wait(", up ")
    shutil.rmtree(copied)
    served(site, client)
    site.forward(site.profile("bob", port), "0:127.0.0.1:1")
    assert "Traceback" not in f"{client.err}{server.err}"


def served(site: Site, client: Process) -> None:
    assert client.out is not None
    near = program.port_of(client.out.wait("proxy for SOCKS and HTTP on"))
    target = site.enter_context(Target(echo))
    with socket.create_connection(("127.0.0.1", near), 60) as sock:
        sock.sendall(f"CONNECT 127.0.0.1:{target.port} HTTP/1.1\r\n\r\n".encode())
        assert sock.recv(100).startswith(b"HTTP/1.1 200 ")
