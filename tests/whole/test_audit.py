"""The audit trail of a real server: who came, what each stream reached, who was not let in; as text and as JSON."""

from __future__ import annotations

import re
import signal
import socket
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import program
from audited import parsed
from faultproxy import FaultProxy
from loopback import read_exactly, reset, unused_port, was_reset
from program import Process, Site, expect_one_line
from targets import Target, dial, echo, exchange

from nitrosocks_lib.server.audit import EVENTS

site = program.own_site

KEPT = 1  # seconds for which a session is kept


def serving(site: Site) -> Process:
    return site.serve("-v", "--resume", KEPT, "--log-format", "json")


def events(server: Process, name: str) -> list[dict[str, Any]]:
    return [line for line in parsed(str(server.err)) if line["event"] == name]


def event(server: Process, name: str, after: int = 0) -> dict[str, Any]:
    """The first event of this kind behind so many lines, waited for."""
    return parsed(server.err.wait(f'"event": "{name}"', after))[0]


def ended(server: Process) -> None:
    """It ends in order, and all of its lines are there."""
    assert server.signal().wait() == 0


def another_token(profile: Path) -> Path:
    """The same client with another Token."""
    text = re.sub(
        r'^token = "(.)', lambda found: f'token = "{"B" if found[1] == "A" else "A"}', profile.read_text(), flags=re.M
    )
    changed = profile.with_name("changed.profile")
    changed.touch(mode=0o600)
    changed.write_text(text)
    return changed


# -- sessions and streams ---------------------------------------------------------------------------------------------


def reset_at_once(sock: socket.socket) -> None:
    sock.recv(1)
    reset(sock)


def one_of_each(site: Site, *words: object) -> list[str]:
    """A session with a stream of each kind, a lost connection, a client that is killed: the lines of a server."""
    server = site.serve("-v", "--resume", KEPT, *words)
    with FaultProxy(("127.0.0.1", server.port)) as proxy, Target(echo) as target, Target(reset_at_once) as resetting:
        profile = site.profile("alice", proxy.port, "127.0.0.1:*")
        ports = (target.port, unused_port(), resetting.port)
        specs = [f"0:127.0.0.1:{port}" for port in ports] + [f"0:127.0.0.2:{target.port}"]
        client = site.forward(profile, *specs, words=("--sessions", 1))
        clean, refused, reset_there, forbidden = client.ports
        with dial(clean) as sock:
            assert exchange(sock, b"12345") == b"12345"
        server.err.wait("clean")
        for port, how in ((refused, "refused by target"), (forbidden, "refused by rule")):
            with suppress(ConnectionResetError), dial(port) as sock:  # it may be reset before `dial` has looked
                assert was_reset(sock)
            server.err.wait(how)
        with dial(reset_there) as sock:
            sock.sendall(b"1")
            assert was_reset(sock)
        server.err.wait("reset by target")
        with dial(clean) as running:
            with dial(clean) as sock:
                sock.sendall(b"1")
                assert read_exactly(sock, 1) == b"1"
                reset(sock)
            server.err.wait("reset by client")
            running.sendall(b"1")
            assert read_exactly(running, 1) == b"1"
            proxy.cut()
            server.err.wait("resumed")
            running.sendall(b"23")
            assert read_exactly(running, 2) == b"23"
            client.signal(signal.SIGKILL)
            server.err.wait("not resumed in time")
    ended(server)
    return str(server.err).splitlines()


def test_as_json_with_all_fields(site: Site) -> None:
    lines = parsed("\n".join(one_of_each(site, "--log-format", "json")))
    by: dict[str, list[dict[str, Any]]] = {}
    for line in lines:
        by.setdefault(line["event"], []).append(line)
    (start,), (end,) = by["session-started"], by["session-ended"]
    assert start["client"] == "alice" and start["carrier"] == "raw" and start["source"].startswith("127.0.0.1:")
    assert re.fullmatch(r"SHA256:[\w+/]{22}", start["fingerprint"]) and end["fingerprint"] == start["fingerprint"]
    assert (end["reason"], end["streams"]) == ("it was not resumed in time", 6) and end["duration"] >= KEPT
    assert end["received"] > 8 and end["sent"] > 8
    assert len(by["session-resumed"]) == 1 and len(by["session-lost"]) == 2 and by["session-lost"][0]["kept"] == KEPT
    streams = {(each["how"], each["received"], each["sent"]) for each in by["stream-ended"]}
    assert streams == {("clean", 5, 5), ("reset by target", 1, 0), ("reset by client", 1, 1), ("lost", 3, 3)}
    assert all(each["reached"] == each["target"] for each in by["stream-ended"]) and len(by["target-reached"]) == 4
    refused = {each["how"]: each["reason"] for each in by["stream-refused"]}
    assert "connection refused" in refused["refused by target"]
    assert "is not permitted for this client" in refused["refused by rule"] and len(refused) == 2
    for line in lines:
        if line["event"] != "message":
            assert line["message"] == EVENTS[line["event"]].said(line)
            assert tuple(line)[4:] == EVENTS[line["event"]].fields


