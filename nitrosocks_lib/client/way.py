"""The way to one server as `doctor` looks at it, below any carrier: its name, TCP to each address, and its TLS."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Generator
from hashlib import sha256
from ipaddress import ip_address
from typing import TypeAlias

from ..crypto.certificate import issuer
from ..facts import limits
from ..facts.address import join_host_port
from ..facts.errors import NetworkError
from ..net import probe
from ..net import proxy as proxies
from ..net.connect import REMEMBERED, Context, Route, client_context
from ..net.link import Link
from ..net.probe import Shaken
from ..net.proxy import Proxy
from ..net.race import Place
from ..net.timers import now
from . import findings
from .findings import Finding, State

ALPN = "http/1.1"  # what the carriers websocket and http offer
Server: TypeAlias = tuple[str, int]
Steps: TypeAlias = Generator[Finding, None, NetworkError | None]


class Way:
    """One server; `look` blocks, and belongs to one thread."""

    def __init__(self, server: Server, route: Route) -> None:
        self._host, self._port = self._server = server
        self._where, self._route = join_host_port(*server), route
        self._open: Callable[[], socket.socket | Link] = self._again  # a further connection, without TLS
        self._place: Place | None = None  # the one that connected first

    def look(self) -> Steps:
        """Yields what is found; returns why nobody can get through, or None."""
        proxy = self._route.proxy(self._server)
        if proxy is not None:
            error = yield from self._through(proxy)
        else:
            error = yield from self._directly()
        return error or (yield from self._tls())

    def _through(self, proxy: Proxy) -> Steps:
        """A proxy stands for all that is below TLS; it has words of its own for what it cannot do."""

        def lead() -> socket.socket | Link:
            return proxies.lead(proxy, self._server, self._route.family, limits.DIAL, REMEMBERED)

        began, failure = now(), None
        try:
            lead().close()
        except NetworkError as error:
            failure = error
        yield findings.Proxy(
            server=self._where, state=State.BAD if failure else State.GOOD, error=failure, proxy=proxy.where,
            named_by=proxy.origin, seconds=now() - began,
        )  # fmt: skip
        self._open = lead
        return failure

    def _directly(self) -> Steps:
        places = yield from self._name()
        if isinstance(places, NetworkError):
            return places
        return (yield from self._tcp(places))

    def _name(self) -> Generator[Finding, None, list[Place] | NetworkError]:
        began = now()
        literal = _is_address(self._host)
        try:
            places = probe.look_up(self._host, self._port, self._route.family, limits.DIAL)
        except NetworkError as told:
            seconds = now() - began
            yield findings.Name(
                server=self._where, state=State.BAD, error=told, host=self._host, seconds=seconds, literal=literal
            )
            return told
        yield findings.Name(
            server=self._where, host=self._host, v4=_of(places, socket.AF_INET), v6=_of(places, socket.AF_INET6),
            seconds=now() - began, literal=literal,
        )  # fmt: skip
        return places

    def _tcp(self, places: list[Place]) -> Steps:
        answers, sock = probe.reach(places, limits.DIAL)
        for place, answer in answers:
            error = NetworkError(f"{answer.address}: {answer.error}") if answer.error else None
            state = State.GOOD if error is None else State.BAD
            yield findings.Tcp(
                server=self._where, state=state, error=error, address=answer.address, seconds=answer.seconds,
                hangs=answer.hangs,
            )  # fmt: skip
            if error is None and self._place is None:
                self._place = place
        if sock is None:
            reasons = "; ".join(f"{answer.address}: {answer.error}" for _, answer in answers)
            return NetworkError(f"cannot reach {self._where} ({reasons})")
        sock.close()
        return None

    # -- TLS ----------------------------------------------------------------------------------------------------------

    def _tls(self) -> Steps:
        """Three handshakes side by side: as the carrier raw makes it, with ALPN, and one that verifies."""
        offering = client_context(verify=False)
        offering.set_alpn_protocols([ALPN])
        bare, alpn, strict = self._shake([client_context(verify=False), offering, client_context(verify=True)])
        yield findings.Tls(
            server=self._where, state=_state(bare), error=_error(bare, "TLS"), seconds=bare.seconds,
            version=bare.version, cipher=bare.cipher, hangs=bare.hangs,
        )  # fmt: skip
        yield findings.Alpn(
            server=self._where, state=_state(alpn), error=_error(alpn, "TLS with ALPN"), offered=ALPN,
            chosen=alpn.alpn, seconds=alpn.seconds, hangs=alpn.hangs,
        )  # fmt: skip
        met = bare.certificate or alpn.certificate
        if not met:
            return NetworkError(f"cannot reach {self._where} (TLS failed: {bare.error})")
        yield self._certificate(met, strict.error)
        return None

    def _certificate(self, der: bytes, flaw: str) -> Finding:
        error = NetworkError(f"the certificate does not verify: {flaw}") if flaw and self._route.verify else None
        return findings.Certificate(
            server=self._where, state=State.BAD if error else State.GOOD, error=error, issuer=issuer(der),
            sha256=sha256(der).hexdigest(), verifies=not flaw, flaw=flaw,
        )  # fmt: skip

    def _shake(self, contexts: list[Context]) -> list[Shaken]:
        """A handshake with each, on a connection of its own."""
        shaken = dict[Context, Shaken]()

        def run(context: Context) -> None:
            try:
                shaken[context] = probe.shake(self._open(), self._host, context, limits.DIAL)
            except NetworkError as error:
                shaken[context] = Shaken(0.0, error=str(error))

        threads = [threading.Thread(target=run, args=(each,), name="handshake", daemon=True) for each in contexts]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return [shaken.get(each) or Shaken(0.0, error="no thread or descriptor is left") for each in contexts]

    def _again(self) -> socket.socket:
        """To the address that connected first."""
        assert self._place is not None, "TCP comes before TLS"
        _, sock = probe.reach([self._place], limits.DIAL)
        if sock is None:
            raise NetworkError("no further TCP connection")
        return sock


def _of(places: list[Place], family: int) -> tuple[str, ...]:
    return tuple(str(address[0]) for each, address in places if each == family)


def _is_address(host: str) -> bool:
    try:
        ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return True


def _state(shaken: Shaken) -> State:
    return State.BAD if shaken.error else State.GOOD


def _error(shaken: Shaken, what: str) -> NetworkError | None:
    return NetworkError(f"{what} failed: {shaken.error}") if shaken.error else None
