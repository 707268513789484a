"""Sessions outlive their connections (protocol 3.5): nothing lost, nothing doubled, whatever is cut and where."""

import os
import threading

import pytest
from faultconnection import Cut
from world import BOUND, Opened, World, echo


def transfer(world: World, pool, size: int, disturb) -> None:
    """Echoes `size` random bytes while `disturb` does its worst, then compares."""
    data = os.urandom(size)
    opened = Opened(pool, world.target(echo))
    stop = threading.Event()
    worker = threading.Thread(target=disturb, args=(stop,), daemon=True)
    worker.start()
    try:
        assert opened.ask(data) == data
    finally:
        stop.set()
        worker.join(BOUND)
    assert opened.end().ended_well


@pytest.mark.parametrize("rst", [True, False])
def test_cut_connections_lose_nothing(rst: bool) -> None:
    with World(proxy=True) as world:
        proxy = world.proxy

        def cut(stop: threading.Event) -> None:
            for n in range(1, 30):
                if not proxy.wait(lambda n=n: stop.is_set() or proxy.bytes_down > n << 20):
                    return
                proxy.cut(rst)

        transfer(world, world.pool(), 32 << 20, cut)
        assert proxy.connections > 5
