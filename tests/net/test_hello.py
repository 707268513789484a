"""Hello: names and protocols of real ClientHellos are found, and nothing is raised whatever the bytes are."""

from __future__ import annotations

import contextlib
import random
import ssl

import pytest
from links import TLS

from nitrosocks_lib.net.connect import client_context
from nitrosocks_lib.net.hello import Offer, offered


def client_hello(version: str, name: str | None, protocols: list[str]) -> bytes:
    context, out = client_context(False), ssl.MemoryBIO()
    context.maximum_version = TLS[version]
    if protocols:
        context.set_alpn_protocols(protocols)
    with contextlib.suppress(ssl.SSLWantReadError):
        context.wrap_bio(ssl.MemoryBIO(), out, server_hostname=name).do_handshake()
    return out.read()


@pytest.mark.parametrize("version", TLS)
@pytest.mark.parametrize("name", [None, "www.example.org", "a" * 60 + ".example.org"])
@pytest.mark.parametrize("protocols", [[], ["h2"], ["h2", "http/1.1"], ["x" * 255, "y"]], ids=len)
def test_what_a_client_offers_is_found(version: str, name: str | None, protocols: list[str]) -> None:
    expected = Offer((name or "").encode(), tuple(each.encode() for each in protocols))
    assert offered(client_hello(version, name, protocols)) == expected


def test_what_is_cut_or_changed_is_no_fault() -> None:
    draw, whole = random.Random(1), client_hello("TLSv1.3", "www.example.org", ["h2", "http/1.1"])
    for size in range(len(whole)):
        assert len(offered(whole[:size]).protocols) <= 2
    for _ in range(20_000):
        changed = bytearray(whole)
        for _ in range(draw.randrange(1, 4)):
            changed[draw.randrange(len(whole))] = draw.randrange(256)
        offer = offered(bytes(changed))
        assert len(offer.name) <= len(whole) and sum(map(len, offer.protocols)) <= len(whole)


NONE = [b"", b"\x16", b"GET / HTTP/1.1\r\n\r\n", bytes(600), b"\x16\x03\x01\x00\x01\x01", b"\xff" * 600]


@pytest.mark.parametrize("said", NONE)
def test_what_is_no_hello_offers_nothing(said: bytes) -> None:
    assert offered(said) == Offer()


def test_a_name_that_is_not_ascii_is_told() -> None:
    whole = client_hello("TLSv1.3", "www.example.org", [])
    assert offered(whole.replace(b"www", b"\xff\x80w")).name == b"\xff\x80w.example.org"
