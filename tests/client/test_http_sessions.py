"""Sessions over the carrier http, between the real client and the real server: streams, cuts, and what is resumed."""

from __future__ import annotations

import os
import threading

import pytest
from world import BOUND, Opened, World, echo

from nitrosocks_lib.client.carriers import Carriers
from nitrosocks_lib.client.dialler import Dialler
from nitrosocks_lib.client.pool import Pool
from nitrosocks_lib.facts.wire import Carrier
from nitrosocks_lib.net.connect import Route

HTTP = Carriers((Carrier.HTTP,))
SIZE = 4 << 20


def pool_of(world: World, sessions: int = 1) -> Pool:
    port = world.proxy.port if world.proxy else world.port
    dialler = Dialler(world.credentials(), (("127.0.0.1", port),), Route(), carriers=HTTP)
    made = Pool(dialler, sessions, None)
    world.callback(made.close, 5.0)
    return made


def test_twenty_streams_at_once() -> None:
    with World() as world:
        pool, port = pool_of(world), world.target(echo)
        pool.start()
        opened = [Opened(pool, port) for _ in range(20)]
        datas = [os.urandom(200_000 + number) for number in range(20)]
        answers: dict[int, bytes] = {}

        def ask(number: int) -> None:
            answers[number] = opened[number].ask(datas[number])

        threads = [threading.Thread(target=ask, args=[number], daemon=True) for number in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(BOUND)
        assert [answers[number] for number in range(20)] == datas
        assert all(each.clean for each in opened)


@pytest.mark.parametrize("rst", [True, False], ids=["RST", "FIN"])
def test_connections_that_are_cut_cost_nothing(rst: bool) -> None:
    """The requests go again, on others: no session is lost by it."""
    with World(proxy=True) as world:
        assert world.proxy is not None
        pool, port = pool_of(world), world.target(echo)
        pool.start()
        opened = Opened(pool, port)
        for _ in range(5):
            data = os.urandom(SIZE // 4)
            sender = threading.Thread(target=opened.near.sendall, args=[data], daemon=True)
            sender.start()
            got = bytearray(opened.near.recv(1))
            assert world.proxy.cut(rst)
            while len(got) < len(data):
                got += opened.near.recv(1 << 16)
            sender.join(BOUND)
            assert got == data
        opened.near.close()
        assert world.entry.attempt == 0, "nothing was resumed"


def test_a_lost_carrier_is_resumed() -> None:
    with World(proxy=True) as world:
        assert world.proxy is not None
        pool, port = pool_of(world), world.target(echo)
        pool.start()
        opened = Opened(pool, port)
        for _ in range(3):
            data = os.urandom(SIZE // 4)
            sender = threading.Thread(target=opened.near.sendall, args=[data], daemon=True)
            sender.start()
            got = bytearray(opened.near.recv(1))
            world.proxy.refuse(True)
            before = world.proxy.connections
            world.proxy.cut()
            world.proxy.wait_connections(before + 8)
            world.proxy.refuse(False)
            while len(got) < len(data):
                got += opened.near.recv(1 << 16)
            sender.join(BOUND)
            assert got == data
        opened.near.close()
        assert world.entry, "it is the same session"


def test_sessions_that_end_leave_no_connection() -> None:
    with World(proxy=True) as world:
        assert world.proxy is not None
        pool, port = pool_of(world), world.target(echo)
        pool.start()
        assert Opened(pool, port).ask(b"key") == b"key"
        pool.close(5.0)
        assert world.proxy.wait(lambda: world.proxy is not None and not world.proxy.live)
        assert not world.registry.all()
