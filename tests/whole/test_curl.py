"""`forward` with curl as a user would use it, and with plain sockets for what curl does not do."""

import os
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import program
import pytest
from loopback import read_all, read_exactly, unused_port
from program import NITROSOCKS, ROOT, Process, Site, tool
from targets import CHUNK, Ends, Target, dial, echo, exchange
from webs import HASH, LARGE, Web, serving

site = program.site
profile = program.profile
web = serving
FULL = 48 << 20  # bytes: more than all buffers and windows on the way hold together


@pytest.fixture(scope="module")
def url(site: Site, profile: Path, web: Web) -> str:
    """The web server, as seen through a tunnel."""
    return f"http://127.0.0.1:{site.forward(profile, f'0:127.0.0.1:{web.server_port}').port}"


def curl(site: Site, *words: str) -> str:
    done = site.call(tool("curl"), "-sS", "--max-time", "60", *words)
    assert (done.returncode, done.stderr) == (0, b"")
    return done.stdout.decode()


# curl


def test_get(site: Site, url: str) -> None:
    assert curl(site, f"{url}/small") == "/small"
    path = site.place / "download"
    assert curl(site, f"{url}/large", "-o", str(path)) == ""
    assert path.read_bytes() == LARGE


@pytest.mark.parametrize("words", [["-T"], ["-X", "POST", "-H", "Expect:", "--data-binary"]], ids=["PUT", "POST"])
def test_upload(site: Site, url: str, words: list[str]) -> None:
    path = site.place / "upload"
    path.write_bytes(LARGE)
    file = str(path) if words == ["-T"] else f"@{path}"
    assert curl(site, *words, file, f"{url}/upload", "-w", " %{http_code}") == f"{HASH} 201"


def test_a_connection_is_kept_alive(site: Site, url: str, web: Web) -> None:
    before = web.connections
    assert curl(site, *(f"{url}/{number}" for number in range(5))) == "/0/1/2/3/4"
    assert web.connections == before + 1


def test_an_error_of_http_is_curls_to_see(site: Site, url: str) -> None:
    done = site.call(tool("curl"), "-sS", "--fail", f"{url}/missing")
    assert done.returncode == 22 and b"404" in done.stderr


def test_many_at_once(site: Site, url: str) -> None:
    with ThreadPoolExecutor(8) as threads:
        texts = threads.map(lambda n: curl(site, *(f"{url}/{n}.{m}" for m in range(20))), range(8))
        assert list(texts) == ["".join(f"/{n}.{m}" for m in range(20)) for n in range(8)]


# Plain sockets


@pytest.fixture(scope="module")
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        yield sock


@pytest.fixture(scope="module")
def tunnel(site: Site, profile: Path, listener: socket.socket) -> int:
    return site.forward(profile, f"0:127.0.0.1:{listener.getsockname()[1]}").port


@pytest.fixture
def ends(tunnel: int, listener: socket.socket) -> Iterator[Ends]:
    with Ends(tunnel, listener) as both:
        yield both


@pytest.mark.parametrize("way", ["near first", "far first"])
def test_half_close(ends: Ends, way: str) -> None:
    first, second = (ends.near, ends.far) if way == "near first" else (ends.far, ends.near)
    first.sendall(b"question")
    first.shutdown(socket.SHUT_WR)
    assert read_all(second) == b"question"
    for _ in range(3):  # the other direction goes on, also with pauses in between
        second.sendall(b"answer")
        assert read_exactly(first, 6) == b"answer"
    answering = threading.Thread(target=second.sendall, args=[LARGE])
    answering.start()
    assert read_exactly(first, len(LARGE)) == LARGE
    answering.join()
    second.shutdown(socket.SHUT_WR)
    assert first.recv(1) == b""


def test_one_byte_at_a_time(ends: Ends) -> None:
    for source, sink in ((ends.near, ends.far), (ends.far, ends.near)):
        source.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in LARGE[:300]:  # one at a time, none lost
            source.sendall(bytes([byte]))
            assert sink.recv(2) == bytes([byte])
        for byte in LARGE[:3000]:  # as quick as they go
            source.sendall(bytes([byte]))
        assert read_exactly(sink, 3000) == LARGE[:3000]


def test_sizes_around_those_of_frames(site: Site, profile: Path) -> None:
    sizes = [size + by for size in (1 << 14, 65_516, 1 << 16, 1 << 18) for by in (-1, 0, 1)]
    with Target(echo) as target:
        port = site.forward(profile, f"0:127.0.0.1:{target.port}").port
        for size in (0, 1, *sizes):
            with dial(port) as sock:
                assert exchange(sock, LARGE[:size]) == LARGE[:size]


