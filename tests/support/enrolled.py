"""Clients that are enrolled and misbehave: raw frames in a session of their own, made by the second endpoint."""

from __future__ import annotations

import base64
import contextlib
import socket
import struct
import tomllib
from pathlib import Path

import peer
from loopback import dial
from peer_streams import at

BOUND = 30.0


def enrol(profile: Path, port: int) -> peer.Client:
    """A session of this profile, on a connection of its own."""
    table = tomllib.loads(profile.read_text())
    public, seed = (base64.b64decode(table[name]) for name in ("server_public", "secret"))
    sock = dial(port)
    sock.settimeout(BOUND)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    made = peer.Client(sock, public, seed, base64.b32decode(table["token"] + "===="))
    try:
        made.greet()
    except BaseException:
        sock.close()
        raise
    return made


def opens(client: peer.Client, first: int, count: int, port: int, host: str = "127.0.0.1") -> None:
    """So many OPENs in one write, from stream number `first` on. `{}` in the host is the number."""
    keys = client.keys[client.mine]
    frames = [
        keys.seal(bytes([peer.OPEN]) + struct.pack(">I", number) + at(port, host.format(number)))
        for number in range(first, first + 2 * count, 2)
    ]
    client.sent += count
    client.sock.sendall(b"".join(frames))


def answers(client: peer.Client, count: int) -> dict[int, int]:
    """Reads until so many OPENs are answered, and acknowledges; how many answers were of each type."""
    got = {peer.OPENED: 0, peer.REFUSED: 0}
    while sum(got.values()) < count:
        kind, _ = client.recv()
        if kind in got:
            got[kind] += 1
            if sum(got.values()) % 64 == 0:
                client.ack()
    client.ack()
    return got


def swallow(client: peer.Client) -> None:
    """Reads what comes, and says nothing to it, until the connection ends."""
    with contextlib.suppress(OSError):
        while client.sock.recv(1 << 18):
            pass
