"""The names that this machine has for ports (/etc/services)."""

from __future__ import annotations

import socket


def port_of(name: str) -> int | None:
    """The port of a service by TCP, as `http` has 80; None where the name is not known."""
    try:
        return socket.getservbyname(name, "tcp")
    except (OSError, ValueError):  # ValueError: no name at all, with NUL in it or what is not UTF-8
        return None
