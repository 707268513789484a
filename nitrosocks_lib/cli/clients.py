"""`clients`: who is authorised, for what, and when each was seen last."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ..facts.words import foreign
from ..files.clients import Listed, listed
from .home import opened
from .output import announce, note

if TYPE_CHECKING:
    from .options import Options

_HEADS: Final = ("NAME", "ADDED", "LAST SEEN", "FINGERPRINT", "MAY REACH")
_NONE: Final = "-"


def clients(options: Options) -> int:
    """All files of clients.d, one line each; those that a server skips with their fault."""
    with opened(options) as home:
        found = listed(home)
    if options["--json"]:
        announce([json.dumps({"clients": [_value(one) for one in found]})])
        return 0
    if not found:
        note(f"no client is authorised in {foreign(home)}; add one: nitrosocks keygen NAME --server HOST:PORT")
        return 0
    announce(_table([_HEADS, *map(_row, found)]))
    return 0


def _row(one: Listed) -> tuple[str, ...]:
    if one.client is None or one.fault is not None:
        return foreign(one.name), _NONE, _NONE, _NONE, f"nothing, for a fault: {_fault(one, home=one.path.parent)}"
    named = "" if one.client.name == one.name else f" (in the file: {one.client.name})"
    last_seen = f"{one.last_seen:%Y-%m-%d %H:%M}" if one.last_seen is not None else _NONE
    rules = ", ".join(map(foreign, one.client.permit.texts)) or "nothing"
    if one.client.listen.texts:
        rules += f"; listen on {', '.join(map(foreign, one.client.listen.texts))}"
    rules += f" ({', '.join(limits)})" if (limits := one.client.quota.texts()) else ""
    return foreign(one.name) + named, _minute(one.added), last_seen, one.fingerprint, rules


def _fault(one: Listed, home: Path) -> str:
    """Without the directory, which is the same in all."""
    assert one.fault is not None
    text = str(one.fault).replace(f"{foreign(home)}/", "")
    return f"{text}; {one.fault.hint}" if one.fault.hint else text


def _minute(added: str) -> str:
    try:
        return f"{datetime.fromisoformat(added):%Y-%m-%d %H:%M}"
    except ValueError:
        return foreign(added, 16) or _NONE


def _table(rows: list[tuple[str, ...]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _value(one: Listed) -> dict[str, Any]:
    client = one.client
    return {
        "name": one.name,
        "file": str(one.path),
        "fingerprint": one.fingerprint or None,
        "permit": list(client.permit.texts) if client is not None else None,
        "listen": list(client.listen.texts) if client is not None else None,
        "streams": (client.quota.streams or None) if client is not None else None,
        "until": (client.quota.until or None) if client is not None else None,
        "from": [*map(str, client.quota.sources)] if client is not None else None,
        "up": (client.quota.up or None) if client is not None else None,
        "down": (client.quota.down or None) if client is not None else None,
        "added": one.added or None,
        "last_seen": f"{one.last_seen:%Y-%m-%dT%H:%M:%SZ}" if one.last_seen is not None else None,
        "fault": one.fault.in_full if one.fault is not None else None,
    }
