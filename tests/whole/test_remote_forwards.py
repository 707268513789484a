"""-R with the real program: 200 connections, cuts, killed and restarted clients and servers, take-over, release."""

from __future__ import annotations

import signal
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection

import nginx
import pytest
import remote
from loopback import dial_tcp, read_exactly, unused_port
from program import BOUND, Process, expect_one_line
from remote import Remote, echoes
from targets import Target

site = remote.site


@pytest.fixture(scope="module")
def whole_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Remote]:
    """One for all that only ask."""
    with Remote(tmp_path_factory.mktemp("asked")) as made:
        yield made


def refused(site: Remote, client: Process, port: int, text: str) -> None:
    """The client's end is told by the server; then nobody listens any more."""
    site.server.err.wait(text)
    with pytest.raises(ConnectionRefusedError):
        dial_tcp(port)


def test_200_connections_to_nginx_and_a_cut_among_them(site: Remote) -> None:
    web = nginx.start(site)
    client = site.remote(f"0:127.0.0.1:{web.plain}")
    large = (web.place / "site" / "large").stat().st_size

    def get(number: int) -> int:
        connection = HTTPConnection("127.0.0.1", client.port, timeout=BOUND)
        connection.request("GET", "/large" if number % 20 == 0 else "/")
        answer = connection.getresponse()
        got = answer.read()
        connection.close()
        assert answer.status == 200 and (len(got) == large if number % 20 == 0 else got == web.page)
        return len(got)

    with ThreadPoolExecutor(200) as threads:
        got = threads.map(get, range(200))
        for megabytes in (4, 12, 20):
            site.faults.wait(lambda enough=megabytes << 20: site.faults.bytes_up > enough, BOUND)
            assert site.faults.cut() >= 1
        assert sum(got) > 10 * large
    assert "no longer listening" not in str(site.server.err)


def test_a_client_that_is_killed_has_its_port_again_at_once(site: Remote) -> None:
    """The server keeps the session of the dead one, but not the port. Nothing that waits in the kernel is lost."""
    port = unused_port()
    spec = f"{port}:127.0.0.1:{site.echo.port}"
    first = site.remote(spec)
    echoes(port)
    first.signal(signal.SIGKILL).wait()
    site.server.err.wait("lost its connection")
    with dial_tcp(port) as waiting:
        waiting.sendall(b"waits")
        site.remote(spec)
        assert read_exactly(waiting, 5) == b"waits"
    echoes(port)
    echoes(port, "::1")


def test_of_two_clients_with_one_profile_the_later_one_has_it(site: Remote) -> None:
    spec = f"0:127.0.0.1:{site.echo.port}"
    first = site.remote(spec)
    other = site.enter_context(Target(lambda sock: sock.sendall(b"other")))
    second = site.remote(f"{first.port}:127.0.0.1:{other.port}")
    assert second.port == first.port
    first.err.wait("another client with this profile does, or the rules changed")
    site.faults.cut()  # neither fights when it comes back
    with dial_tcp(first.port) as sock:
        assert read_exactly(sock, 5) == b"other"
    assert "no longer" not in str(second.err)
    assert first.signal().wait() == second.signal().wait() == 0


def test_a_server_that_is_started_again_is_asked_again(site: Remote) -> None:
    client = site.remote(f"0:127.0.0.1:{site.echo.port}")
    echoes(client.port)
    site.server.signal(signal.SIGKILL).wait()
    site.begin()
    site.server.err.wait("listening on localhost:" + str(client.port))  # the same port, though 0 was asked for
    client.err.wait("-R: there is a new session, and the server is asked to listen")  # an outage was told, perhaps
    echoes(client.port)


def test_a_server_that_drains_lets_go_and_the_next_one_listens(site: Remote) -> None:
    client = site.remote(f"0:127.0.0.1:{site.echo.port}")
    assert site.server.signal().wait() == 0
    assert "the server is about to stop" in str(site.server.err)
    with pytest.raises(ConnectionRefusedError):
        dial_tcp(client.port)
    site.begin()
    site.server.err.wait("listening on localhost:" + str(client.port))
    echoes(client.port)
    assert "another client" not in str(client.err)


def test_a_release_frees_the_port(site: Remote) -> None:
    client = site.remote(f"0:127.0.0.1:{site.echo.port}")
    assert client.signal().wait() == 0
    refused(site, client, client.port, "no longer listening on")


def test_a_client_that_is_revoked_listens_no_more(site: Remote) -> None:
    client = site.remote(f"0:127.0.0.1:{site.echo.port}")
    assert site.run("revoke", "alice", "--home", site.home).returncode == 0
    refused(site, client, client.port, "no longer listening on")


def test_a_rule_that_is_taken_away(site: Remote) -> None:
    client = site.remote(f"127.0.0.1:0:127.0.0.1:{site.echo.port}")
    assert site.run("forbid", "alice", "--listen", "127.0.0.1:*", "--home", site.home).returncode == 0
    client.err.wait("or the rules changed")
    refused(site, client, client.port, "it is no longer permitted")


@pytest.mark.parametrize(
    ("spec", "code", "says"),
    [
        ("127.0.0.2:8080:a:1", 77, "127.0.0.2:8080: it is not permitted for this client; the operator permits it: "),
        ("*:0:a:1", 77, "nitrosocks permit NAME --listen '*:*'"),
        ("80:a:1", 77, "nitrosocks permit NAME --listen 'localhost:80'"),
        ("/run/a.sock:a:1", 77, "nitrosocks permit NAME --listen '/run/a.sock'"),
        ("127.0.0.2:8000-8010:a:1-11", 77, "nitrosocks permit NAME --listen '127.0.0.2:8000-8010'"),
        ("name.example:8080:a:1", 69, "is not an address"),
    ],
)
def test_what_is_refused_ends_it_and_says_what_to_do(whole_site: Remote, spec: str, code: int, says: str) -> None:
    before = whole_site.faults.connections
    done = whole_site.run("forward", "-i", whole_site.alice, "-R", spec)
    assert done.returncode == code and says in expect_one_line(done.stderr)
    assert whole_site.faults.connections == before + 1, "it made a further session, while it ended"


def test_a_port_in_use_with_and_without_retry(whole_site: Remote) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        spec = f"127.0.0.1:{other.getsockname()[1]}:127.0.0.1:{whole_site.echo.port}"
        done = whole_site.run("forward", "-i", whole_site.alice, "-R", spec)
        assert done.returncode == 69 and expect_one_line(done.stderr).endswith(
            ": Address already in use; choose another address or port"
        )
        client = whole_site.nitrosocks("forward", "-i", whole_site.alice, "-R", spec, "--retry")
        client.err.wait("Address already in use; choose another address or port; asking again every 10 s")
        client.err.wait("nitrosocks: ready")
    client.signal(signal.SIGHUP)  # not in 10 s, but now
    client.err.wait("the server listens on 127.0.0.1:")
    echoes(int(spec.split(":")[1]))
