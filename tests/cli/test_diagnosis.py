"""diagnosis: each finding, good and bad, as a line and as JSON."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from nitrosocks_lib.cli.diagnosis import CHECKS, as_json, words
from nitrosocks_lib.client import findings as f
from nitrosocks_lib.client.findings import Finding, State
from nitrosocks_lib.facts.errors import NetworkError
from nitrosocks_lib.facts.wire import Reply

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "doctor.md").read_text("utf-8")
BAD: dict[str, Any] = {"state": State.BAD, "error": NetworkError("told", "mend it")}
SAMPLES: list[tuple[Finding, str, str]] = [
    (f.Clock(unix=0.0), "1970-01-01 00:00:00 UTC", ""),
    (f.Clock(unix=0.0, state=State.BAD), "1970-01-01 00:00:00 UTC", "set this machine's clock"),
    (f.Pac(url="http://x/", named_by="$auto_proxy"), "$auto_proxy names a PAC script, which is not run: http://x/", ""),
    (f.Proxy(proxy="p:1", named_by="--proxy", seconds=0.1), "p:1 (--proxy) opens the connection in 100 ms", ""),
    (f.Proxy(proxy="p:1", named_by="--proxy", seconds=0.1, **BAD), "told (after 100 ms)", "mend it"),
    (f.Name(host="a", v4=("1.2.3.4",), seconds=0.5), "a: v4 1.2.3.4; v6 none (500 ms)", ""),
    (f.Name(host="::1", v6=("::1",), literal=True), "::1 is an address", ""),
    (f.Name(host="a", seconds=2, **BAD), "told (2 s)", "mend it"),
    (f.Tcp(address="1.2.3.4", seconds=0.0123), "1.2.3.4 connects in 12.3 ms", ""),
    (f.Tcp(address="1.2.3.4", seconds=10, hangs=True, **BAD), "1.2.3.4 does not answer for 10 s", "a firewall"),
    (f.Tcp(address="1.2.3.4", seconds=1, **BAD), "told after 1 s", "is 'nitrosocks serve' running"),
    (f.Tls(seconds=1, version="TLSv1.3", cipher="X"), "TLSv1.3, X, in 1 s", ""),
    (f.Tls(seconds=1, **BAD), "told, after 1 s", "the service there does not speak TLS"),
    (
        f.Tls(seconds=1, hangs=True, **BAD),
        "no answer to the TLS handshake for 1 s",
        "says nothing",
    ),
    (f.Alpn(offered="http/1.1"), "http/1.1 was offered, nothing was chosen", ""),
    (f.Alpn(offered="http/1.1", chosen="h2"), "http/1.1 was offered, h2 was chosen", ""),
    (f.Alpn(offered="http/1.1", seconds=1, **BAD), "told, after 1 s", "the service there"),
    (f.Certificate(issuer="CA", sha256="ab" * 32, verifies=True), 'issued by "CA", verifies, SHA-256 abab', ""),
    (
        f.Certificate(issuer="CA", sha256="", verifies=False, flaw="old", **BAD),
        "does not verify (old)",
        "leave --tls-verify out",
    ),
    (f.Carrier(carrier="raw", seconds=1), "raw works, in 1 s", ""),
    (f.Carrier(carrier="raw", seconds=1, **BAD), "raw: refused after 1 s: told", "mend it"),
    (f.Carrier(carrier="raw", seconds=10, hangs=True, **BAD), "raw: hangs after 10 s: told", "mend it"),
    (f.Key(fingerprint="SHA256:x"), "SHA256:x, proven by the server", ""),
    (
        f.Key(fingerprint="SHA256:x", state=State.NOTED),
        "SHA256:x is expected, but the server",
        "ask the operator",
    ),
    (f.Client(name="alice"), "alice is authorised", ""),
    (f.Client(name="alice", **BAD), "alice: told", "mend it"),
    (f.Interception(intercepted=False, issuer="CA", met="a", stated="a"), "TLS is not intercepted", ""),
    (f.Interception(intercepted=None, issuer="CA", met="a", stated=""), "does not know its TLS certificate", ""),
    (
        f.Interception(intercepted=True, issuer="CA", met="a", stated="b", state=State.BAD),
        'TLS is intercepted by "CA"; your data stays end-to-end encrypted',
        "--require-direct",
    ),
    (f.Interception(intercepted=True, issuer="CA", met="a", stated="b", **BAD), 'is intercepted by "CA"', "mend it"),
    (f.RoundTrip(seconds=0.0213), "21.3 ms", ""),
    (f.RoundTrip(**BAD), "told", ""),
    (f.Difference(seconds=-7200, state=State.BAD), "this clock is 2 h behind the server's", "set the clock"),
    (
        f.Difference(seconds=-7201, state=State.BAD),
        "this clock is 2 h behind the server's",
        "only this server's web",
    ),
    (f.Difference(seconds=86_400 * 400, state=State.BAD), "this clock is 400 days ahead", "set the clock"),
    (f.Difference(seconds=1.5), "this clock is 1.5 s ahead of the server's", ""),
    (f.Destination(target="a:1", seconds=0.1), "a:1 opens, in 100 ms", ""),
    (f.Destination(target="a:1", reply=Reply.NOT_PERMITTED, **BAD), "told", "mend it"),
    (f.Destination(target="a:1", reply=Reply.CONNECTION_REFUSED, **BAD), "told", "mend it"),
    (f.Destination(target="a:1", state=State.BAD, error=NetworkError("told")), "told", ""),
    (
        f.Idle(asked=600, lived=600, silence=19, heartbeat=20),
        "lived for 10 min; the longest silence was 19 s (the server's heartbeat ends each after about 20 s)",
        "",
    ),
    (
        f.Idle(asked=600, lived=31, silence=8, heartbeat=20, **BAD),
        "cut after 31 s, a silence of 8 s was survived: told",
        "'serve --heartbeat 8'",
    ),
    (f.Age(asked=600, lived=600), "a connection lived for 10 min", ""),
    (f.Age(asked=600, lived=100, **BAD), "cut at the age of 100 s: told", "--redial 90"),
    (f.Speed(way="up", by="padding", rate=12_340_000), "12.3 MB/s to the server", ""),
    (f.Speed(way="down", by="a:7", rate=999), "999 bytes/s through a:7 and back", ""),
    (f.Speed(way="down", by="a:7", **BAD), "through a:7 and back: told", "choose a permitted target"),
    (f.Verdict(server="a:1", carrier="raw"), "a:1 can be used, over raw", ""),
    (f.Verdict(server="a:1", **BAD), "a:1 cannot be used: told", ""),
    (
        f.Verdict(server="a:1", state=State.BAD, error=NetworkError("a:1: no carrier gets through")),
        "a:1 cannot be used: no carrier gets through",
        "",
    ),
]


@pytest.mark.parametrize(("finding", "seen", "remedy"), SAMPLES)
def test_a_finding_in_words(finding: Finding, seen: str, remedy: str) -> None:
    said = words(finding)
    assert seen in said.seen and remedy in said.remedy
    assert bool(remedy) == bool(said.remedy) or isinstance(finding, f.Pac)


@pytest.mark.parametrize("finding", [each for each, _, _ in SAMPLES])
def test_a_finding_in_json(finding: Finding) -> None:
    told = json.loads(json.dumps(as_json(finding)))
    assert told["check"] == CHECKS[type(finding)] and told["state"] == finding.state.value
    assert set(told) == {each.name for each in fields(finding)} | {"check", "seen", "remedy"}
    assert told["error"] == (None if finding.error is None else str(finding.error))


def test_every_finding_has_a_sample_and_words() -> None:
    kinds = set(Finding.__subclasses__())
    assert kinds == set(CHECKS) == {type(each) for each, _, _ in SAMPLES}


def test_what_others_said_is_harmless() -> None:
    told = words(f.Verdict(server="a", state=State.BAD, error=NetworkError("\x1b[2J\n" + "x" * 5_000)))
    assert told.seen.isprintable() and len(told.seen) < 1_000


def test_the_page_has_every_check_with_its_fields() -> None:
    """A row of its table: | `check` | `field`, `field` | … |"""
    rows = dict(row for line in PAGE.splitlines() if (row := _row(line)))
    own = {each.name for each in fields(Finding)}
    assert rows == {name: {each.name for each in fields(kind)} - own for kind, name in CHECKS.items()}


def _row(line: str) -> tuple[str, set[str]] | None:
    cells = [cell.strip() for cell in line.split("|")]
    if len(cells) != 5 or not cells[1].startswith("`"):
        return None
    return cells[1].strip("`"), {each.strip().strip("`") for each in cells[2].split(",") if each.strip()}