@pytest.mark.parametrize("way", ["near", "far"])
def test_a_side_that_never_reads_does_not_stall_what_it_writes(ends: Ends, way: str) -> None:
    deaf, other = (ends.near, ends.far) if way == "near" else (ends.far, ends.near)
    flooding = threading.Event()

    def flood() -> None:
        with pytest.raises(OSError):
            while True:
                other.send(LARGE[:CHUNK])
                flooding.set()

    writing = threading.Thread(target=flood)
    writing.start()
    assert flooding.wait(program.BOUND)
    upload = ThreadPoolExecutor(1).submit(lambda: [deaf.sendall(LARGE[: 1 << 20]) for _ in range(FULL >> 20)])
    size = 0
    while size < FULL:
        size += len(other.recv(CHUNK))
    assert size == FULL and upload.result(program.BOUND)
    deaf.close()  # with unread bytes in its buffer: the flood ends with a reset
    writing.join(program.BOUND)
    assert not writing.is_alive()


def test_a_reset_passes_both_ways(tunnel: int, listener: socket.socket) -> None:
    for way in ("near", "far"):
        with Ends(tunnel, listener) as ends:
            ends.near.sendall(b"x")
            assert ends.far.recv(1) == b"x"
            broken, other = (ends.near, ends.far) if way == "near" else (ends.far, ends.near)
            broken.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            broken.close()
            with pytest.raises(ConnectionResetError):
                other.recv(1)


# What stands around


def test_a_refused_target_resets_the_connection_and_the_log_says_why(site: Site, profile: Path) -> None:
    nobody = unused_port()
    client = site.forward(profile, f"0:127.0.0.1:{nobody}", "0:192.0.2.1:80")
    for port in client.ports:
        with dial(port) as sock, pytest.raises(ConnectionResetError):
            sock.recv(1)
    assert client.err.wait("refused", 0) == (
        f"nitrosocks: 127.0.0.1:{nobody}: the target refused the connection; "
        "the server did reach it: does a service listen there, on this port?"
    )
    assert "192.0.2.1:80 is not permitted for this client" in client.err.wait("192.0.2.1")
    assert client.signal().wait() == 0


def test_several_forwards_and_ipv6(site: Site, profile: Path) -> None:
    with Target(echo, "::1") as six, Target(lambda sock: sock.sendall(b"another")) as four:
        specs = f"0:[::1]:{six.port}", f"[::1]:0:[::1]:{six.port}", f"127.0.0.1:0:127.0.0.1:{four.port}"
        client = site.forward(profile, *specs)
        assert client.out is not None
        lines = str(client.out).splitlines()
        expected = [
            rf"forwarding 127\.0\.0\.1:(\d+) and \[::1\]:\1 to \[::1\]:{six.port}",
            rf"forwarding \[::1\]:\d+ to \[::1\]:{six.port}",
            rf"forwarding 127\.0\.0\.1:\d+ to 127\.0\.0\.1:{four.port}",
        ]  # fmt: skip
        assert all(re.fullmatch(*pair) for pair in zip(expected, lines, strict=True)), lines
        for port, host in zip(client.ports[:2], ("127.0.0.1", "::1"), strict=True):
            with dial(port, host) as sock:
                assert exchange(sock, b"echo") == b"echo"
        with dial(client.ports[2]) as sock:
            assert read_all(sock) == b"another"


def test_a_port_in_use_ends_the_client_before_it_begins(site: Site, profile: Path, listener: socket.socket) -> None:
    used = listener.getsockname()[1]
    done = site.run("forward", "-i", profile, "-L", "0:127.0.0.1:1", "-L", f"{used}:127.0.0.1:1")
    assert done.returncode == 73 and done.stdout == b""
    line = program.expect_one_line(done.stderr)
    assert "cannot listen on" in line and f":{used}: Address already in use" in line


def test_a_transfer_takes_no_memory() -> None:
    """bench/big_transfer.py with 64 MiB: it fails where a process grew by 32 MiB."""
    script = [sys.executable, str(ROOT / "bench" / "big_transfer.py"), "--mib", "64"]
    done = subprocess.run(script, capture_output=True, check=False, timeout=program.BOUND, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_nothing_is_left_open(site: Site, profile: Path) -> None:
    """A server and a client that carried 200 streams hold no more descriptors than after the first ones."""
    with Target(echo) as target:
        server = site.serve()
        client = site.forward(site.profile("carol", server.port), f"0:127.0.0.1:{target.port}")

        def carry(streams: int) -> tuple[int, int]:
            for _ in range(streams):
                with dial(client.port) as sock:
                    assert exchange(sock, b"x") == b"x"
            return descriptors(server), descriptors(client)

        first = carry(20)
        assert all(after <= before + 12 for before, after in zip(first, carry(180), strict=True))


def descriptors(process: Process) -> int:
    return len(os.listdir(f"/proc/{process.pid}/fd"))


def test_it_is_this_program() -> None:
    """Not another copy of it: what these tests start is what the other tests import."""
    import nitrosocks

    assert NITROSOCKS[1] == nitrosocks.__file__
