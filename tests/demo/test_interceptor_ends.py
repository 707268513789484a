"""How connections through the interceptor end, and what it does with peers that are down or broken."""

import contextlib
import os
import socket
import ssl
import subprocess
import threading
from pathlib import Path

import pytest
from loopback import BOUND, Bare, dial, echo, pem, read_all, reset, through, unused_port, was_reset

from nitrosocks_lib.demo.interceptor import Interceptor
from nitrosocks_lib.facts.errors import CannotCreate
from nitrosocks_lib.facts.limits import HANDSHAKE

MEGABYTE = 1 << 20


def test_one_direction_ends_and_the_other_goes_on() -> None:
    up, down = os.urandom(MEGABYTE), os.urandom(5 * MEGABYTE)
    got = []

    def serve(tls: ssl.SSLSocket) -> None:
        tls.sendall(down)  # some of it is on its way to a client that has ended
        got.append(read_all(tls))
        tls.sendall(down)
        tls.unwrap()

    with through(serve) as (interceptor, server):
        client = Bare(interceptor.port)
        with client.sock:
            client.do(client.tls.write, up)
            client.end()
            assert client.read_all() == down * 2
        server.stop()
    assert got == [up] and server.errors == []


def test_the_server_ends_first_and_the_client_goes_on() -> None:
    up, got = os.urandom(5 * MEGABYTE), []

    def serve(tls: ssl.SSLSocket) -> None:
        tls.sendall(b"that was all")
        socket.socket.shutdown(tls, socket.SHUT_WR)
        got.append(read_all(tls))

    with through(serve) as (interceptor, server):
        with dial(interceptor.port) as client:
            assert read_all(client) == b"that was all"
            assert socket.socket.recv(client, 1) == b"", "no FIN behind the close_notify"
            client.sendall(up)
            client.unwrap().close()
        server.stop()
    assert got == [up] and server.errors == []


def test_a_fin_without_close_notify_is_passed_on_as_a_clean_end() -> None:
    def serve(tls: ssl.SSLSocket) -> None:
        tls.sendall(b"<" + read_all(tls) + b">")

    with through(serve) as (interceptor, server):
        with dial(interceptor.port) as client:
            client.sendall(b"text")
            socket.socket.shutdown(client, socket.SHUT_WR)
            assert read_all(client) == b"<text>"
        server.stop()
    assert server.errors == []


def test_a_reset_of_the_server_is_a_clean_end_for_the_client() -> None:
    with through(lambda tls: (tls.recv(1), reset(tls))) as (interceptor, _), dial(interceptor.port) as client:
        client.sendall(b"x")
        assert client.recv(1) == b""
        with pytest.raises(OSError):
            while True:
                client.sendall(bytes(65536))


def test_a_reset_of_the_client_is_a_clean_end_for_the_server() -> None:
    got = []
    with through(lambda tls: (tls.sendall(b"x"), got.append(read_all(tls)))) as (interceptor, server):
        client = dial(interceptor.port)
        client.sendall(b"some text")
        assert client.recv(1) == b"x"
        reset(client)
        server.stop()
    assert server.errors == [] and len(got) == 1 and b"some text".startswith(got[0])


def test_with_the_upstream_down_the_client_sees_a_clean_end(tmp_path: Path) -> None:
    interceptor = Interceptor(("127.0.0.1", unused_port()), *pem("proxy"), recording=tmp_path)
    interceptor.start()
    for _ in range(10):
        with dial(interceptor.port) as client:
            client.sendall(bytes(4 * MEGABYTE))  # unread, they would turn the end into a RST
            assert client.recv(1) == b""
    interceptor.stop()


def test_with_an_upstream_that_is_no_tls_the_client_sees_a_clean_end() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        interceptor = Interceptor(("127.0.0.1", listener.getsockname()[1]), *pem("proxy"))
        interceptor.start()
        for answer in (b"220 mail.example ESMTP\r\n", b""):
            with dial(interceptor.port) as client, listener.accept()[0] as upstream:
                upstream.sendall(answer)
                upstream.shutdown(socket.SHUT_WR)
                assert client.recv(1) == b""
        interceptor.stop()


