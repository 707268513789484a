"""The whole table of verdicts, three ways: the rules alone, the server's judgement, and `permit --test`."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import program
import pytest
from program import Site
from rule_table import GROUPS, OWN, Row, rows

from nitrosocks_lib.facts.address import join_host_port
from nitrosocks_lib.facts.wire import Kind, Reply
from nitrosocks_lib.net.race import Place
from nitrosocks_lib.protocol.addresses import Address
from nitrosocks_lib.protocol.frames import Target
from nitrosocks_lib.protocol.permit import Placed, Rules
from nitrosocks_lib.server import targets
from nitrosocks_lib.session.dialling import Found, Unreached
from nitrosocks_lib.session.reaching import unfound

site = program.site
ROWS = [*rows()]
UNFOUND = "none", "invalid"  # in place of an address


def own(address: Address) -> bool:
    return str(address) in OWN


def told(decided: Placed | None) -> tuple[bool, str]:
    """As the table has it."""
    if decided is None:
        return False, ""
    return decided.permits, decided.text + f" in {decided.group}" * bool(decided.group)


def test_there_are_enough_of_all_kinds() -> None:
    assert len(ROWS) >= 200 and len({row.rules for row in ROWS}) >= 20 and sum(row.asked for row in ROWS) >= 15


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_by_the_rules_alone(row: Row) -> None:
    rules, (kind, host, port) = Rules.parse(row.rules, GROUPS), row.target
    for address, permitted, rule in row.verdicts:
        if address == "?":
            assert told(rules.certain(host, port, Kind(kind))) == (False, rule)
        elif address not in UNFOUND:
            assert told(rules.deciding(host, address, port, Kind(kind), own)) == (permitted, rule)
            assert not permitted or rules.may_permit(host, port, Kind(kind))


class Resolver:
    """Answers with the addresses of a row, and keeps what it was asked."""

    def __init__(self, row: Row) -> None:
        self.row, self.asked = row, list[str]()

    def __call__(self, host: str, port: int) -> list[Place]:
        self.asked.append(host)
        return [place(address, port) for address, _, _ in self.row.verdicts if address not in UNFOUND]


def place(address: str, port: int) -> Place:
    return (socket.AF_INET6, (address, port, 0, 0)) if ":" in address else (socket.AF_INET, (address, port))


def judged(target: Target, rules: Rules, resolve: Resolver) -> Found:
    """As a session's dials go about it."""
    if (found := targets.place(target, rules)) is not None:
        return found
    if answer := resolve(target.host, target.port):
        return targets.permitted(target, rules, answer)
    return unfound(target.host, socket.gaierror(-2, "Name or service not known"))


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_by_the_server(row: Row, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(targets, "own", own)
    resolver = Resolver(row)
    found = judged(row.target, Rules.parse(row.rules, GROUPS), resolver)
    addresses = [address for address, _, _ in row.verdicts]
    assert len(resolver.asked) == is_looked_up(row)
    if not isinstance(found, Unreached):
        assert [str(each[1][0]) for each in found] == [address for address, permitted, _ in row.verdicts if permitted]
        assert all(each[1][1] == row.target.port for each in found)
    elif addresses[0] in UNFOUND:
        assert found.reply == Reply.HOST_UNREACHABLE
    else:
        assert found.reply == Reply.NOT_PERMITTED and not any(permitted for _, permitted, _ in row.verdicts)
        first = next(filter(None, (rule for _, _, rule in row.verdicts)), "")
        assert first.partition(" ")[0] in found.more and ("forbids" in found.more) is bool(first)


def is_looked_up(row: Row) -> bool:
    """A name is, if a rule could permit it."""
    try:
        socket.getaddrinfo(row.target.host, 1, flags=socket.AI_NUMERICHOST)
    except socket.gaierror:
        return row.verdicts[0][0] not in ("?", "invalid")
    except (UnicodeError, ValueError):
        pass
    return False


# -- the program ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def text(site: Site) -> str:
    """The file of a client."""
    site.profile("alice", 1, "203.0.113.1:1")
    return (site.home / "clients.d" / "alice.toml").read_text()


def client(site: Site, text: str, name: str, rules: Iterable[str]) -> str:
    """A client with these rules, and otherwise as in `text`."""
    listed = ", ".join(f'"{rule}"' for rule in rules)
    path = site.home / "clients.d" / f"{name}.toml"
    path.write_text(re.sub(r"(?ms)^permit = \[.*?\]$", lambda _: f"permit = [{listed}]", text))
    path.chmod(0o600)
    return name


def test_by_the_program(site: Site, text: str) -> None:
    sample = [row for row in ROWS if row.asked]
    names = {rules: f"client{number}" for number, rules in enumerate(dict.fromkeys(row.rules for row in sample))}
    for rules, name in names.items():
        client(site, text, name, rules)

    def ask(row: Row) -> tuple[int, str]:
        done = site.run("permit", names[row.rules], "--test", str(row.target), "--home", site.home)
        return done.returncode, (done.stdout or done.stderr).decode()

    with ThreadPoolExecutor(2) as pool:
        answers = [*pool.map(ask, sample)]
    for row, (code, said) in zip(sample, answers, strict=True):
        ((address, permitted, rule),) = row.verdicts
        at = "" if address in ("?", row.target.host) else f" at {join_host_port(address, row.target.port)}"
        verb = "permitted by" if permitted else "forbidden by" if rule else "not permitted: no rule permits it"
        line = f"{row.target}{at}: {verb}" + f" '{rule}'" * bool(rule)
        assert code == (0 if permitted else 77) and said.startswith(line), (row, said)


# -- paths ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def top(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """app/a.sock, app/admin.sock and app/.hidden; links: app/out.sock and named.sock to secret/s.sock, way to app,
    var/run to app, app/loop to itself, app/up to the top."""
    top = tmp_path_factory.mktemp("paths").resolve()
    for folder in "app", "secret", "var":
        (top / folder).mkdir()
    for link, leads in (
        ("app/out.sock", "secret/s.sock"), ("named.sock", "secret/s.sock"), ("way", "app"), ("var/run", "app"),
        ("app/loop", "app/loop"), ("app/up", "."),
    ):  # fmt: skip
        (top / link).symlink_to(top / leads)
    return top


# As it is asked for, where that leads (empty: nowhere), the number of the rule that decides or -1, and the rules, where
# ~ is the top. Each path but those with `..` below need not exist.
PATHS = [
    ("~/app/a.sock", "~/app/a.sock", 0, ["~/app/*.sock"]),
    ("~/app/none.sock", "~/app/none.sock", 0, ["~/app/*.sock"]),
    ("~/app/a.sock", "~/app/a.sock", 0, ["~/app/a.sock"]),
    ("~/app/a.sock", "~/app/a.sock", 0, ["~/*/?.sock"]),
    ("~/app/a.sock", "~/app/a.sock", 0, ["~/app/[a-c].sock"]),
    ("~/app/a.sock", "~/app/a.sock", -1, ["~/app/[!a-c].sock"]),
    ("~/app/a.sock", "~/app/a.sock", -1, ["~/app/?"]),
    ("~/app/a.sock", "~/app/a.sock", -1, ["~/*.sock"]),
    ("~/app/a.sock", "~/app/a.sock", -1, ["~/*"]),
    ("~/app/a.sock", "~/app/a.sock", -1, ["~/app"]),
    ("~/app/a.sock", "~/app/a.sock", -1, ["*:*", "udp:*:*"]),
    ("~/app/a.sock", "~/app/a.sock", -1, []),
    ("~/app/A.SOCK", "~/app/A.SOCK", -1, ["~/app/*.sock"]),
    ("~/app/.hidden", "~/app/.hidden", 0, ["~/app/*"]),
    ("~/app//a.sock", "~/app/a.sock", 0, ["~/app/a.sock"]),
    ("~/app/./a.sock", "~/app/a.sock", 0, ["~/app/*.sock"]),
    ("~//app/a.sock/", "~/app/a.sock", 0, ["~/app/*.sock"]),
    ("~/app/deep/a.sock", "~/app/deep/a.sock", -1, ["~/app/*.sock", "~/app/*"]),
    ("~/app/../app/a.sock", "~/app/a.sock", 0, ["~/app/*.sock"]),
    ("~/app/../secret/s.sock", "~/secret/s.sock", -1, ["~/app/*", "~/app/*/secret/*"]),
    ("~/app/up/secret/s.sock", "~/secret/s.sock", -1, ["~/app/*", "~/app/*/secret/*"]),
    ("~/app/up/../s.sock", "~/../s.sock", -1, ["~/app/*", "~/*"]),
    ("~/way/a.sock", "~/app/a.sock", 0, ["~/app/*.sock"]),
    ("~/way/a.sock", "~/app/a.sock", -1, ["~/way/*.sock"]),
    ("~/way/a.sock", "~/app/a.sock", 0, ["~/way/a.sock"]),
    ("~/app/a.sock", "~/app/a.sock", -1, ["~/way/a.sock"]),
    ("~/app/out.sock", "~/secret/s.sock", -1, ["~/app/*.sock"]),
    ("~/app/out.sock", "~/secret/s.sock", 1, ["~/app/*.sock", "~/secret/*"]),
    ("~/named.sock", "~/secret/s.sock", 0, ["~/named.sock"]),
    ("~/secret/s.sock", "~/secret/s.sock", -1, ["~/named.sock"]),
    ("~/named.sock", "~/secret/s.sock", -1, ["~/name?.sock"]),
    ("~/app/loop", "~/app/loop", 0, ["~/app/*"]),
    ("~/app/admin.sock", "~/app/admin.sock", 0, ["!~/app/admin*", "~/app/*"]),
    ("~/way/admin.sock", "~/app/admin.sock", 0, ["!~/app/admin*", "~/app/*"]),
    ("~/app/admin.sock", "~/app/admin.sock", 0, ["~/app/*", "!~/app/admin*"]),
    ("~/app/admin.sock", "~/app/admin.sock", 0, ["!~/var/run/admin.sock", "~/app/*"]),
    ("~/way/admin.sock", "~/app/admin.sock", 0, ["!~/var/run/adm*", "~/app/*"]),
    ("~/app/admin.sock", "~/app/admin.sock", 0, ["!~/app/../app/admin.sock", "~/app/*"]),
    ("~/app/admin.sock", "~/app/admin.sock", 0, ["!~/app//admin.sock", "~/app/*"]),
    ("~/app/a.sock", "~/app/a.sock", 1, ["!~/var/run/admin.sock", "~/app/*"]),
    ("~/secret/s.sock", "~/secret/s.sock", 0, ["!~/named.sock", "~/secret/*"]),
    ("~/app/out.sock", "~/secret/s.sock", 0, ["!~/app/out.sock", "~/secret/*"]),
    ("~/app/a.sock", "~/app/a.sock", 1, ["!*:*", "~/app/*"]),
    ("~/app/a.sock", "~/app/a.sock", 1, ["!~/app/*.sock.old", "~/app/*"]),
    ("~/app/a\0.sock", "", -1, ["~/app/*"]),
    ("~/app/a.sock\0", "", -1, ["~/app/*"]),
    ("a.sock", "", -1, ["~/app/*", "/*"]),
    ("app/a.sock", "", -1, ["~/app/*"]),
    ("", "", -1, ["~/app/*", "/*"]),
    ("\0abstract", "", -1, ["~/app/*", "/*"]),
    ("/", "/", -1, ["~/app/*", "/?*"]),
    ("~/app/" + "x" * 200, "~/app/" + "x" * 200, 0, ["~/app/*"]),
]  # fmt: skip


@pytest.mark.parametrize(("asked", "leads", "number", "rules"), PATHS)
def test_paths(asked: str, leads: str, number: int, rules: list[str], top: Path) -> None:
    rules = [rule.replace("~", str(top)) for rule in rules]
    asked, leads = asked.replace("~", str(top)), os.path.normpath(leads.replace("~", str(top))) if leads else ""
    permit = Rules.parse(rules)
    permitted = number >= 0 and not rules[number].startswith("!")
    if leads:
        decided = permit.deciding_path(asked, leads, os.path.realpath)
        assert told(decided) == (permitted, rules[number] if number >= 0 else "")
    found = targets.place(Target(Kind.UNIX, asked, 0), permit)
    if permitted:
        assert found == [(socket.AF_UNIX, leads.encode())]
    else:
        assert isinstance(found, Unreached) and found.reply == Reply.NOT_PERMITTED


def test_paths_by_the_program(site: Site, text: str, top: Path) -> None:
    client(site, text, "bob", [f"!{top}/var/run/admin.sock", f"{top}/app/*.sock"])
    for asked, code, said in (
        ("way/a.sock", 0, f" at {top}/app/a.sock: permitted by '{top}/app/*.sock'"),
        ("app/admin.sock", 77, f": forbidden by '!{top}/var/run/admin.sock'"),
    ):
        done = site.run("permit", "bob", "--test", top / asked, "--home", site.home)
        assert (done.returncode, done.stdout.decode()) == (code, f"{top}/{asked}{said}\n")
