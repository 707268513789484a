"""Outbound: what is small passes bulk."""

from __future__ import annotations

import pytest
from half import Half
from plains import DATA
from traffic import stuff

from nitrosocks_lib.facts import limits, wire
from nitrosocks_lib.facts.wire import Frame
from nitrosocks_lib.net.tls import TlsLink

PLENTY = 1 << 40


def number_of(plain: bytes) -> int:
    return int(wire.STREAM.unpack_from(plain, 1)[0])


def test_a_keystroke_passes_a_bulk_upload() -> None:
    """It waits for what is sealed and what the kernels hold, however much the upload has to say."""
    with Half(False, buffer=32_768) as half:
        (bulk, _), (keys, _) = half.opened(), half.opened()
        half.ack((1, PLENTY))
        stuff(bulk)
        for _ in range(10):
            assert half.until(Frame.DATA)
        for _ in range(20):
            stuff(bulk)
            keys.sendall(b"k")
            passed = 0
            while number_of(plain := half.next()) == 1:
                passed += len(plain)
            assert plain == DATA(3, b"k") and passed < 1 << 20, f"behind {passed} bytes"
            half.ack()


def test_on_a_slow_line_a_keystroke_shares_no_record_with_bulk(monkeypatch: pytest.MonkeyPatch) -> None:
    """It could be opened only when the bulk behind it has arrived, too."""
    monkeypatch.setattr(limits, "PACE_FIRST", limits.PACE_LEAST)
    monkeypatch.setattr(limits, "PACE_MOST", limits.PACE_LEAST)
    writes: list[int] = []
    write = TlsLink.write_some
    monkeypatch.setattr(TlsLink, "write_some", lambda link, data: (writes.append(len(data)), write(link, data))[1])
    with Half(False) as half:
        (bulk, _), (keys, _) = half.opened(), half.opened()
        half.ack((1, PLENTY))
        stuff(bulk)
        for _ in range(10):
            assert half.until(Frame.DATA)
            keys.sendall(b"k")
            while number_of(half.next()) == 1:
                pass
            half.ack()
    assert max(writes) <= limits.PACE_LEAST and writes.count(limits.PACE_LEAST) >= 10
