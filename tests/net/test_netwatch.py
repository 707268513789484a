"""A client is told at once that its network changed: by the kernel, by a look at its address, by a clock."""

from __future__ import annotations

import errno
import os
import queue
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import netns
import pytest
from netns import SERVER, Net

from nitrosocks_lib.net import netwatch
from nitrosocks_lib.net.netlink import ADDRESS, LINK, LOST, ROUTE, Netlink
from nitrosocks_lib.net.netwatch import SLEPT, NetWatch

BOUND = 30.0  # seconds until a wait is given up; no test comes near
SOON = 0.001  # seconds between two looks

net = netns.net
Towards = Callable[[], Sequence[str]]


class Ear:
    """Watches until the end of the test; `next` is the next reason told."""

    def __init__(self) -> None:
        self._told: queue.Queue[str] = queue.Queue()
        self._watches: list[NetWatch] = []

    def watch(self, *servers: str, **more: Any) -> NetWatch:
        self._watches.append(NetWatch(self._told.put, lambda: servers, **more))
        self._watches[-1].start()
        return self._watches[-1]

    def next(self) -> str:
        return self._told.get(timeout=BOUND)

    def rest(self) -> list[str]:
        """What else was told, once nothing more can be."""
        for watch in self._watches:
            watch.close()
        return list(self._told.queue)


@pytest.fixture
def ear() -> Iterator[Ear]:
    made = Ear()
    yield made
    made.rest()


class Script(Netlink):
    """Tells what a test wrote down: one set of reasons for each read, or an error."""

    def __init__(self, *reads: set[str] | OSError) -> None:
        self.reads = list(reads)
        self.fd = os.eventfd(1)  # readable until all is read

    def __call__(self, _: Towards) -> Netlink:
        return self

    def fileno(self) -> int:
        return self.fd

    def read(self) -> set[str]:
        said = self.reads.pop(0)
        if not self.reads:
            os.eventfd_read(self.fd)
        if isinstance(said, OSError):
            raise said
        return said

    def close(self) -> None:
        os.close(self.fd)


def no_netlink(_: Towards) -> Netlink:
    raise OSError(errno.EACCES, "not in this sandbox")


def no_news(_: Towards) -> Netlink:
    script = Script(set())
    os.eventfd_read(script.fd)
    return script


# -- real changes ------------------------------------------------------------------------------------------------------


def gateway(net: Net) -> None:
    net.client.ip("route", "replace", "default", "via", "10.203.18.99")


def pull(net: Net) -> None:
    """The other end goes, so that the client's link is up and has no carrier."""
    net.middle.ip("link", "set", "toclient", "down")


def switch_off(net: Net) -> None:
    net.client.ip("link", "set", "wire", "down")


@pytest.mark.netns
@pytest.mark.parametrize(
    ("change", "reason"), [(Net.move_client, ADDRESS), (gateway, ROUTE), (pull, LINK), (switch_off, LINK)]
)
def test_the_kernel_tells(net: Net, ear: Ear, change: Callable[[Net], None], reason: str) -> None:
    with net.client.entered():
        ear.watch(SERVER)
    change(net)
    assert ear.next() == reason


@pytest.mark.netns
def test_a_route_elsewhere_is_not_told(net: Net, ear: Ear) -> None:
    with net.client.entered():
        ear.watch(SERVER)
    net.client.ip("route", "add", "10.205.0.0/16", "via", "10.203.18.1")
    net.move_client()
    assert ear.next() == ADDRESS
    assert ROUTE not in ear.rest()


@pytest.mark.netns
@pytest.mark.parametrize("change", [Net.move_client, switch_off])
def test_without_netlink_the_local_address_is_looked_at(
    net: Net, ear: Ear, change: Callable[[Net], None]
) -> None:  # fmt: skip
    with net.client.entered():
        ear.watch("::1", SERVER, source=no_netlink, every=SOON)
    change(net)
    assert ear.next() == ADDRESS


@pytest.mark.netns
def test_without_netlink_only_what_a_server_is_reached_from_counts(net: Net, ear: Ear) -> None:
    with net.client.entered():
        ear.watch(SERVER, source=no_netlink, every=SOON)
        looks = Looks()
        ear.watch(SERVER, source=no_netlink, every=SOON, slept=looks)
    net.client.ip("address", "add", "10.204.0.1/24", "dev", "wire")
    looks.wait(3)
    assert ear.rest() == []


class Looks:
    """A clock that never sleeps, and counts the looks at it."""

    def __init__(self) -> None:
        self._count = 0
        self._changed = threading.Condition()

    def __call__(self) -> float:
        with self._changed:
            self._count += 1
            self._changed.notify_all()
        return 0.0

    def wait(self, more: int) -> None:
        with self._changed:
            wanted = self._count + more
            assert self._changed.wait_for(lambda: self._count >= wanted, BOUND)


