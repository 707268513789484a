"""A real DNS server, BIND's named, with one small zone; questions to it by hand."""

from __future__ import annotations

import socket
from collections.abc import Callable

from loopback import unused_port
from program import Site, tool

BOUND = 60.0
LONG = "x" * 250  # 14 of them are the TXT of long.garden.test
_CONFIG = """
options {{
  directory "{place}"; listen-on {{ 127.0.0.1; }}; listen-on-v6 {{ none; }}; recursion no; pid-file none;
  session-keyfile none; dnssec-validation no; max-udp-size 4096; edns-udp-size 4096;
}};
controls {{ }};
zone "garden.test" {{ type primary; file "zone"; }};
"""
_ZONE = f"""$TTL 60
@ SOA ns root 1 60 60 60 60
@ NS ns
ns A 127.0.0.1
*.beds A 192.0.2.2
long TXT {" ".join([f'"{LONG}"'] * 14)}
"""


def start(site: Site) -> int:
    """The port of 127.0.0.1 where it answers."""
    place, port = site.place / "named", unused_port()
    place.mkdir()
    (place / "zone").write_text(_ZONE)
    config = place / "named.conf"
    config.write_text(_CONFIG.format(place=place))
    site.start(tool("named"), "-g", "-n", 1, "-c", config, "-p", port).err.wait(" running")
    return port


def question(number: int) -> bytes:
    """For the address of a name of its own."""
    name = b"".join(bytes([len(label)]) + label for label in (b"rose%d" % number, b"beds", b"garden", b"test"))
    return number.to_bytes(2, "big") + b"\0\0" + b"\0\1" + bytes(6) + name + b"\0" + b"\0\1\0\1"


def is_answer(datagram: bytes, number: int) -> bool:
    """Whether this is the answer to that question."""
    asked = question(number)
    good = datagram[:2] == asked[:2] and datagram[2] & 0x80 and not datagram[3] & 0x0F
    return bool(good) and datagram[12 : len(asked)] == asked[12:] and bytes((192, 0, 2, 2)) in datagram


def ask_all(send: Callable[[bytes], object], receive: Callable[[], bytes], count: int, window: int) -> int:
    """Asks so many, a window at once; how many were answered. A TimeoutError of `receive` ends a window."""
    answered = 0
    for first in range(0, count, window):
        open_ = set(range(first, min(first + window, count)))
        for number in open_:
            send(question(number))
        try:
            while open_:
                datagram = receive()
                number = int.from_bytes(datagram[:2], "big")
                if number in open_ and is_answer(datagram, number):
                    open_.remove(number)
                    answered += 1
        except TimeoutError:
            pass
    return answered


def client(port: int) -> socket.socket:
    """Who asks at a port, from a port of its own."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.settimeout(BOUND)
    sock.connect(("127.0.0.1", port))
    return sock