def test_a_silent_handshake_ends_at_its_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    deadline = "nitrosocks_lib.demo.interceptor.HANDSHAKE"
    monkeypatch.setattr(deadline, 0.1)
    with socket.create_server(("127.0.0.1", 0)) as listener:  # accepts, and says nothing
        interceptor = Interceptor(("127.0.0.1", listener.getsockname()[1]), *pem("proxy"))
        interceptor.start()
        with socket.create_connection(("127.0.0.1", interceptor.port), BOUND) as silent:
            assert silent.recv(1) == b""
        monkeypatch.setattr(deadline, 1.5)  # the client's own handshake keeps it, however busy the machine
        with dial(interceptor.port) as client:
            assert client.recv(1) == b""
        interceptor.stop()


@pytest.mark.parametrize("bad", [b"", b"\x16\x03\x01", b"GET / HTTP/1.1\r\n\r\n", bytes(100_000)])
def test_a_client_without_tls_harms_nobody(bad: bytes) -> None:
    with through(echo) as (interceptor, _):
        address = ("127.0.0.1", interceptor.port)
        with contextlib.suppress(ConnectionError), socket.create_connection(address, HANDSHAKE / 2) as sock:
            sock.sendall(bad)
            with contextlib.suppress(OSError):  # where it has been reset
                sock.shutdown(socket.SHUT_WR)
            read_all(sock)
        with dial(interceptor.port) as client:
            client.sendall(b"x")
            assert client.recv(1) == b"x"


# cut and stop


def test_cut_resets_both_sides_of_every_connection() -> None:
    ends = []

    def serve(tls: ssl.SSLSocket) -> None:
        tls.sendall(b"!")
        ends.append(was_reset(tls))

    with through(serve) as (interceptor, server):
        silent = socket.create_connection(("127.0.0.1", interceptor.port), BOUND)  # and stays in the handshake
        clients = [dial(interceptor.port) for _ in range(5)]
        for client in clients:
            assert client.recv(1) == b"!"
        interceptor.cut()
        for client in [silent, *clients]:
            with client:
                assert was_reset(client)
        with dial(interceptor.port) as client:
            assert client.recv(1) == b"!"
            interceptor.stop()
            assert was_reset(client)
        server.stop()
    assert ends == [True] * 6


def test_cut_in_the_middle_of_a_stream() -> None:
    with through(echo) as (interceptor, _):
        for _ in range(5):
            with dial(interceptor.port) as client:
                client.sendall(bytes(MEGABYTE // 4))
                assert client.recv(1)
                interceptor.cut()
                with pytest.raises(OSError):
                    read_all(client)
                assert not interceptor.live


def test_stop_ends_all_threads_and_frees_the_port() -> None:
    before = threading.active_count()
    with through(echo) as (interceptor, _), dial(interceptor.port) as client:
        client.sendall(b"x")
        assert client.recv(1) == b"x"
        interceptor.stop()
        with pytest.raises(ConnectionRefusedError):
            dial(interceptor.port)
        interceptor.stop()
    assert threading.active_count() == before
    Interceptor(("127.0.0.1", 1), *pem("proxy")).stop()  # never started


def test_what_cannot_be_used_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder, no PEM")
    cert, key = pem("proxy")
    locked = ["openssl", "pkey", "-in", key, "-out", tmp_path / "locked.key", "-aes256", "-passout", "pass:word"]
    subprocess.run(locked, check=True)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        for arguments in (
            (tmp_path / "none.crt", key),
            (cert, tmp_path / "file"),
            (cert, pem("server")[1]),
            (cert, tmp_path / "locked.key"),
            (cert, key, taken.getsockname()),
            (cert, key, ("127.0.0.1", 0), tmp_path / "file"),
        ):
            with pytest.raises(CannotCreate):
                Interceptor(("127.0.0.1", 1), *arguments)