# -- told once, told rightly -------------------------------------------------------------------------------------------


def test_a_burst_is_told_once(ear: Ear) -> None:
    ear.watch(source=Script({LINK}, {ADDRESS, ROUTE}, set(), {ROUTE}, set()))
    assert [ear.next(), ear.next()] == [ADDRESS, ROUTE]
    assert ear.rest() == []


def test_a_netlink_that_fails_is_a_change_and_looks_take_its_place(
    ear: Ear, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    address = ["192.0.2.5"]
    monkeypatch.setattr(netwatch, "local_address", lambda _: address[0])
    script = Script(OSError(errno.EIO, "broken"))
    ear.watch(SERVER, source=script, every=SOON)
    assert ear.next() == LOST
    address[0] = "192.0.2.6"
    assert ear.next() == ADDRESS
    with pytest.raises(OSError):
        os.fstat(script.fd)


def test_the_first_look_at_a_server_tells_nothing(ear: Ear, monkeypatch: pytest.MonkeyPatch) -> None:
    """The servers in use may be others from one look to the next."""
    monkeypatch.setattr(netwatch, "local_address", lambda server: f"towards {server}")
    looks, servers = Looks(), ["192.0.2.1"]
    watch = NetWatch(pytest.fail, lambda: tuple(servers), source=no_netlink, every=SOON, slept=looks)
    watch.start()
    looks.wait(2)
    servers[:] = ["192.0.2.2"]
    looks.wait(2)
    watch.close()


@pytest.mark.parametrize("source", [no_netlink, no_news])
def test_a_sleep_is_told(ear: Ear, source: Callable[[Towards], Netlink]) -> None:
    """A second of drift is none; each sleep is told once."""
    clock = iter([100.0, 100.5, 101.4, 3701.4, 3701.4, 3703.0])
    last = [0.0]

    def slept() -> float:
        last[0] = next(clock, last[0])
        return last[0]

    ear.watch(source=source, every=SOON, slept=slept)
    assert [ear.next(), ear.next()] == [SLEPT, SLEPT]
    assert ear.rest() == []


def test_what_the_listener_raises_does_not_end_the_watch(caplog: pytest.LogCaptureFixture) -> None:
    told: queue.Queue[str] = queue.Queue()

    def changed(reason: str) -> None:
        told.put(reason)
        raise ValueError("not taken up")

    watch = NetWatch(changed, source=Script({ROUTE}, set(), {ADDRESS}, set()))
    watch.start()
    assert [told.get(timeout=BOUND), told.get(timeout=BOUND)] == [ROUTE, ADDRESS]
    watch.close()
    assert "a change of the network was not handled" in caplog.text


# -- begin and end -----------------------------------------------------------------------------------------------------


def descriptors() -> set[str]:
    return set(os.listdir("/proc/self/fd"))


def test_close_gives_everything_back() -> None:
    before, threads = descriptors(), threading.active_count()
    watch = NetWatch(pytest.fail)
    watch.start()
    assert threading.active_count() == threads + 1
    watch.close()
    watch.close()
    assert (descriptors(), threading.active_count()) == (before, threads)


def test_close_without_a_start() -> None:
    NetWatch(pytest.fail).close()


def test_close_by_the_listener() -> None:
    done, before = threading.Event(), [thread.name for thread in threading.enumerate()].count("netwatch")

    def changed(_: str) -> None:
        watch.close()
        done.set()

    watch = NetWatch(changed, source=Script({ROUTE}, set(), {ADDRESS}, set()))
    watch.start()
    assert done.wait(BOUND)
    watch.close()
    assert [thread.name for thread in threading.enumerate()].count("netwatch") == before


def test_where_no_thread_can_be_started_nothing_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    before = descriptors()
    monkeypatch.setattr(threading.Thread, "start", refuse)
    watch = NetWatch(pytest.fail)
    with pytest.raises(RuntimeError):
        watch.start()
    watch.close()
    assert descriptors() <= before


# -- what is looked at -------------------------------------------------------------------------------------------------


def test_the_local_address_towards_a_server() -> None:
    assert netwatch.local_address("127.0.0.1") == "127.0.0.1"
    assert netwatch.local_address("255.255.255.255") is None
    if socket.has_ipv6:
        assert netwatch.local_address("::1") in ("::1", None)  # None where IPv6 is off


def test_the_clocks_of_this_machine() -> None:
    assert netwatch.seconds_slept() > -1.0


def test_where_no_clock_counts_sleep(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(netwatch, "_CLOCKS", (("CLOCK_OF_NOBODY", "CLOCK_MONOTONIC"),))
    assert netwatch.seconds_slept() == 0.0
