"""Findings of `doctor` as people read them: what was seen, and what to do about it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from ..client import findings as f
from ..client.findings import Finding, State
from ..facts import limits
from ..facts.words import foreign

_FORGIVEN: Final = 7200.0  # seconds that a clock may be off, at most
_PREFIXES: Final = ((1e9, "GB"), (1e6, "MB"), (1e3, "kB"))


class Words(NamedTuple):
    """One line: its label, what was seen, and a remedy, which may be empty."""

    label: str
    seen: str
    remedy: str = ""


def words(finding: Finding) -> Words:
    """What a person is told of it."""
    label, say = _TABLE[type(finding)]
    seen, remedy = say(finding)
    return Words(label, foreign(seen), foreign(remedy))


def as_json(finding: Finding) -> dict[str, Any]:
    """The stable fields of `--json` (docs/doctor.md): those of the finding, and what people are told."""
    seen, remedy = words(finding)[1:]
    values = {each.name: getattr(finding, each.name) for each in fields(finding) if each.name != "error"}
    values |= {"state": finding.state.value, "error": None if finding.error is None else foreign(finding.error)}
    return {"check": CHECKS[type(finding)], **values, "seen": seen, "remedy": remedy}


CHECKS: Final[dict[type[Finding], str]] = {
    f.Clock: "clock",
    f.Pac: "pac",
    f.Proxy: "proxy",
    f.Name: "name",
    f.Tcp: "tcp",
    f.Tls: "tls",
    f.Alpn: "alpn",
    f.Certificate: "certificate",
    f.Carrier: "carrier",
    f.Key: "key",
    f.Client: "client",
    f.Interception: "interception",
    f.RoundTrip: "round_trip",
    f.Difference: "clock_difference",
    f.Destination: "destination",
    f.Idle: "idle",
    f.Age: "age",
    f.Speed: "speed",
    f.Verdict: "verdict",
}


# -- one by one -------------------------------------------------------------------------------------------------------


def _clock(found: f.Clock) -> tuple[str, str]:
    seen = f"{datetime.fromtimestamp(found.unix, UTC):%Y-%m-%d %H:%M:%S} UTC"
    return seen, "set this machine's clock: it must be within an hour of the server's" if _bad(found) else ""


def _pac(found: f.Pac) -> tuple[str, str]:
    return f"{found.named_by} names a PAC script, which is not run: {found.url}", (
        "look into it for the proxy of this network"
    )


def _proxy(found: f.Proxy) -> tuple[str, str]:
    if found.error is not None:
        return f"{found.error} (after {_time(found.seconds)})", found.error.hint
    return f"{found.proxy} ({found.named_by}) opens the connection in {_time(found.seconds)}", ""


def _name(found: f.Name) -> tuple[str, str]:
    if found.error is not None:
        return f"{found.error} ({_time(found.seconds)})", found.error.hint
    if found.literal:
        return f"{found.host} is an address", ""
    v4, v6 = (", ".join(each) or "none" for each in (found.v4, found.v6))
    return f"{found.host}: v4 {v4}; v6 {v6} ({_time(found.seconds)})", ""


def _tcp(found: f.Tcp) -> tuple[str, str]:
    if found.error is None:
        return f"{found.address} connects in {_time(found.seconds)}", ""
    if found.hangs:
        return f"{found.address} does not answer for {_time(found.seconds)}", (
            "a firewall drops this port, or no machine has this address: try another network, or port 443"
        )
    return f"{found.error} after {_time(found.seconds)}", (
        "is 'nitrosocks serve' running there, on this port? A firewall may refuse it too"
    )


def _tls(found: f.Tls) -> tuple[str, str]:
    if found.error is None:
        return f"{found.version}, {found.cipher}, in {_time(found.seconds)}", ""
    return _no_tls(found.error, found.seconds, found.hangs)


def _alpn(found: f.Alpn) -> tuple[str, str]:
    if found.error is not None:
        return _no_tls(found.error, found.seconds, found.hangs)
    return f"{found.offered} was offered, {found.chosen or 'nothing'} was chosen", ""


def _no_tls(error: Exception, seconds: float, hangs: bool) -> tuple[str, str]:
    if hangs:
        return f"no answer to the TLS handshake for {_time(seconds)}", (
            "another service, or a box that drops TLS, accepts the connection and says nothing; try another port"
        )
    return f"{error}, after {_time(seconds)}", (
        "the service there does not speak TLS, or a box on the way cuts it: check the port in the profile"
    )


def _certificate(found: f.Certificate) -> tuple[str, str]:
    flaw = "verifies" if found.verifies else f"does not verify ({found.flaw})"
    seen = f'issued by "{found.issuer}", {flaw}, SHA-256 {found.sha256[:16]}…'
    return seen, "leave --tls-verify out: the tunnel does not need it" if _bad(found) else ""


def _carrier(found: f.Carrier) -> tuple[str, str]:
    if found.error is None:
        return f"{found.carrier} works, in {_time(found.seconds)}", ""
    how = "hangs" if found.hangs else "refused"
    return f"{found.carrier}: {how} after {_time(found.seconds)}: {found.error}", found.error.hint


def _key(found: f.Key) -> tuple[str, str]:
    if _bad(found) or found.state is State.NOTED:
        return f"{found.fingerprint} is expected, but the server did not prove it", (
            "ask the operator what 'nitrosocks keygen' prints at the server"
        )
    return f"{found.fingerprint}, proven by the server", ""


def _client(found: f.Client) -> tuple[str, str]:
    if found.error is None:
        return f"{found.name} is authorised", ""
    return f"{found.name}: {found.error}", found.error.hint


def _interception(found: f.Interception) -> tuple[str, str]:
    hint = "" if found.error is None else found.error.hint
    if found.intercepted is None:
        return "the server does not know its TLS certificate: something in front of it ends the TLS", hint
    if not found.intercepted:
        return "TLS is not intercepted: the server presented the certificate that arrived here", ""
    seen = f'TLS is intercepted by "{found.issuer}"'
    if hint:
        return seen, hint
    return f"{seen}; your data stays end-to-end encrypted", ("nothing to do; --require-direct refuses such connections")


def _round_trip(found: f.RoundTrip) -> tuple[str, str]:
    return _time(found.seconds) if found.error is None else str(found.error), ""


def _difference(found: f.Difference) -> tuple[str, str]:
    way = "ahead of" if found.seconds > 0 else "behind"
    seen = f"this clock is {_time(abs(found.seconds))} {way} the server's"
    if abs(found.seconds) > _FORGIVEN:
        return (
            seen,
            "set the clock: only this server's web server told the right time, and not every server has one",
        )
    return seen, "set the clock: with two hours or more the server does not answer" if _bad(found) else ""


def _destination(found: f.Destination) -> tuple[str, str]:
    if found.error is None:
        return f"{found.target} opens, in {_time(found.seconds)}", ""
    return f"{found.error}", found.error.hint


def _idle(found: f.Idle) -> tuple[str, str]:
    if found.error is None:
        beats = f"the server's heartbeat ends each after about {_time(found.heartbeat)}"
        longest = f"the longest silence was {_time(found.silence)} ({beats})"
        return f"an idle session lived for {_time(found.lived)}; {longest}", ""
    survived = f"a silence of {_time(found.silence)} was survived"
    return f"cut after {_time(found.lived)}, {survived}: {found.error}", (
        f"sessions survive reconnections; 'serve --heartbeat {max(limits.HEARTBEAT_MIN, int(found.silence))}' "
        "would keep the connection"
    )


def _age(found: f.Age) -> tuple[str, str]:
    if found.error is None:
        return f"a connection lived for {_time(found.lived)}", ""
    return f"cut at the age of {_time(found.lived)}: {found.error}", (
        f"sessions survive reconnections; --redial {max(1, int(found.lived * 0.9))} moves before the cut"
    )


def _speed(found: f.Speed) -> tuple[str, str]:
    way = {"up": "to the server", "down": f"through {found.by} and back"}[found.way]
    if found.error is None:
        return f"{_rate(found.rate)} {way}", ""
    return f"{way}: {found.error}", "choose a permitted target that sends back all that it receives" * (
        found.way == "down"
    )


def _verdict(found: f.Verdict) -> tuple[str, str]:
    if found.error is None:
        return f"{found.server} can be used, over {found.carrier}", ""
    why = str(found.error).removeprefix(f"{found.server}: ")
    return f"{found.server} cannot be used: {why}", ""


# -- numbers ----------------------------------------------------------------------------------------------------------


def _bad(found: Finding) -> bool:
    return found.state is State.BAD


def _time(seconds: float) -> str:
    if seconds < 1:
        return f"{seconds * 1000:.3g} ms"
    return f"{seconds:.3g} s" if seconds < 120 else f"{seconds / 60:.3g} min" if seconds < 7200 else _hours(seconds)


def _hours(seconds: float) -> str:
    return f"{seconds / 3600:.3g} h" if seconds < 172_800 else f"{seconds / 86_400:.0f} days"


def _rate(rate: float) -> str:
    unit, name = next(((unit, name) for unit, name in _PREFIXES if rate >= unit), (1.0, "bytes"))
    return f"{rate / unit:.3g} {name}/s"


_TABLE: Final[dict[type[Finding], tuple[str, Callable[[Any], tuple[str, str]]]]] = {
    f.Clock: ("clock", _clock),
    f.Pac: ("PAC", _pac),
    f.Proxy: ("proxy", _proxy),
    f.Name: ("name", _name),
    f.Tcp: ("TCP", _tcp),
    f.Tls: ("TLS", _tls),
    f.Alpn: ("ALPN", _alpn),
    f.Certificate: ("certificate", _certificate),
    f.Carrier: ("carrier", _carrier),
    f.Key: ("server key", _key),
    f.Client: ("client", _client),
    f.Interception: ("interception", _interception),
    f.RoundTrip: ("round trip", _round_trip),
    f.Difference: ("clocks", _difference),
    f.Destination: ("destination", _destination),
    f.Idle: ("idle", _idle),
    f.Age: ("age", _age),
    f.Speed: ("speed", _speed),
    f.Verdict: ("verdict", _verdict),
}
