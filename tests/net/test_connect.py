"""connect: dialling every address of a name, and what people read when TLS fails."""

from __future__ import annotations

import errno
import os
import socket
import ssl
import subprocess
from pathlib import Path
from typing import Never

import pytest
from links import BOUND, TLS, Pairs, Threads
from loopback import Server, pem, reset, unused_port

from nitrosocks_lib.facts.errors import ConfigurationError, NetworkError, Unreachable
from nitrosocks_lib.net.connect import Route, client_context, dial, server_context
from nitrosocks_lib.net.timers import now

ADDRESS = socket.AF_INET, socket.SOCK_STREAM, 6, ""


def listener() -> socket.socket:
    return socket.create_server(("127.0.0.1", 0))


def names(monkeypatch: pytest.MonkeyPatch, *addresses: tuple[str, int]) -> None:
    """Every name has these addresses."""
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_: [(*ADDRESS, address) for address in addresses])


def call(port: int, seconds: float = BOUND, verify: bool = False):
    return dial(("localhost", port), client_context(verify), socket.AF_INET, seconds)


# -- dial -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", TLS)
def test_dial_and_accept(version: str) -> None:
    with Pairs(version) as pairs:
        near, far = pairs.make()
        near.write_all(b"x", now() + BOUND)
        assert far.read_exactly(1, now() + BOUND) == b"x"


def test_all_addresses_are_tried_in_their_order(monkeypatch: pytest.MonkeyPatch) -> None:
    with Pairs() as pairs:
        names(monkeypatch, ("127.0.0.2", unused_port()), ("127.0.0.1", unused_port()), ("127.0.0.1", pairs.port))
        _, far = pairs.run(lambda: call(1).close(), pairs.accept)
        far.close()


def no_descriptor(*_: object) -> Never:
    raise OSError(errno.EMFILE, "Too many open files")


def test_there_is_no_descriptor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "eventfd", no_descriptor, raising=False)
    with pytest.raises(NetworkError, match=r"cannot reach localhost:1 \(Too many open files\)"):
        call(1)


def test_the_reason_of_every_address_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    with listener() as silent:
        names(monkeypatch, ("127.0.0.2", unused_port()), ("127.0.0.1", silent.getsockname()[1]))
        with pytest.raises(NetworkError) as failure:
            call(443, 0.1)
    told = "cannot reach localhost:443 (127.0.0.2: Connection refused; 127.0.0.1: the TLS handshake timed out)"
    assert str(failure.value) == told and "serve" in failure.value.hint and not isinstance(failure.value, Unreachable)


@pytest.mark.parametrize(
    ("host", "told"),
    [("name.invalid", "find name.invalid: "), ("a..b", "not a host name"), ("x" * 70 + ".example", "not a host")],
)
def test_names_that_cannot_be_found(host: str, told: str) -> None:
    with pytest.raises(NetworkError, match="cannot find") as failure:
        dial((host, 1), client_context(False), socket.AF_UNSPEC, 1.0)
    assert told in str(failure.value) and "profile" in failure.value.hint and isinstance(failure.value, Unreachable)


def test_where_no_address_has_tcp_no_other_carrier_does_better(monkeypatch: pytest.MonkeyPatch) -> None:
    names(monkeypatch, ("127.0.0.2", unused_port()), ("127.0.0.1", unused_port()))
    with pytest.raises(Unreachable, match="127.0.0.2: Connection refused; 127.0.0.1: Connection refused"):
        call(443)


def test_where_files_are_short_the_server_is_not_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    names(monkeypatch, ("127.0.0.1", unused_port()))
    monkeypatch.setattr(socket, "socket", no_descriptor)
    with pytest.raises(NetworkError, match=r"cannot reach localhost:1 \(127.0.0.1: Too many open files\)") as failure:
        call(1)
    assert failure.value.hint == "raise the limit on open files"


@pytest.mark.parametrize(("web", "offered"), [(False, None), (True, "http/1.1")])
def test_carriers_that_speak_http_offer_it(web: bool, offered: str | None) -> None:
    with Server(lambda tls: chosen.append(tls.selected_alpn_protocol())) as server:
        chosen: list[str | None] = []
        dial(server.address, client_context(False, web), socket.AF_INET, BOUND).close()
    assert chosen == [offered]


