"""One error of many: why no server, or no carrier to it, does."""

from __future__ import annotations

import time
from collections.abc import Sequence

from ..facts.address import join_host_port
from ..facts.errors import Intercepted, NetworkError, NitroSocksError, ProtocolError, Refused, Unanswered
from ..facts.wire import Carrier
from ..facts.words import quoted

Server = tuple[str, int]
_KINDS = (ProtocolError, Refused, NetworkError)


def of_servers(failures: Sequence[tuple[Server, NitroSocksError]]) -> NitroSocksError:
    """One error with every server's reason. Its class and hint are those of the last one that somebody can act on."""
    telling = _telling([error for _, error in failures])
    if len(failures) > 1:
        telling.args = ("; ".join(_named(error, server) for server, error in failures),)
    return telling


def of_carriers(server: Server, failures: Sequence[tuple[Carrier, NitroSocksError]]) -> NitroSocksError:
    """One error with the reason of every carrier to a server, as above."""
    telling = _telling([error for _, error in failures])
    carriers: dict[str, list[Carrier]] = {}  # by reason
    for carrier, error in failures:
        carriers.setdefault(str(error), []).append(carrier)
    if len(carriers) > 1:
        where = join_host_port(*server)
        reasons = "; ".join(f"{', '.join(those)}: {why.removeprefix(f'{where} ')}" for why, those in carriers.items())
        telling.args = (f"{where}: no carrier gets through ({reasons})",)
    return telling


def refused_as_indirect(intercepted: str) -> Intercepted:
    """Why --require-direct ends a run; nothing in `intercepted` means that the server does not tell."""
    return Intercepted(
        intercepted or "the server does not know its TLS certificate, so nobody can tell whether TLS is intercepted",
        "leave --require-direct out to go through it: your data stays end-to-end encrypted",
    )


def unanswered(server: Server, key: str, carrier: Carrier, head: bytes | None, forced: bool) -> Unanswered:
    """Why a greeting got no answer, or that of a web server with this head.

    `key` is the fingerprint that the profile names; `forced`: no other carrier was to be tried.
    """
    clock = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())
    raw, what, first = carrier is Carrier.RAW, "did not answer the greeting", ""
    if head is not None:
        status = quoted(head.partition(b"\r\n")[0].decode("latin-1"))
        what = f"{what}, a web server did: {status}" if raw else f"answered as a web server: {status}"
        if raw and forced:
            first = "leave --carrier raw out, since a box on the way may only pass HTTP. Otherwise: "
    path = "" if raw and head is None else "--path differs from that of 'serve', "
    return Unanswered(
        f"{join_host_port(*server)} {what}",
        f"{first}this clock says {clock}: is it right to the hour? If it is, {path}the server's key is not "
        f"{key} (ask the operator what 'nitrosocks keygen' prints at the server), or no NitroSocks server is there",
    )


def _telling(errors: Sequence[NitroSocksError]) -> NitroSocksError:
    return next(error for kind in _KINDS for error in reversed(errors) if isinstance(error, kind))


def _named(error: NitroSocksError, server: Server) -> str:
    """A refusal alone does not say who refuses; the others do."""
    return f"{join_host_port(*server)}: {error}" if isinstance(error, Refused) else str(error)
