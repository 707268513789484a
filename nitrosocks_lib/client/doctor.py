"""Why a client gets through or not: one finding after another, each checked on its own. `cli.doctor` makes words of it.

Each step has a bound, and so has the whole: `limits.DIAL` for a name, for TCP, for each TLS handshake; three times
that for the carriers, which run side by side. A failed step leaves out only those that would fail for the same reason.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from copy import copy
from dataclasses import dataclass

from ..crypto.certificate import issuer
from ..crypto.identity import fingerprint
from ..facts import limits
from ..facts.address import join_host_port
from ..facts.errors import NetworkError, NitroSocksError, NotAuthorised, ProtocolError, Refused, Unanswered
from ..facts.wire import Carrier
from ..facts.words import said
from ..net.connect import Route
from ..net.timers import now
from . import findings
from .asking import Asked, Asking
from .bare import Bare
from .dialler import Dialler, Greeting
from .failures import of_carriers, refused_as_indirect
from .findings import Finding, State
from .way import Server, Way

Make = Callable[[Server, Carrier], Dialler]  # of one server and one carrier; it tells of interception, and allows it


@dataclass(slots=True)
class Trial:
    """One greeting over one carrier: what came of it, and after how many seconds."""

    carrier: Carrier
    dialler: Dialler
    seconds: float = 0.0
    greeting: Greeting | None = None
    error: NitroSocksError | None = None

    @property
    def answered(self) -> bool:
        """Whether the server proved to be there, be it with a refusal."""
        return self.greeting is not None or isinstance(self.error, (NotAuthorised, Refused))

    def run(self) -> None:
        """Blocks; raises nothing."""
        began = now()
        try:
            self.greeting = self.dialler.greet()
        except NitroSocksError as error:
            self.error = error
        except Exception as error:  # no descriptor is left, or a fault of ours: the others go on
            self.error = NetworkError(said(error))
        self.seconds = now() - began


class Doctor:
    """`examine` yields findings as they come; it blocks, and belongs to one thread."""

    def __init__(
        self,
        name: str,
        servers: tuple[Server, ...],
        route: Route,
        carriers: Sequence[Carrier],
        make: Make,
        asked: Asked,
    ) -> None:
        """`name` is the client's, as its profile has it."""
        self._name, self._servers, self._route = name, servers, route
        self._carriers, self._make, self._asked = carriers, make, asked

    def examine(self) -> Iterator[Finding]:
        """All findings, server by server, with a Verdict at the end of each."""
        at = time.time()
        possible = limits.DATE_FIRST <= at // 3600 <= limits.DATE_LAST
        yield findings.Clock(unix=at, state=State.GOOD if possible else State.BAD)
        for server in self._servers:
            yield from self._look_at(server)

    def _look_at(self, server: Server) -> Iterator[Finding]:
        where = join_host_port(*server)
        error: NitroSocksError | None = yield from Way(server, self._route).look()
        carrier = ""
        if error is None:
            trials = self._try_carriers(server)
            yield from (_of_carrier(where, trial, trials) for trial in trials)
            best = _best(trials)
            yield from self._about_server(where, best)
            error = best.error if best.answered else _of_all(server, trials)
            if best.greeting is not None:
                carrier = best.carrier
                error = yield from self._in_session(where, best, best.greeting)
        state = State.BAD if error else State.GOOD
        yield findings.Verdict(server=where, state=state, error=error, carrier=carrier)

    # -- carriers ------------------------------------------------------------------------------------------------------

    def _try_carriers(self, server: Server) -> list[Trial]:
        """A greeting over each, all at the same time."""
        trials = [Trial(carrier, self._make(server, carrier)) for carrier in self._carriers]
        threads = [threading.Thread(target=trial.run, name=trial.carrier, daemon=True) for trial in trials]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for other in trials:
            if other.greeting is not None and other is not _best(trials):
                Bare(other.greeting).close()
        return trials

    def _about_server(self, where: str, trial: Trial) -> Iterator[Finding]:
        """Whether it has the key, and knows this client."""
        key = fingerprint(trial.dialler.credentials.server_public)
        if trial.answered:
            yield findings.Key(server=where, fingerprint=key)
        else:
            yield findings.Key(server=where, fingerprint=key, state=State.NOTED)
            return
        state = State.GOOD if trial.error is None else State.BAD
        yield findings.Client(server=where, state=state, error=trial.error, name=self._name)

    # -- through a session ---------------------------------------------------------------------------------------------

    def _in_session(
        self, where: str, trial: Trial, greeting: Greeting
    ) -> Generator[Finding, None, NitroSocksError | None]:
        """What only a session tells; returns why `forward` would refuse it, or None."""
        interception, error = self._interception(where, greeting)
        yield interception
        ahead = time.time() - greeting.greeted.server_ms / 1000
        near = abs(ahead) <= limits.CLOCK_SKEW
        yield findings.Difference(server=where, state=State.GOOD if near else State.BAD, seconds=ahead)
        bare = Bare(greeting)
        try:
            yield _round_trip(where, bare)
            if self._asked.speed:
                yield _upward(where, bare)
        finally:
            bare.close()
        if error is None:
            yield from Asking(where, trial.dialler, self._asked).examine()
        return error

    def _interception(self, where: str, greeting: Greeting) -> tuple[Finding, NitroSocksError | None]:
        link, stated = greeting.link, greeting.greeted.certificate_hash
        name, met = issuer(link.certificate()), link.certificate_hash()
        intercepted = stated != met if any(stated) else None
        error = None
        if self._route.direct and intercepted is not False:
            error = refused_as_indirect(f'TLS is intercepted by "{name}"' if intercepted else "")
        state = State.BAD if error or intercepted else State.GOOD if intercepted is False else State.NOTED
        found = findings.Interception(
            server=where, state=state, error=error, intercepted=intercepted, issuer=name, met=met.hex(),
            stated=stated.hex() if any(stated) else "",
        )  # fmt: skip
        return found, error


