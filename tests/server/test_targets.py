"""What may be reached is judged by the resolved address, and every failure has a reply code of RFC 1928."""

from __future__ import annotations

import errno
import os
import socket
from pathlib import Path

import netns
import pytest
from netns import SERVER, Net

from nitrosocks_lib.facts.wire import Kind, Reply
from nitrosocks_lib.facts.words import foreign
from nitrosocks_lib.net.race import Place
from nitrosocks_lib.protocol.frames import Target
from nitrosocks_lib.protocol.permit import Rules
from nitrosocks_lib.server import targets as module
from nitrosocks_lib.server.targets import permitted, place
from nitrosocks_lib.session.dialling import Unreached
from nitrosocks_lib.session.resolvers import resolve

net = netns.net
HERE = Rules.parse(["127.0.0.0/8:*", "[::1]:*"])


def v4(host: str, port: int) -> Place:
    return socket.AF_INET, (host, port)


def refused(target: Target, permit: Rules = HERE) -> tuple[int, str]:
    """Code and text of the refusal."""
    told = place(target, permit)
    assert isinstance(told, Unreached)
    return told.reply, told.text


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1", "0x7f.1", "2130706433"])
def test_addresses_need_no_look_up(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert place(Target(Kind.TCP, host, 9), HERE) == [v4("127.0.0.1", 9)]


def test_names_do() -> None:
    assert place(Target(Kind.TCP, "localhost", 9), HERE) is None
    assert v4("127.0.0.1", 9) in resolve("localhost", 9)


# -- permit -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("host", "rules"),
    [
        ("127.0.0.1", []), ("127.0.0.1", ["*:*"]), ("127.1", ["*:*"]), ("::ffff:127.0.0.1", ["*:*"]),
        ("0.0.0.0", ["*:*"]), ("127.0.0.1", ["127.0.0.1:1"]), ("127.0.0.1", ["/tmp/x"]),
    ],
)  # fmt: skip
def test_the_address_that_is_meant_is_judged(host: str, rules: list[str]) -> None:
    code, text = refused(Target(Kind.TCP, host, 9), Rules.parse(rules))
    assert code == Reply.NOT_PERMITTED and "is not permitted for this client" in text


