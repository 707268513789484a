"""Negotiate and NTLM at a proxy, with the package pyspnego: the extra `sso`. Kerberos is asked for its tickets."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ..facts.words import said
from ..protocol.proxy_auth import Login
from ..protocol.proxy_login import Handshake, Unable

if TYPE_CHECKING:
    import spnego

_INSTALL: Final = (
    "install the extra (pip install 'nitrosocks[sso]'), or let a local proxy that can log in (px, cntlm) do it, and "
    "name that one with --proxy"
)
_LOG_IN: Final = "give DOMAIN\\user:password in a file with --proxy-auth FILE, or get a ticket (kinit)"


class Sso:
    """One handshake, which belongs to one connection."""

    def __init__(self, context: spnego.ContextProxy) -> None:
        self._context = context

    def step(self, token: bytes) -> bytes:
        """What to say to what the proxy said, nothing at first; raises Unable."""
        try:
            return self._context.step(token or None) or b""
        except Exception as error:  # whatever pyspnego and Kerberos make of bytes of a proxy
            raise Unable(said(error), _LOG_IN) from None


def begin(scheme: str, host: str, login: Login | None) -> Handshake:
    """`scheme` is negotiate or ntlm, `host` the proxy's name; raises Unable. Without a login it is that of the user who
    runs this: a ticket of Kerberos, or what NTLM_USER_FILE says."""
    try:
        import spnego
    except ImportError:
        raise Unable("the package pyspnego is missing", _INSTALL) from None
    logging.getLogger("spnego").setLevel(logging.WARNING)  # below, it logs tokens: who has one can guess the password
    user, password = (login.user, login.password) if login else (None, None)
    try:
        context = spnego.client(user, password, host, "HTTP", protocol=scheme, context_req=spnego.ContextReq.none)
    except Exception as error:
        raise Unable(said(error), _LOG_IN) from None
    return Sso(context)


def readable(environ: Mapping[str, str]) -> set[Path]:
    """What is read to log in, at any time: the directory of the tickets, which are renewed as new files, and logins."""
    places = {Path(environ[name]) for name in ("NTLM_USER_FILE", "KRB5_CONFIG") if environ.get(name)}
    if find_spec("spnego") is None:
        return set()
    if find_spec("gssapi") is not None:
        kind, colon, path = environ.get("KRB5CCNAME", f"FILE:/tmp/krb5cc_{os.geteuid()}").partition(":")
        name = path if colon else kind
        if kind in ("FILE", "DIR") or not colon:
            places.add(Path(name) if kind == "DIR" else Path(name).parent)
    return places
