"""One dial that goes on after its first place did not do, and one handshake that is waited for."""

from __future__ import annotations

import errno
import os
import re
import socket
import ssl
from contextlib import closing

import pytest
from links import BOUND, Threads
from loopback import Server, echo, pem, reset, unused_port

from nitrosocks_lib.facts.errors import NetworkError
from nitrosocks_lib.net.connect import client_context, server_context
from nitrosocks_lib.net.handshakes import Dial, find_places, finish, reason, reasons, wrap
from nitrosocks_lib.net.race import Place
from nitrosocks_lib.net.timers import now


def place(port: int, host: str = "127.0.0.1") -> Place:
    return socket.AF_INET, (host, port)


def test_without_a_context_it_is_tcp() -> None:
    with socket.create_server(("127.0.0.1", 0)) as there:
        at = place(there.getsockname()[1])
        with closing(Dial([at], "localhost", None, BOUND)) as dial:
            won = dial.run()
            assert won is not None and won[0] == at and not isinstance(won[1], ssl.SSLSocket)
            won[1].close()


@pytest.mark.parametrize("tls", [True, False])
def test_what_does_not_do_is_followed_by_the_next(tls: bool) -> None:
    with Server(echo) as one, Server(echo) as two:
        places = [place(unused_port()), place(one.address[1]), place(two.address[1])]
        context = client_context(False) if tls else None
        with closing(Dial(places, "localhost", context, BOUND)) as dial:
            taken = []
            while (won := dial.run()) is not None:
                taken.append(won[0])
                won[1].close()
                dial.fail(won[0], NetworkError("it does not do"))
            assert taken == places[1:]
            told = reasons({each: dial.failed[each] for each in places})
            assert told == "127.0.0.1: Connection refused; 127.0.0.1: it does not do; 127.0.0.1: it does not do"


def test_a_handshake_is_waited_for() -> None:
    with Server(echo) as server:
        sock = wrap(socket.create_connection(server.address), client_context(False), "localhost")
        sock.setblocking(False)
        finish(sock, now() + BOUND)
        sock.setblocking(True)
        sock.sendall(b"x")
        assert sock.recv(1) == b"x"
        sock.close()


def test_a_handshake_that_is_not_answered_ends_at_the_deadline() -> None:
    with socket.create_server(("127.0.0.1", 0)) as there:
        sock = wrap(socket.create_connection(there.getsockname()), client_context(False), "localhost")
        sock.setblocking(False)
        with pytest.raises(NetworkError, match="the TLS handshake timed out"):
            finish(sock, now() + 0.05)
        assert sock.fileno() < 0


def test_a_handshake_that_fails_closes_it() -> None:
    with socket.create_server(("127.0.0.1", 0)) as there, Threads() as threads:

        def answers() -> None:
            with there.accept()[0] as sock:
                sock.recv(4_096)
                sock.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        threads.start(answers)
        sock = wrap(socket.create_connection(there.getsockname()), client_context(False), "localhost")
        sock.setblocking(False)
        with pytest.raises(ssl.SSLError) as failure:
            finish(sock, now() + BOUND)
        assert sock.fileno() < 0 and reason(failure.value).startswith("TLS failed: ")


def reset_already() -> socket.socket:
    """A connection that its peer has reset. Linux calls it "not connected" then."""
    with socket.create_server(("127.0.0.1", 0)) as there:
        sock = socket.create_connection(there.getsockname())
        reset(there.accept()[0])
    with pytest.raises(OSError):
        sock.getpeername()
    return sock


def test_who_reset_it_before_is_told_as_that() -> None:
    """It was connected, so that another carrier may do better."""
    sock = reset_already()
    with pytest.raises(ConnectionResetError, match="reset by peer"):
        wrap(sock, client_context(False), "localhost")
    assert sock.fileno() < 0


def test_a_connection_that_is_reset_while_tls_begins_is_closed() -> None:
    sock = reset_already()
    number = sock.fileno()
    with pytest.raises(ConnectionResetError) as failure:
        client_context(False).wrap_socket(sock)
    with pytest.raises(OSError):  # though what raised still holds it
        os.fstat(number)
    assert failure.traceback


def test_what_listens_is_wrapped_too() -> None:
    there = socket.create_server(("127.0.0.1", 0))
    with server_context(*pem("localhost")).wrap_socket(there, True) as tls:
        assert tls.getsockname()[1] > 0


def test_names_that_are_not_found_have_the_hint_that_was_given() -> None:
    with pytest.raises(NetworkError, match=r"cannot find name\.invalid: ") as failure:
        find_places("name.invalid", 1, socket.AF_UNSPEC, "what to do")
    assert failure.value.hint == "what to do"


@pytest.mark.parametrize(("host", "family"), [("127.0.0.1", socket.AF_INET6), ("::1", socket.AF_INET)])
def test_a_name_without_addresses_of_the_family_that_was_asked_for(host: str, family: int) -> None:
    with pytest.raises(NetworkError, match=f"^{re.escape(host)} has no IPv[46] address$"):
        find_places(host, 1, family, "what to do")


def test_reasons_in_a_few_words() -> None:
    assert reason(OSError(errno.EMFILE, os.strerror(errno.EMFILE))) == "Too many open files"
    assert reason(NetworkError("x\ny")) == "x\\ny"