@pytest.mark.parametrize("host", ["192.0.2.7", "::ffff:192.0.2.7", "64:ff9b::c000:207"])
def test_an_address_of_this_machine_needs_a_rule_that_names_it(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    here: set[str] = set()
    monkeypatch.setattr(module, "own", lambda address: str(address) in here)
    target, everywhere = Target(Kind.TCP, host, 9), Rules.parse(["*:*"])
    assert not isinstance(place(target, everywhere), Unreached)
    here.add("192.0.2.7")  # the machine gets it while it runs
    assert refused(target, everywhere)[0] == Reply.NOT_PERMITTED
    for rules, reached in ((["host.example:*"], False), (["*:*", "192.0.2.0/24:9"], True)):
        found = permitted(Target(Kind.TCP, "host.example", 9), Rules.parse(rules), [v4("192.0.2.7", 9)])
        assert isinstance(found, Unreached) is not reached


def test_where_it_cannot_be_found_out_nothing_is_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    def none_left(_: object) -> bool:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr(module, "own", none_left)
    told = refused(Target(Kind.TCP, "192.0.2.7", 9), Rules.parse(["*:*"]))
    assert told == (Reply.GENERAL, "192.0.2.7:9: too many files are open there")


@pytest.mark.netns
def test_a_star_does_not_lead_to_what_listens_on_the_server(net: Net) -> None:
    everywhere, named = Rules.parse(["*:*"]), Rules.parse(["*:*", f"{SERVER}:9"])
    with net.server.entered():
        assert refused(Target(Kind.TCP, SERVER, 9), everywhere)[0] == Reply.NOT_PERMITTED
        assert place(Target(Kind.TCP, SERVER, 9), named) == [v4(SERVER, 9)]
        assert place(Target(Kind.TCP, net.address, 9), everywhere) == [v4(net.address, 9)]


def test_each_address_of_a_name_is_judged() -> None:
    """One that is not permitted gains nothing from another that is."""
    target = Target(Kind.TCP, "localhost", 9)
    assert isinstance(permitted(target, Rules.parse(["localhost:*"]), [v4("127.0.0.1", 9)]), Unreached)
    found = [v4("10.0.0.1", 9), v4("127.0.0.9", 9), v4("192.0.2.1", 9), v4("127.0.0.1", 9)]
    assert permitted(target, HERE, found) == [v4("127.0.0.9", 9), v4("127.0.0.1", 9)]


@pytest.mark.parametrize("rules", [[], ["*:443"], ["db.example:*"], ["127.0.0.0/8:1-79"], ["udp:*:*"], ["/tmp/x"]])
def test_what_no_rule_could_permit_is_not_resolved(rules: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """So the answer does not tell whether the name exists."""
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_: pytest.fail("resolved"))
    for host in ("localhost", "name.invalid", "ä" * 200, "127.1"):
        told = refused(Target(Kind.TCP, host, 80), Rules.parse(rules))
        assert told == (Reply.NOT_PERMITTED, f"{host}:80 is not permitted for this client")


def test_paths() -> None:
    path = "/run/ä"
    assert place(Target(Kind.UNIX, path, 0), Rules.parse([path])) == [(socket.AF_UNIX, path.encode())]
    for rules in ([], ["*:*"], [path + "x"], [os.path.dirname(path)]):
        assert refused(Target(Kind.UNIX, path, 0), Rules.parse(rules))[0] == Reply.NOT_PERMITTED


def test_no_link_leads_out_of_a_directory(tmp_path: Path) -> None:
    """The path without links is judged, and connected to."""
    inside, outside = tmp_path / "app", tmp_path / "docker.sock"
    inside.mkdir()
    (inside / "link.sock").symlink_to(outside)
    (tmp_path / "way").symlink_to(inside)
    rules = Rules.parse([f"!{inside}/admin*", f"{inside}/*.sock"])
    for asked in (inside / "a.sock", tmp_path / "way" / "a.sock", inside / ".." / "app" / "a.sock"):
        assert place(Target(Kind.UNIX, str(asked), 0), rules) == [(socket.AF_UNIX, str(inside / "a.sock").encode())]
    refusals = [inside / "link.sock", inside / ".." / "docker.sock", outside, tmp_path / "way" / "admin.sock"]
    for path in [*map(str, refusals), "a.sock", "", f"{inside}/a.sock\0", "\0abstract"]:
        assert refused(Target(Kind.UNIX, path, 0), rules)[0] == Reply.NOT_PERMITTED, path
    named = Rules.parse([str(inside / "link.sock")])  # by the operator, who knows where it leads
    assert place(Target(Kind.UNIX, str(inside / "link.sock"), 0), named) == [(socket.AF_UNIX, str(outside).encode())]


def test_a_rule_that_forbids_may_go_by_links(tmp_path: Path) -> None:
    """As /var/run/docker.sock does, where /var/run leads to /run."""
    (run := tmp_path / "run").mkdir()
    (way := tmp_path / "way").symlink_to(run)
    (tmp_path / "link.sock").symlink_to(run / "docker.sock")
    for forbidden in way / "docker.sock", way / "dock*", tmp_path / "link.sock", run / ".." / "run" / "docker.sock":
        rules = Rules.parse([f"!{forbidden}", f"{run}/*.sock"])
        for asked in run / "docker.sock", way / "docker.sock", tmp_path / "link.sock":
            assert refused(Target(Kind.UNIX, str(asked), 0), rules)[0] == Reply.NOT_PERMITTED, (forbidden, asked)
        other = place(Target(Kind.UNIX, str(way / "a.sock"), 0), rules)
        assert other == [(socket.AF_UNIX, str(run / "a.sock").encode())]


# -- refusals ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["a..b", "ä" * 200, "x" * 255, "127.0.0.1\0", "a\0b"])
def test_names_that_can_be_none(host: str) -> None:
    told = f"cannot find {foreign(host)}: not a host name"
    assert refused(Target(Kind.TCP, host, 80)) == (Reply.HOST_UNREACHABLE, told)


@pytest.mark.parametrize(
    ("target", "reply"),
    [
        (Target(Kind.TCP, "", 80), Reply.GENERAL),
        (Target(Kind.TCP, "127.0.0.1", 0), Reply.GENERAL),
        (Target(Kind.TCP, "x" * 256, 80), Reply.GENERAL),
        (Target(Kind.UDP, "127.0.0.1", 0), Reply.GENERAL),
        (Target(Kind.UDP, "127.0.0.1", 80), Reply.NOT_PERMITTED),  # the rules there are for TCP
    ],
    ids=lambda value: f"{value[0]}:{value[1][:12]!r}" if isinstance(value, tuple) else "",
)
def test_targets_that_are_none(target: Target, reply: Reply) -> None:
    code, text = refused(target)
    assert code == reply and text


def test_the_log_says_why_a_name_of_this_machine_is_not_permitted(monkeypatch: pytest.MonkeyPatch) -> None:
    """The client is not told; the operator, who has written the rule, is."""
    monkeypatch.setattr(module, "own", lambda address: True)
    refused = permitted(Target(Kind.TCP, "vm", 22), Rules.parse(["vm:22"]), [(socket.AF_INET, ("10.77.0.1", 22))])
    assert isinstance(refused, Unreached) and refused.text == "vm:22 is not permitted for this client"
    assert refused.more == "; it leads to 10.77.0.1 of this machine, which only a rule with that address permits"


@pytest.mark.parametrize(("rules", "asked"), [(["!vm:*", "*:*"], None), (["!10.77.0.1:22", "*:*"], "10.77.0.1")])
def test_the_log_says_which_rule_forbids(rules: list[str], asked: str | None) -> None:
    target, permit = Target(Kind.TCP, asked or "vm", 22), Rules.parse(["@no"], {"no": rules})
    told = place(target, permit)
    assert isinstance(told, Unreached) and told.text == f"{target.host}:22 is not permitted for this client"
    assert told.more == f"; '{rules[0]}' of @no forbids it"
