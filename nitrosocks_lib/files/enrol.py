"""A new client: its keys, its profile, and the file that authorises it (protocol 7)."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Final

import tomli_w

from ..crypto.identity import ClientKey
from ..facts import wire
from ..facts.address import split_host_port
from ..facts.errors import UsageError
from ..facts.limits import FILE
from ..protocol.listening import ListenRules
from ..protocol.permit import NONE, Groups, Rules
from .keyfiles import b32, b64
from .profiles import check_name

_EDITING: Final = """\
# A client that this server authorises. permit is what it may reach: one rule a line, "host:port", a comma behind it.
# Edit it here, or with 'nitrosocks permit NAME RULE' and 'nitrosocks forbid NAME RULE': it counts from the next stream.
# Leave the rest as it is: the keys and the Token belong to the client's profile.
"""


def make_client(
    name: str,
    servers: Sequence[str],
    server_public: bytes,
    permit: Iterable[str],
    listen: Iterable[str] = (),
    now: datetime | None = None,
    groups: Groups = NONE,
) -> tuple[str, str]:
    """A new client: the text of its profile, and of its file for clients.d, which tells `now`. Writes nothing.

    `servers` are `host:port`, at least one; raises UsageError for a name, address or rule that is none.
    """
    check_name(name)
    if not servers:
        raise UsageError("a client needs the address of its server", "give --server HOST:PORT")
    for server in servers:
        split_host_port(server)
    rules = {"permit": list(Rules.parse(permit, groups).texts)}
    if listening := list(ListenRules.parse(listen).texts):
        rules["listen"] = listening
    seed, token = secrets.token_bytes(wire.SECRET), b32(secrets.token_bytes(wire.SECRET))
    profile = {"name": name, "server": servers[0] if len(servers) == 1 else list(servers)}
    profile |= {"server_public": b64(server_public), "secret": b64(seed), "token": token}
    made = {"created": now.strftime("%Y-%m-%dT%H:%M:%SZ")} if now is not None else {}
    client = rules | {"name": name} | made | {"token": token, "public": b64(ClientKey(seed).public)}
    texts = tomli_w.dumps(profile), _EDITING + tomli_w.dumps(client)
    if any(len(text.encode()) > FILE for text in texts):
        raise UsageError(f"the rules or addresses take more than {FILE >> 10} KiB", "write blocks and ranges of ports")
    return texts