def test_text_and_json_say_the_same(tmp_path: Path) -> None:
    def shape(line: str) -> str:
        return re.sub(r"[\d.]+", "#", re.sub(r"SHA256:\S+", "KEY", line))

    told = []
    for name, words in (("text", ()), ("json", ("--log-format", "json"))):
        place = tmp_path / name
        place.mkdir()
        with Site(place) as site:
            told.append(one_of_each(site, *words))
    text, messages = told[0], [f"nitrosocks: {line['message']}" for line in parsed("\n".join(told[1]))]
    begin = "nitrosocks: alice: "
    kept = [[shape(line) for line in lines if line.startswith(begin)] for lines in (text, messages)]
    assert sorted(kept[0]) == sorted(kept[1]) and len(kept[0]) == 15


def test_without_v_there_are_no_dials_and_with_q_only_warnings(site: Site) -> None:
    with Target(echo) as target:
        for words, told in (((), True), (("-q",), False)):
            server = site.nitrosocks(
                "serve", "--listen", f"127.0.0.1:{(port := unused_port())}", "--home", site.home, *words
            )
            profile = site.profile(f"a{told}", port)
            client = site.nitrosocks("forward", "-i", profile, "-L", f"0:127.0.0.1:{target.port}", "--retry")
            client.err.wait("nitrosocks: ready")
            client.signal().wait()
            assert site.run("connect", "-i", another_token(profile), "127.0.0.1", "1").returncode == 255
            server.err.wait("login failed")
            ended(server)
            assert ("started from" in str(server.err)) is told and "reached" not in str(server.err)
            assert told or expect_one_line(str(server.err))


# -- ends of sessions -------------------------------------------------------------------------------------------------


def running(site: Site, server: Process, name: str, target: Target) -> tuple[Path, Process, Any]:
    profile = site.profile(name, server.port)
    client = site.forward(profile, f"0:127.0.0.1:{target.port}", words=("--sessions", 1))
    sock = site.enter_context(dial(client.port))
    sock.sendall(b"x")
    assert read_exactly(sock, 1) == b"x"
    return profile, client, sock


def test_a_client_that_is_revoked(site: Site) -> None:
    server = serving(site)
    with Target(echo) as target:
        _, _, sock = running(site, server, "alice", target)
        (site.home / "clients.d" / "alice.toml").unlink()
        assert was_reset(sock)
        revoked, end = event(server, "client-revoked"), event(server, "session-ended")
    assert revoked["client"] == end["client"] == "alice" and revoked["level"] == "warning"
    assert (end["reason"], revoked["session"]) == ("the client was revoked", end["session"])
    assert event(server, "stream-ended")["how"] == "lost"


def test_a_server_that_stops(site: Site) -> None:
    server = site.serve("--log-format", "json", "--drain", 0)
    with Target(echo) as target:
        running(site, server, "alice", target)
        ended(server)
    (end,) = events(server, "session-ended")
    (stream,) = events(server, "stream-ended")
    assert end["reason"] == "the server stops" and (stream["how"], stream["received"]) == ("lost", 1)


def test_a_connect_that_is_done(site: Site) -> None:
    server = site.serve()
    with Target(echo) as target:
        done = site.run("connect", "-i", site.profile("alice", server.port), "127.0.0.1", target.port, give=b"hello")
        assert done.stdout == b"hello"
    line = server.err.wait("alice: session 1 ended after ")
    assert ": released; streams: 1, bytes received: " in line and " over raw, key SHA256:" in line
    assert line.rpartition("key ")[2].encode() in site.run("clients", "--home", site.home).stdout


# -- logins that fail -------------------------------------------------------------------------------------------------