class Examining:
    """An examination in a thread, so that nobody is kept waiting by it; any thread may look what was found."""

    def __init__(self, early: Iterable[Finding], doctor: Doctor, told: Callable[[], None]) -> None:
        """Begins at once, behind what was found `early`; `told()` is called at each finding, and at the end."""
        self._found, self._failure = [*early], list[Exception]()
        self.over = False  # all is found
        self._doctor, self._told = doctor, told
        threading.Thread(target=self._run, name="doctor", daemon=True).start()

    def _run(self) -> None:
        try:
            for finding in self._doctor.examine():
                self._found.append(finding)
                self._told()
        except Exception as error:
            self._failure.append(error)
        finally:
            self.over = True
            self._told()

    def take(self, start: int = 0) -> list[Finding]:
        """What is found so far, from this one on. Raises what a check has raised, which is a fault of ours."""
        if self._failure:
            raise self._failure[0]
        return self._found[start:]


def _best(trials: list[Trial]) -> Trial:
    """The first with a session; else the first that the server answered; else the first."""
    return min(trials, key=lambda trial: (trial.greeting is None, not trial.answered))


def _of_all(server: Server, trials: list[Trial]) -> NitroSocksError:
    """What `forward` says where no carrier gets through."""
    failures = [(trial.carrier, copy(trial.error)) for trial in trials if trial.error is not None]
    return of_carriers(server, failures)


def _of_carrier(where: str, trial: Trial, trials: list[Trial]) -> Finding:
    state = State.GOOD if trial.answered else State.BAD
    error = None if trial.answered else copy(trial.error)
    through = {each.carrier for each in trials if each.answered}
    if error is not None and through and (isinstance(error, Unanswered) or not error.hint):
        error.hint = _beside(trial.carrier, through)
    hangs = error is not None and trial.seconds >= limits.DIAL
    return findings.Carrier(
        server=where, state=state, error=error, carrier=trial.carrier, seconds=trial.seconds, hangs=hangs
    )


def _beside(carrier: Carrier, through: set[Carrier]) -> str:
    """Why one may fail where others get through: clock and key are right then, and so is --path if it is theirs."""
    path = "--path is not that of 'serve', " if carrier is not Carrier.RAW and through == {Carrier.RAW} else ""
    return f"what is in between does not let it pass, {path}or 'serve --carrier' leaves it out; another gets through"


def _round_trip(where: str, bare: Bare) -> Finding:
    try:
        deadline = now() + limits.DIAL
        return findings.RoundTrip(server=where, seconds=min(bare.ask(deadline) for _ in range(limits.ASKED)))
    except (NetworkError, ProtocolError) as error:
        return findings.RoundTrip(server=where, state=State.BAD, error=error)


def _upward(where: str, bare: Bare) -> Finding:
    try:
        rate = bare.pour(limits.POURED, now() + limits.POURED + limits.DIAL)
        return findings.Speed(server=where, way="up", by="padding", rate=rate)
    except (NetworkError, ProtocolError) as error:
        return findings.Speed(server=where, way="up", by="padding", state=State.BAD, error=error)
