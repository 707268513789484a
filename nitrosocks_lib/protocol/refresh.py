"""REFRESH, REFRESHED and SWITCH (protocol 5, Refresh): new frame keys from three secrets, amid a session."""

from __future__ import annotations

from dataclasses import dataclass

from ..crypto import schedule
from ..crypto.identity import ClientKey, KemPrivate, KemPublic, ServerKey
from ..crypto.secret import Secret, joined
from ..facts import wire
from ..facts.errors import Violation
from .handshake import Keys, Random, draw_ephemeral, draw_secret


@dataclass(slots=True, repr=False)
class Started:
    """The server's side between REFRESH and REFRESHED: the payload sent, and its two secrets."""

    payload: bytes
    secrets: Secret


def start(keys: Keys, ephemeral: KemPublic, client: KemPublic, random: Random) -> Started:
    """Server: makes REFRESH, sealed to the client's E' and to its C."""
    h = schedule.refresh_transcript(keys.hs, keys.epoch)
    session_key, n2 = draw_secret(random), draw_secret(random)
    payload = ephemeral.seal(b"refresh ephemeral", h, session_key) + client.seal(b"refresh client", h, n2)
    return Started(payload, joined(session_key, n2))


def answer(
    keys: Keys, payload: bytes, ephemeral: KemPrivate, key: ClientKey, server_public: bytes, random: Random
) -> tuple[bytes, Keys, KemPrivate]:
    """Client: opens REFRESH; returns the payload of REFRESHED, the new keys and the private half of the next E'.

    Raises Violation when REFRESH does not parse, ProtocolError when a seal does not open.
    """
    if len(payload) != wire.REFRESH_SIZE:
        raise Violation("REFRESH has a wrong size")
    h = schedule.refresh_transcript(keys.hs, keys.epoch)
    session_key = ephemeral.open(b"refresh ephemeral", h, payload[: wire.SEALED_SECRET])
    n2 = key.kem.open(b"refresh client", h, payload[wire.SEALED_SECRET :])
    n3, following = draw_secret(random), draw_ephemeral(random)
    refreshed = KemPublic(server_public).seal(b"refresh server", h, n3) + following.public
    root = schedule.refreshed_root(keys.root, joined(session_key, n2, n3), payload, refreshed)
    return refreshed, Keys(keys.hs, root, keys.epoch + 1), following


def finish(keys: Keys, started: Started, payload: bytes, key: ServerKey) -> tuple[Keys, KemPublic]:
    """Server: opens REFRESHED; returns the new keys and the client's next E'. Errors as in `answer`."""
    if len(payload) != wire.REFRESHED_SIZE:
        raise Violation("REFRESHED has a wrong size")
    h = schedule.refresh_transcript(keys.hs, keys.epoch)
    n3 = key.kem.open(b"refresh server", h, payload[: wire.SEALED_SECRET])
    root = schedule.refreshed_root(keys.root, joined(started.secrets, n3), started.payload, payload)
    return Keys(keys.hs, root, keys.epoch + 1), KemPublic(payload[wire.SEALED_SECRET :])
