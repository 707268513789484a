"""Streams driven by one thread for each side, without a tunnel between them."""

from collections.abc import Iterator

import pytest
from loopback import BOUND
from traffic import BLOCK, End, Side, Target, blocks, broken_off, dialling, numbered, unequal


@pytest.fixture
def near() -> Iterator[Side]:
    side = Side()
    yield side
    side.close()


@pytest.fixture
def far() -> Iterator[Side]:
    side = Side()
    yield side
    side.close()


def done(side: Side, count: int) -> bool:
    return side.wait(lambda: len(side.ends) == count and side.open == 0, BOUND)


def test_what_arrives_is_told_from_what_does_not(near: Side, far: Side) -> None:
    target = Target(far, lambda count: blocks(count, 3 * BLOCK + 1))
    for number in range(3):
        near.add(End(dialling(target.port), numbered(number, blocks(number, 100))))
    assert done(near, 3) and done(far, 3)
    assert unequal(near.ends, far.ends) == []
    far.ends[1].got.update(b"x")
    assert unequal(near.ends, far.ends) == [1]
    target.close()


def test_a_socket_is_closed_when_its_end_is_over(near: Side, far: Side) -> None:
    target = Target(far, lambda _: blocks(1, 1))
    near.add(End(dialling(target.port), blocks(2, 0)))
    assert done(near, 1) and done(far, 1)
    assert [end.sock.fileno() for end in (*near.ends, *far.ends)] == [-1, -1]
    assert not any(end.broken for end in (*near.ends, *far.ends))
    target.close()


def test_one_that_is_broken_off_is_reset_and_never_over(near: Side, far: Side) -> None:
    target = Target(far, lambda _: broken_off(blocks(1, 5 * BLOCK)))
    near.add(End(dialling(target.port), numbered(0, blocks(2, 100))))
    assert done(near, 1) and done(far, 1)
    assert near.ends[0].broken and far.ends[0].broken and not near.ends[0].ended
    assert unequal(near.ends, far.ends) == [0]
    target.close()


def test_a_rate_holds_all_ends_together_up(monkeypatch: pytest.MonkeyPatch, far: Side) -> None:
    near, waits = Side(rate=float(BLOCK)), []
    monkeypatch.setattr(near._stopped, "wait", waits.append)
    target = Target(far, lambda _: blocks(1, 2 * BLOCK))
    for number in range(2):
        near.add(End(dialling(target.port), numbered(number, blocks(2, BLOCK))))
    assert done(near, 2) and done(far, 2)
    near.close()  # its thread counts the last part after it has told of it
    assert sum(waits) == pytest.approx(2 * (1 + 2 + 4 / BLOCK))
    target.close()