def refused(site: Site, profile: Path, times: int = 1) -> None:
    for _ in range(times):
        assert site.run("connect", "-i", profile, "127.0.0.1", "1").returncode == 255


def failed(site: Site, spoil: Callable[[Path, Path], Path], times: int = 1) -> tuple[Process, dict[str, Any]]:
    """A client that was known and is spoilt: the profile's path and its file's make the profile to try."""
    server = serving(site)
    profile, file = site.profile("alice", server.port), site.home / "clients.d" / "alice.toml"
    with Target(echo) as target:
        site.run("connect", "-i", profile, "127.0.0.1", target.port, give=b"")
    started = event(server, "session-started")
    refused(site, spoil(profile, file), times)
    failure = event(server, "login-failed")
    assert failure["source"].startswith("127.0.0.1:") and failure["level"] == "warning"
    assert failure["fingerprint"] == started["fingerprint"]
    ended(server)
    return server, failure


def test_an_unknown_key(site: Site) -> None:
    def spoil(profile: Path, file: Path) -> Path:
        file.unlink()
        return profile

    server, failure = failed(site, spoil, times=4)
    assert (failure["client"], failure["file"], failure["reason"]) == ("", "", "no client has this key")
    assert len(events(server, "login-failed")) == 1
    (more,) = events(server, "logins-failed")
    assert (more["count"], more["source"], more["seconds"]) == (3, "127.0.0.1", 60)


def test_the_right_key_with_another_token(site: Site) -> None:
    def spoil(profile: Path, file: Path) -> Path:
        return another_token(profile)

    _, failure = failed(site, spoil)
    assert failure["client"] == "alice" and failure["file"].endswith("/clients.d/alice.toml")
    assert "its Token differs" in failure["reason"]


def test_a_file_with_a_fault(site: Site) -> None:
    def spoil(profile: Path, file: Path) -> Path:
        file.write_text(file.read_text() + "permit\n")
        return profile

    server, failure = failed(site, spoil)
    assert failure["file"].endswith("/clients.d/alice.toml") and "its file has a fault: " in failure["reason"]
    assert re.search(r"alice\.toml: not TOML: .* line \d+", failure["reason"])
    assert events(server, "client-faulty")[0]["file"] == failure["file"]


def test_a_file_that_was_never_read_may_be_the_one(site: Site) -> None:
    server = serving(site)
    profile, file = site.profile("alice", server.port), site.home / "clients.d" / "alice.toml"
    file.unlink()
    refused(site, profile)  # the directory was looked at: it is not known
    bad = site.home / "clients.d" / "ev\x1b[2J\nnitrosocks: forged\r.toml"
    bad.write_text("name = 'x\x1b'\n")
    bad.chmod(0o600)
    assert event(server, "client-faulty")["file"].endswith(r"/ev\x1b[2J\nnitrosocks: forged\r.toml")
    ended(server)
    text = site.serve()
    profile = site.profile("bob", text.port)
    (site.home / "clients.d" / "bob.toml").unlink()
    refused(site, profile)
    line = text.err.wait("login failed")
    ended(text)
    assert "perhaps this file names it" in line and r"ev\x1b[2J\nnitrosocks: forged\r.toml" in line
    for each in (server, text):
        assert not {"\x1b", "\r"} & set(str(each.err))
        assert all(line.startswith(("nitrosocks: ", "{")) for line in str(each.err).splitlines())
    assert not any(line.startswith("nitrosocks: forged") for line in str(text.err).splitlines())


# -- the rest ---------------------------------------------------------------------------------------------------------


def test_forward_in_json_and_what_ends_a_program(site: Site) -> None:
    server = site.serve()
    profile = site.profile("alice", server.port)
    client = site.nitrosocks("forward", "-i", profile, "-L", "0:127.0.0.1:1", "--log-format", "json")
    assert parsed(client.err.wait("ready"))[0] == parsed(str(client.err))[0] | {"event": "message", "message": "ready"}
    assert client.signal().wait() == 0
    done = site.run("forward", "-i", site.place / "none", "-L", "0:127.0.0.1:1", "--log-format", "json")
    (line,) = parsed(done.stderr.decode())
    assert done.returncode == 65 and line["level"] == "error" and "there is no such file" in line["message"]


def test_another_form(site: Site) -> None:
    done = site.run("serve", "--log-format", "xml")
    assert done.returncode == 64 and "--log-format xml" in expect_one_line(done.stderr)
