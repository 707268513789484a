"""The interceptor between a TLS client and a TLS server: what passes, what is recorded, and load."""

import errno
import os
import ssl
import stat
import threading
from pathlib import Path

from loopback import BOUND, dial, echo, exchange, pem, read_exactly, through

MEGABYTE = 1 << 20


def test_20_megabytes_both_ways_at_once_arrive_and_are_recorded(tmp_path: Path) -> None:
    up, down = os.urandom(20 * MEGABYTE), os.urandom(20 * MEGABYTE)
    got = []

    def serve(tls: ssl.SSLSocket) -> None:
        got.append(exchange(tls, down, len(up)))
        assert tls.recv(1) == b""

    with through(serve, tmp_path / "deep" / "er") as (interceptor, server):
        with dial(interceptor.port) as client:
            assert exchange(client, up, len(down)) == down
            client.unwrap().close()
        server.stop()
        assert interceptor.seen == {"connections": 1, "up": len(up), "down": len(down)}
    assert got == [up] and server.errors == []
    assert (tmp_path / "deep/er/connection-1.up").read_bytes() == up
    assert (tmp_path / "deep/er/connection-1.down").read_bytes() == down


def test_the_client_sees_the_interceptors_certificate() -> None:
    with through(echo) as (interceptor, server):
        for port, name in ((interceptor.port, "proxy"), (server.address[1], "server")):
            with dial(port) as client:
                assert client.getpeercert(True) == ssl.PEM_cert_to_DER_cert(pem(name)[0].read_text())


def test_plaintext_is_recorded_before_it_is_passed_on(tmp_path: Path) -> None:
    (tmp_path / "connection-1.up").write_text("of an earlier run")
    with through(echo, tmp_path) as (interceptor, _), dial(interceptor.port) as one, dial(interceptor.port) as two:
        for client, number, text in ((one, 1, b"first"), (two, 2, b"second"), (one, 1, b" again")):
            client.sendall(text)
            assert read_exactly(client, len(text)) == text
            assert (tmp_path / f"connection-{number}.up").read_bytes().endswith(text)
            assert (tmp_path / f"connection-{number}.down").read_bytes().endswith(text)
        for way in ("up", "down"):
            assert (tmp_path / f"connection-1.{way}").read_bytes() == b"first again"
        assert interceptor.seen == {"connections": 2, "up": 17, "down": 17}


def test_a_message_written_at_once_arrives_as_one_record() -> None:
    got = []
    with through(lambda tls: got.append(tls.recv(65536))) as (interceptor, server):
        with dial(interceptor.port) as client:
            client.sendall(bytes(16384))
            assert client.recv(1) == b""
        server.stop()
    assert [len(piece) for piece in got] == [16384]


def test_the_alpn_is_that_of_the_client() -> None:
    got = []

    def serve(tls: ssl.SSLSocket) -> None:
        got.append(tls.selected_alpn_protocol())
        echo(tls)

    with through(serve) as (interceptor, _):
        for alpn in ("http/1.1", ""):
            with dial(interceptor.port, alpn) as client:
                client.sendall(b"x")
                assert client.recv(1) == b"x"
                assert client.selected_alpn_protocol() == (alpn or None)
    assert got == ["http/1.1", None]


def test_many_connections_at_once() -> None:
    count, wrong = 100, []

    def talk(number: int) -> None:
        data = os.urandom(1000 * number + 1)
        with dial(interceptor.port) as client:
            if exchange(client, data, len(data)) != data:
                wrong.append(number)
            client.unwrap().close()

    with through(echo) as (interceptor, server):
        threads = [threading.Thread(target=talk, args=[number]) for number in range(count)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(BOUND)
        server.stop()
        for connection in list(interceptor.live):
            connection.join(BOUND)
        assert not interceptor.live
        total = sum(1000 * number + 1 for number in range(count))
        assert interceptor.seen == {"connections": count, "up": total, "down": total}
    assert wrong == [] and server.errors == []


def test_a_slow_reader_stops_the_writer_and_memory_does_not_grow() -> None:
    read, got = threading.Event(), []

    def serve(tls: ssl.SSLSocket) -> None:
        assert read.wait(BOUND)
        got.append(sum(map(len, iter(lambda: tls.recv(MEGABYTE), b""))))

    with through(serve) as (interceptor, server):
        with dial(interceptor.port) as client:
            client.settimeout(0.3)
            sent, stalled, waiting = 0, 0, {0}
            while sent < 128 * MEGABYTE:
                (connection,) = interceptor.live
                waiting |= {side.unsent for side in connection._sides}
                try:
                    sent += client.send(bytes(16384))
                except TimeoutError:
                    assert interceptor.seen["up"] < 32 * MEGABYTE, "more than the kernel holds"
                    client.settimeout(BOUND)
                    stalled += 1
                    read.set()
            client.unwrap().close()
        server.stop()
    assert 0 < max(waiting) <= 256 * 1024
    assert stalled == 1 and got == [sent] and server.errors == []


def test_recordings_are_private(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        with through(echo, tmp_path) as (interceptor, _), dial(interceptor.port) as client:
            client.sendall(b"x")
            assert client.recv(1) == b"x"
    finally:
        os.umask(before)
    assert {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()} == {0o600}


def test_data_goes_on_where_it_cannot_be_recorded(tmp_path: Path) -> None:
    (tmp_path / "connection-1.up").symlink_to("/dev/full")
    with through(echo, tmp_path) as (interceptor, _), dial(interceptor.port) as client:
        for _ in range(2):
            client.sendall(b"x")
            assert client.recv(1) == b"x"
        assert interceptor.unrecorded is not None and interceptor.unrecorded.errno == errno.ENOSPC
        assert interceptor.seen == {"connections": 1, "up": 2, "down": 2}
