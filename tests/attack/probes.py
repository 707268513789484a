"""Strangers probe a server of ours with an nginx behind it as decoy, and an nginx with TLS of its own: what differs?

    python tests/attack/probes.py [--kind KIND ...] [--few N] [--against nginx|none] [--show 3]
    python tests/attack/probes.py --times [--pairs 200] [--delay 1] [--jitter 0 0.5 1 2 4]

Each of some 1,700 probes is made at both, which have one site, one certificate and the same settings. Compared are the
bytes of the answer, TLS messages and alerts, and how it ends: close_notify, FIN or RST, and whether the server still
reads behind it. Prints a table of kinds and differences; exits 1 when there is one that is not known (KNOWN).
--against nginx makes both the same nginx: what is told then is the test's own noise. --against none: our server without
a decoy answers nothing at all. --times: pairs of the same probe in turn, by way of a line
whose jitter varies, and whether a rank test tells them apart; exits 1 when it does with the last one.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parents[1]), str(HERE.parent / "support"), str(HERE)]

import nginx  # noqa: E402
import probelist  # noqa: E402
import probetimes  # noqa: E402
from probelist_tls import TLS  # noqa: E402
from prober import HOLD, Probe, Seen, prober  # noqa: E402
from program import Site  # noqa: E402

from nitrosocks_lib.crypto import schedule  # noqa: E402
from nitrosocks_lib.crypto.token import Token, Tokens  # noqa: E402
from nitrosocks_lib.facts import limits, wire  # noqa: E402
from nitrosocks_lib.facts.wire import What  # noqa: E402
from nitrosocks_lib.files.profiles import load_profile  # noqa: E402
from nitrosocks_lib.protocol import greet  # noqa: E402

AT_ONCE = 24
OWN, OWN_HOLD = (60, 75, 5), 80.0  # nginx's own times, and until when what is open counts as held open
KNOWN = {
    ("spoilt TLS", "SNI 8 bit"),  # Python cannot say that it knows such a name
    ("spoilt heads", "line 10 b'GET /aaaaaaaaaaaaaaa'"),  # a decoy lingers where nginx with TLS of its own does not,
    ("one byte at a time", "two"),  # and the other way round: it depends on how the bytes of the last request come
}
TRIES = 2
SEEN, UNSEEN = 8, 120
TOLD = ("end", "said", "handshake", "reused")


@dataclass(frozen=True, slots=True)
class Difference:
    """Of one probe: what it is in, what nginx showed, and what ours did."""

    probe: Probe
    what: str
    theirs: str
    ours: str

    def __str__(self) -> str:
        return f"{self.probe.kind}: {self.probe.name}: {self.what}: nginx {self.theirs} | ours {self.ours}"


class Stage(ExitStack):
    """`theirs` and `ours` are ports; what is seen there before are greetings and tokens for `probelist.every`."""

    def __init__(self, place: Path, against: str = "decoy", settings: tuple[int, ...] = ()) -> None:
        super().__init__()
        site = self.enter_context(Site(place))
        assert site.run("keygen", "--home", site.home).returncode == 0
        web = nginx.start(site, site.home / "tls.crt", site.home / "tls.key", times=settings)
        self.server = site.serve(*(["--decoy", f"127.0.0.1:{web.plain}"] if against == "decoy" else []))
        self.theirs, self.ours = web.secure, web.secure if against == "nginx" else self.server.port
        self._who = load_profile(site.profile("alice", self.server.port)).credentials
        self._tokens = Tokens(schedule.knock_key(self._who.server_public))

    def probes(self, seed: int = 1, over: bool = False) -> list[Probe]:
        """All of them; those of a carrier `http` that is `over` differ for as long as repeats are answered."""
        seen = [self._greeting() for _ in range(SEEN)]
        for each in seen:
            assert self._asked(each), "it is one of ours, and is answered"
        tokens = {"websocket": self._websocket()} | (self._http() if over else {})
        self.ready = time.monotonic() + (limits.REPEATS + 1 if over else 0)
        return probelist.every(seed, (seen, [self._greeting() for _ in range(UNSEEN)]), tokens)

    def _greeting(self) -> bytes:
        said = next(greet.greet(self._who, int(time.time()) // 3600, limits.WINDOW, os.urandom))
        assert isinstance(said, bytes)
        return said

    def _token(self, carrier: bytes, what: What, n: int = 0) -> str:
        return self._tokens.make(int(time.time()) // 3600, Token(carrier, what, n))

    def _asked(self, said: bytes) -> bytes:
        return prober(self.server.port, Probe("", "", (TLS, ("say", said), ("answer", 1))), 0.0).said

    def _websocket(self) -> str:
        """Of one whose knock came: only that makes it a token that is used up (TK4)."""
        token = self._token(os.urandom(wire.CARRIER_ID), What.WEBSOCKET)
        head = probelist.request("GET", f"/{token}", probelist.PLAIN_HEAD + probelist.UPGRADE[:-2])
        body = self._greeting()
        message = b"\x82\xfe" + len(body).to_bytes(2) + bytes(4) + body  # its mask is 0
        steps = (TLS, ("say", head), ("answer", 1), ("say", message), ("pause", 0.5))
        said = prober(self.server.port, Probe("", "", steps), 0.0).said
        assert said.startswith(b"HTTP/1.1 101") and b"\r\n\r\n\x82" in said, "it is one of ours, and is answered"
        return token

    def _http(self) -> dict[str, str]:
        carrier = os.urandom(wire.CARRIER_ID)
        ups = [self._token(carrier, What.UP, n) for n in range(2)]
        for token, body in zip(ups, (self._greeting(), b""), strict=True):
            head = probelist.PLAIN_HEAD + probelist.OCTETS + f"Content-Length: {len(body)}\r\n".encode()
            assert self._asked(probelist.request("POST", f"/{token}", head, body)).startswith(b"HTTP/1.1 200")
        return {"up 0": ups[0], "up 1": ups[1], "down": self._token(carrier, What.DOWN)}


def compare(stage: Stage, probes: list[Probe], hold: float = HOLD) -> Iterator[list[Difference]]:
    """Makes each at both, many side by side, and tells in what they differ; in order.

    Where they do it is made again, and what differed counts if it does each time: who is first is chance in some.
    """

    def both(probe: Probe) -> list[Difference]:
        for _ in range(TRIES):
            found = differences(probe, prober(stage.theirs, probe, hold), prober(stage.ours, probe, hold))
            if not found:
                break
        return found

    with ThreadPoolExecutor(AT_ONCE) as threads:
        yield from threads.map(both, probes)


def differences(probe: Probe, theirs: Seen, ours: Seen) -> list[Difference]:
    """In what the two differ."""
    pairs = [(what, getattr(theirs, what), getattr(ours, what)) for what in TOLD]
    return [Difference(probe, what, _short(one), _short(other)) for what, one, other in pairs if one != other]


def _short(value: object) -> str:
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= 300 else f"{text[:300]}… ({len(text)})"


def table(probes: list[Probe], found: list[Difference]) -> str:
    """Kinds of probes, and how many of them differed in what."""
    made = Counter(probe.kind for probe in probes)
    differ: dict[str, Counter[str]] = defaultdict(Counter)
    for each in found:
        differ[each.probe.kind][each.what] += 1
    lines = [f"| probes | made | {' | '.join(TOLD)} |", f"|---|---|{'---|' * len(TOLD)}"]
    lines += [f"| {kind} | {made[kind]} | {' | '.join(str(differ[kind][what]) for what in TOLD)} |" for kind in made]
    total = Counter(each.what for each in found)
    return "\n".join([*lines, f"| all | {len(probes)} | {' | '.join(str(total[what]) for what in TOLD)} |"])


# -- the script --------------------------------------------------------------------------------------------------------


def run(stage: Stage, probes: list[Probe], show: int, hold: float = HOLD) -> list[Difference]:
    """Prints what differs, some of each kind. Tokens come last, when those of a carrier are of one that is over."""
    found: list[Difference] = []
    shown: Counter[tuple[str, ...]] = Counter()
    early = [each for each in probes if each.kind != "tokens"]
    late = [each for each in probes if each.kind == "tokens"]
    for some in (early, late):
        if some is late and late:
            time.sleep(max(0.0, stage.ready - time.monotonic()))
        for each in (each for differ in compare(stage, some, hold) for each in differ):
            found.append(each)
            short = each.probe.kind, each.what, *((each.theirs, each.ours) if each.what == "end" else ())
            shown[short] += 1
            if shown[short] <= show:
                print("KNOWN" if (each.probe.kind, each.probe.name) in KNOWN else "", each, flush=True)
    return found


def both_runs(options: argparse.Namespace) -> tuple[list[Probe], list[Difference]]:
    """Those that wait, with nginx's own times; all others with short ones."""
    probes: list[Probe] = []
    found: list[Difference] = []
    for silent in (False, True):
        times = OWN if silent else ()
        with tempfile.TemporaryDirectory() as place, Stage(Path(place), options.against, times) as stage:
            some = [each for each in stage.probes(options.seed, not silent) if (each.kind == "silence") is silent]
            some = [each for each in some if not options.kind or each.kind in options.kind]
            some = some[:: max(1, len(some) // options.few)] if options.few else some
            probes += some
            found += run(stage, some, options.show, OWN_HOLD if silent else HOLD) if some else []
    return probes, found


def main() -> int:
    """Prints the tables; 1 when something differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kind", nargs="*", default=[])
    parser.add_argument("--few", type=int, default=0)
    parser.add_argument("--against", choices=("decoy", "nginx", "none"), default="decoy")
    parser.add_argument("--times", action="store_true")
    parser.add_argument("--pairs", type=int, default=200)
    parser.add_argument("--delay", type=float, default=1.0)
    parser.add_argument("--jitter", type=float, nargs="+", default=[0.0, 0.5, 1.0, 2.0, 4.0])
    parser.add_argument("--show", type=int, default=3)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    if options.times:
        with tempfile.TemporaryDirectory() as place, Stage(Path(place), options.against) as stage:
            ports, probes = [stage.theirs, stage.ours], stage.probes()
            alike = probetimes.timed(ports, probes, options.pairs, options.delay, options.jitter)
            return 0 if alike else 1
    began = time.monotonic()
    probes, found = both_runs(options)
    print(table(probes, found))
    new = [each for each in found if (each.probe.kind, each.probe.name) not in KNOWN]
    print(f"{len(probes)} probes in {time.monotonic() - began:.0f} s; {len(found)} differences, {len(new)} of them new")
    return 1 if new else 0


if __name__ == "__main__":
    sys.exit(main())
