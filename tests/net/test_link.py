"""Link: what handshakes read and write, each with a total deadline."""

from __future__ import annotations

import threading

import pytest
from links import BOUND, Pairs, Threads

from nitrosocks_lib.facts.errors import NetworkError
from nitrosocks_lib.net.timers import now


def test_the_first_read_is_one_record() -> None:
    with Pairs() as pairs:
        near, far = pairs.make()
        near.write_all(b"one", now() + BOUND)
        near.write_all(b"two", now() + BOUND)
        assert far.read_first(now() + BOUND) == b"one"
        assert far.read_exactly(3, now() + BOUND) == b"two"


# -- deadlines --------------------------------------------------------------------------------------------------------

CALLS = {
    "read_exactly": lambda link, deadline: link.read_exactly(1, deadline),
    "read_first": lambda link, deadline: link.read_first(deadline),
    "write_all": lambda link, deadline: link.write_all(bytes(64 << 20), deadline),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
@pytest.mark.parametrize("seconds", [-1.0, 0.0, 0.05])
def test_a_deadline_ends_a_wait(call, seconds: float) -> None:
    with Pairs() as pairs:
        near, _ = pairs.make()
        with pytest.raises(NetworkError, match="no answer in time"):
            call(near, now() + seconds)


def test_a_deadline_is_for_all_of_it() -> None:
    with Pairs() as pairs, Threads() as threads:
        near, far = pairs.make()
        failed = threading.Event()

        def drip() -> None:
            while not failed.wait(0.01):
                far.write_all(b".", now() + BOUND)

        threads.start(drip)
        with pytest.raises(NetworkError, match="no answer in time"):
            near.read_exactly(1 << 20, now() + 0.3)
        failed.set()