@pytest.mark.parametrize(
    ("v4", "v6", "family"),
    [(True, True, socket.AF_UNSPEC), (True, False, socket.AF_INET), (False, True, socket.AF_INET6)],
)
def test_the_family_of_a_route(v4: bool, v6: bool, family: int) -> None:
    assert Route(ipv4=v4, ipv6=v6).family == family


def http(sock: socket.socket) -> None:
    sock.recv(4_096)
    sock.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")


def alert(sock: socket.socket) -> None:
    sock.recv(4_096)
    sock.sendall(bytes([21, 3, 3, 0, 2, 2, 40]))  # fatal, handshake_failure


FAILURES = {
    "no TLS there": (http, "TLS failed: WRONG_VERSION_NUMBER|TLS failed: .*RECORD_LAYER_FAILURE"),
    "an alert": (alert, "TLS failed: .*HANDSHAKE_FAILURE"),
    "an end": (lambda sock: sock.recv(4_096), "TLS failed: .*EOF"),
    "a reset": (reset, "Connection reset by peer|TLS failed: .*EOF"),
}


@pytest.mark.parametrize(("serve", "told"), FAILURES.values(), ids=FAILURES)
def test_texts_of_tls_failures(serve, told: str) -> None:
    with listener() as there, Threads() as threads:

        def one() -> None:
            with there.accept()[0] as sock:
                serve(sock)

        threads.start(one)
        with pytest.raises(NetworkError, match=told) as failure:
            call(there.getsockname()[1])
        assert "\n" not in str(failure.value)
        assert not isinstance(failure.value, Unreachable), "another carrier may do better"
        assert ("speaks no TLS" in failure.value.hint) is (serve is http)


def test_a_certificate_that_does_not_verify() -> None:
    with Pairs() as pairs, Threads() as threads:

        def refused() -> None:
            with pytest.raises((OSError, NetworkError)):
                pairs.accept()

        threads.start(refused)
        with pytest.raises(NetworkError, match="the certificate does not verify: self.signed certificate"):
            call(pairs.port, verify=True)


# -- contexts and options ---------------------------------------------------------------------------------------------


def test_files_that_do_not_do(tmp_path: Path) -> None:
    crt, key = pem("server")
    (tmp_path / "empty").write_text("")
    for pair in ((tmp_path / "none", key), (crt, tmp_path / "empty"), (crt, pem("proxy")[1]), (key, crt)):
        with pytest.raises(ConfigurationError, match="cannot be used") as failure:
            server_context(*pair)
        assert "--cert" in failure.value.hint


def test_contexts_take_tls_1_2_and_later() -> None:
    for context in (server_context(*pem("server")), client_context(False), client_context(True)):
        assert context.minimum_version == ssl.TLSVersion.TLSv1_2
    assert client_context(True).verify_mode == ssl.CERT_REQUIRED and client_context(True).check_hostname
    assert client_context(False).verify_mode == ssl.CERT_NONE


def test_which_of_certificate_and_key_is_bad(tmp_path: Path) -> None:
    cert, key = pem("server")
    (tmp_path / "rubbish").write_text("rubbish")
    locked = ["openssl", "pkey", "-in", key, "-out", tmp_path / "locked", "-aes256", "-passout", "pass:word"]
    subprocess.run(locked, check=True)
    for pair, told in {
        (tmp_path / "none", key): "the certificate: No such file or directory",
        (cert, tmp_path / "none"): "the key: No such file or directory",
        (tmp_path, key): "the certificate: Is a directory",
        (tmp_path / "rubbish", key): "the certificate: none in PEM is in its file",
        (cert, tmp_path / "rubbish"): "the key: none in PEM is in its file",
        (cert, cert): "the key: none in PEM is in its file",
        (cert, pem("other")[1]): "they do not belong together",
        (cert, tmp_path / "locked"): "the key is encrypted",
    }.items():
        with pytest.raises(ConfigurationError) as failure:
            server_context(*pair)
        assert str(failure.value) == f"the TLS certificate {pair[0]} with key {pair[1]} cannot be used: {told}"
        assert failure.value.hint
