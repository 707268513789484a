"""One error of many: why no server, or no carrier to it, does."""

from __future__ import annotations

from collections.abc import Sequence

from ..facts.address import join_host_port
from ..facts.errors import Intercepted, NetworkError, NitroSocksError, ProtocolError, Refused
from ..facts.wire import Carrier

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
    if len(failures) > 1:
        where = join_host_port(*server)
        reasons = "; ".join(f"{carrier}: {str(error).removeprefix(f'{where} ')}" for carrier, error in failures)
        telling.args = (f"{where}: no carrier gets through ({reasons})",)
    return telling


def refused_as_indirect(intercepted: str) -> Intercepted:
    """Why --require-direct ends a run; nothing in `intercepted` means that the server does not tell."""
    return Intercepted(
        intercepted or "the server does not know its TLS certificate, so nobody can tell whether TLS is intercepted",
        "leave --require-direct out to go through it: your data stays end-to-end encrypted",
    )


def _telling(errors: Sequence[NitroSocksError]) -> NitroSocksError:
    return next(error for kind in _KINDS for error in reversed(errors) if isinstance(error, kind))


def _named(error: NitroSocksError, server: Server) -> str:
    """A refusal alone does not say who refuses; the others do."""
    return f"{join_host_port(*server)}: {error}" if isinstance(error, Refused) else str(error)
