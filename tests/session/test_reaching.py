"""What is told of a target: how it is written, what was reached, and a reply code of RFC 1928 for every failure."""

from __future__ import annotations

import errno
import socket

import pytest

from nitrosocks_lib.facts.wire import Kind, Reply
from nitrosocks_lib.protocol.frames import Address, Target
from nitrosocks_lib.session.dialling import Unreached
from nitrosocks_lib.session.reaching import address, name_of, shown, unfound, unreached


def test_what_is_reached_is_told() -> None:
    assert address(Target(Kind.TCP, "name", 9), (socket.AF_INET, ("192.0.2.1", 9))) == Address("192.0.2.1", 9)
    assert address(Target(Kind.TCP, "name", 9), (socket.AF_INET6, ("::1", 9, 0, 0))) == Address("::1", 9)
    assert address(Target(Kind.UNIX, "/x", 0), (socket.AF_UNIX, b"/x")) == Address("/x", 0)


def test_names_of_targets() -> None:
    targets = Target(Kind.TCP, "name", 9), Target(Kind.TCP, "::1", 9), Target(Kind.UNIX, "/x:y", 0)
    assert [name_of(target) for target in targets] == ["name:9", "[::1]:9", "/x:y"]


def test_what_was_reached_as_people_write_it() -> None:
    assert [shown(Address("::1", 9)), shown(Address("/x\n", 0))] == ["[::1]:9", r"/x\n"]


REPLIES = [
    (errno.ECONNREFUSED, Reply.CONNECTION_REFUSED), (errno.ENETUNREACH, Reply.NETWORK_UNREACHABLE),
    (errno.EHOSTUNREACH, Reply.HOST_UNREACHABLE), (errno.ETIMEDOUT, Reply.EXPIRED), (errno.EPERM, Reply.GENERAL),
    (errno.ECONNRESET, Reply.GENERAL), (errno.EACCES, Reply.GENERAL), (errno.ENOENT, Reply.HOST_UNREACHABLE),
    (errno.EMFILE, Reply.GENERAL), (None, Reply.GENERAL),
]  # fmt: skip


@pytest.mark.parametrize(("code", "reply"), REPLIES, ids=str)
def test_errors_of_the_kernel(code: int | None, reply: Reply) -> None:
    told = unreached(Target(Kind.TCP, "127.0.0.1", 9), [OSError(code, "") if code else OSError("odd")])
    assert told.reply == reply and told.text.startswith("127.0.0.1:9: ")


def test_the_most_telling_error_is_told() -> None:
    """Of many addresses: that of the one that came nearest."""
    codes = [errno.ENETUNREACH, errno.ETIMEDOUT, errno.ECONNREFUSED, errno.EPERM]
    told = unreached(Target(Kind.TCP, "::1", 9), [OSError(code, "") for code in codes])
    assert told == Unreached(Reply.CONNECTION_REFUSED, "[::1]:9: connection refused")
    assert unreached(Target(Kind.UNIX, "/x", 0), []).text == "/x: cannot be reached"


def test_a_reason_that_has_no_words_of_ours() -> None:
    """As of a socket of datagrams, or where a firewall forbids it: that of the kernel."""
    failed = [OSError("odd"), OSError(errno.EPROTOTYPE, "Protocol wrong type for socket"), OSError(errno.EPERM, "x")]
    told = unreached(Target(Kind.UNIX, "/dev/log", 0), failed)
    assert told == Unreached(Reply.GENERAL, "/dev/log: Protocol wrong type for socket")


def test_names_without_an_address() -> None:
    told = unfound("name", socket.gaierror(-2, "Name or service not known"))
    assert told == Unreached(Reply.HOST_UNREACHABLE, "cannot find name: Name or service not known")
