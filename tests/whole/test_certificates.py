"""A server's certificate is renewed while it runs: as tools do it, in the wrong order, and not at all."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from certified import issue, presented, replace, sha, write
from loopback import read_exactly
from program import Process, Site, tool
from targets import Target, dial, echo

from nitrosocks_lib.net import landlock

LINE = "read again: "  # what SIGHUP is answered with


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with Site(tmp_path) as made:
        yield made


def serve(site: Site, cert: Path, key: Path) -> Process:
    return site.serve("--cert", cert, "--key", key)


def hang_up(server: Process) -> list[str]:
    """What SIGHUP makes it say."""
    before = len(str(server.err).splitlines())
    server.signal(signal.SIGHUP).err.wait(LINE, before)
    return str(server.err).splitlines()[before:]


def subject(site: Site, server: Process) -> str:
    """What openssl is shown."""
    openssl = tool("openssl")
    shown = site.call(openssl, "s_client", "-connect", f"127.0.0.1:{server.port}", give=b"").stdout
    return site.call(openssl, "x509", "-noout", "-subject", give=shown).stdout.decode().strip().rpartition("= ")[2]


def test_a_stream_outlives_the_certificate(site: Site) -> None:
    """No client says that anybody intercepts, by whatever carrier; and a connection that is cut is made anew."""
    cert, key = write(site.place / "tls", "old")
    server = serve(site, cert, key)
    profile = site.profile("alice", server.port)
    target = site.enter_context(Target(echo))
    clients = [site.forward(profile, f"0:127.0.0.1:{target.port}", words=("--require-direct", "--carrier", name))
               for name in ("raw", "websocket", "http")]  # fmt: skip
    streams = [site.enter_context(dial(client.port)) for client in clients]
    for stream in streams:
        stream.sendall(b"before")
        assert read_exactly(stream, 6) == b"before"
    assert presented(server.port) == sha(cert) and subject(site, server) == "old"
    write(site.place / "tls", "new")
    assert hang_up(server)[0].startswith("nitrosocks: reloaded: certificate new, expires 20")
    assert presented(server.port) == sha(cert) and subject(site, server) == "new"
    for client, stream in zip(clients, streams, strict=True):
        stream.sendall(b"behind")
        assert read_exactly(stream, 6) == b"behind"
        name = client.argv[-1]
        words = "connect", "-i", profile, "--require-direct", "--carrier", name, f"127.0.0.1:{target.port}"
        done = site.run(*words, give=b"new")
        assert (done.returncode, done.stdout, done.stderr) == (0, b"new", b""), name
    for client in clients:
        client.signal().wait()
        assert str(client.err) == "nitrosocks: ready\n"


def test_links_are_switched_and_nobody_says_so(site: Site) -> None:
    """As certbot does it, in a place that Landlock knows; the server finds out by itself."""
    live = site.place / "live"
    live.mkdir()
    paths = live / "fullchain.pem", live / "privkey.pem"
    for number, name in enumerate(("old", "new")):
        for path, content in zip(paths, issue(name), strict=True):
            (site.place / "archive").mkdir(exist_ok=True)
            replace(site.place / "archive" / f"{path.stem}{number}.pem", content)

    def switch(number: int) -> None:
        for path in paths:
            path.unlink(missing_ok=True)
            path.symlink_to(f"../archive/{path.stem}{number}.pem")

    switch(0)
    server = serve(site, *paths)
    assert subject(site, server) == "old"
    switch(1)
    server.err.wait("reloaded: certificate new")
    assert subject(site, server) == "new"


def test_the_key_comes_late(site: Site) -> None:
    cert, key = write(site.place / "tls", "old")
    server = serve(site, cert, key)
    new_cert, new_key = issue("new")
    replace(cert, new_cert)
    told, state = hang_up(server)
    assert "they do not belong together" in told and "the certificate of before" in told
    assert "certificate old" in state and subject(site, server) == "old"
    replace(key, new_key)
    key.chmod(0o644)
    told, state = hang_up(server)
    assert f"permissions 0644 are too open; run: chmod 600 {key}" in told and "certificate old" in state
    key.chmod(0o600)
    told, state = hang_up(server)
    assert "reloaded: certificate new" in told and "0 clients authorised; certificate new" in state
    assert subject(site, server) == "new"
    key.unlink()
    assert "No such file" in hang_up(server)[0] and subject(site, server) == "new"


@pytest.mark.skipif(landlock.version() < 4, reason="no Landlock, or an old one")
def test_what_leads_elsewhere_needs_a_new_start(site: Site) -> None:
    cert, key = write(site.place / "tls", "old")
    server = serve(site, cert, key)
    elsewhere, other = write(site.place / "elsewhere", "new")
    for path, to in ((cert, elsewhere), (key, other)):
        path.unlink()
        path.symlink_to(to)
    told = hang_up(server)[0]
    assert "Permission denied" in told and "start 'nitrosocks serve' again" in told and subject(site, server) == "old"


def test_one_that_expires_soon_is_warned_of(site: Site) -> None:
    server = serve(site, *write(site.place / "tls", "site", timedelta(days=9)))
    line = server.err.wait("expires at")
    assert ", in 9 days; renew it; the new one is taken by itself" in line
    cert, key = write(site.home, "ours", timedelta(days=-1))
    for path, name in ((cert, "tls.crt"), (key, "tls.key")):
        path.rename(site.home / name)
    ours = site.serve()
    line = ours.err.wait("the TLS certificate of ours expired at")
    assert line.endswith(f"remove {site.home}/tls.crt and {site.home}/tls.key; then run: "
                         f"nitrosocks keygen --home {site.home}")  # fmt: skip
    for name in ("tls.crt", "tls.key"):
        (site.home / name).unlink()
    assert site.run("keygen", "--home", site.home).returncode == 0
    hang_up(ours)
    assert presented(ours.port) == sha(site.home / "tls.crt")
