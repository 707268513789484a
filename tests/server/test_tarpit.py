"""Tarpit: connections that are not ours are read, never answered, and closed at their time, by one thread."""

from __future__ import annotations

import os
import threading
from errno import ENOSPC

import pytest
from links import BOUND, Pairs, Threads
from scarce import no_threads

from nitrosocks_lib.facts import limits
from nitrosocks_lib.facts.errors import NetworkError
from nitrosocks_lib.net.link import Link
from nitrosocks_lib.net.timers import now
from nitrosocks_lib.net.wake import Waiter
from nitrosocks_lib.server.tarpit import Tarpit


@pytest.fixture
def tarpit():
    made: list[Tarpit] = []

    def make(seconds: int, most: int = limits.TARPIT) -> Tarpit:
        made.append(Tarpit(seconds, most))
        return made[-1]

    yield make
    for each in made:
        each.stop()


def end(link: Link) -> float:
    """When it ended; nothing may come before."""
    with pytest.raises(NetworkError, match="the connection"):
        link.read_exactly(1, now() + BOUND)
    return now()


def test_many_are_closed_at_their_time_by_one_thread(tarpit) -> None:
    late = tarpit(1)
    with Pairs() as pairs:
        made = [pairs.make() for _ in range(60)]
        begin = now()
        threads = threading.active_count()
        for n, (_, far) in enumerate(made):
            late.add(begin - n % 3, far)  # a third of them each 1, 0 and -1 second from now
        assert threading.active_count() <= threads + 1  # others may end meanwhile
        ends = [end(near) for near, _ in made]
        assert all(at >= begin + 1 - n % 3 for n, at in enumerate(ends))
        assert len(late) == 0


def test_a_time_does_not_depend_on_who_else_waits(tarpit) -> None:
    """One that was accepted earlier may come later: it was silent for the whole time of the handshake."""
    late = tarpit(30)
    with Pairs() as pairs:
        (_, younger), (silent, older) = pairs.make(), pairs.make()
        late.add(now(), younger)
        late.add(now() - 29.5, older)
        end(silent)
        assert len(late) == 1


def test_what_comes_is_read_on(tarpit) -> None:
    late, over = tarpit(1), now() + 0.5
    with Pairs() as pairs, Threads() as threads:
        made = [pairs.make() for _ in range(3)]
        for _, far in made:
            late.add(now(), far)

        def flood(link: Link) -> None:
            while now() < over:
                link.write_all(os.urandom(100_000), now() + BOUND)
            end(link)

        for near, _ in made:
            threads.start(flood, near)


def test_who_ends_is_closed_at_once(tarpit) -> None:
    late = tarpit(3_600)
    with Pairs() as pairs:
        near, far = pairs.make()
        late.add(now(), far)
        near.close(now() + BOUND)  # returns when the other side has closed, too


def test_too_many_make_the_oldest_go(tarpit) -> None:
    assert limits.TARPIT == 1024
    late = tarpit(3_600, 4)
    with Pairs() as pairs:
        made = [pairs.make() for _ in range(6)]
        for _, far in made:
            late.add(now(), far)
        for near, _ in made[:2]:
            end(near)
        for near, _ in made[2:]:
            near.write_all(b"still read", now() + BOUND)
            assert near.read_some(memoryview(bytearray(1))) == 0


def test_stop_closes_all(tarpit) -> None:
    late = tarpit(3_600)
    late.stop()
    late = tarpit(3_600)
    with Pairs() as pairs:
        made = [pairs.make() for _ in range(5)]
        for _, far in made:
            late.add(now(), far)
        late.stop()
        for near, _ in made:
            end(near)


def test_who_comes_after_the_stop_is_closed(tarpit) -> None:
    late = tarpit(3_600)
    with Pairs() as pairs:
        first, second = pairs.make(), pairs.make()
        late.add(now(), first[1])
        late.stop()
        late.add(now(), second[1])
        end(second[0])


def test_no_thread_to_watch_them(tarpit) -> None:
    late = tarpit(1)
    with Pairs() as pairs:
        first, second = pairs.make(), pairs.make()
        with no_threads("tarpit"):
            late.add(now(), first[1])
            end(first[0])
        begin = now()
        late.add(begin, second[1])
        assert end(second[0]) >= begin + 1


def test_where_the_kernel_watches_no_more_one_is_closed_and_the_others_stay(
    tarpit, monkeypatch: pytest.MonkeyPatch
) -> None:
    """epoll refuses beyond a number of watches for each user, or without memory."""
    late = tarpit(3600)
    watch, refused = late._waiter.watch, []

    def refuses_the_second(fd: int, *rest) -> None:
        if fd == other.fd:
            refused.append(fd)
            raise OSError(ENOSPC, "no space")
        watch(fd, *rest)

    with Pairs() as pairs:
        (near, one), (far, other), (third, last) = (pairs.make() for _ in range(3))
        monkeypatch.setattr(Waiter, "watch", lambda _, *words: refuses_the_second(*words))
        for each in (one, other, last):
            late.add(now(), each)
        end(far)
        late.stop()  # its thread is there, and closes the others
        assert refused
        end(near)
        end(third)
