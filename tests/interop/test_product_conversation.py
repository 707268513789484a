"""The recorded conversation, said to `serve` by a client and to `forward` by a server: what they say must be the same.

What is not numbered, and when an ACK comes, is of each side's own choice; so numbered frames are compared, in order.
"""

import json
import signal
from pathlib import Path

import hosts
import peer
import visits
from hosts import Host
from peer_streams import at
from program import Site
from visits import Visit, exactly, reset, rest, synced, until, until_acked

served, visit, nowhere = visits.served, visits.visit, visits.nowhere
VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "ns1.json").read_text())
ROWS = VECTORS["conversation"]["frames"]


def said(sender: str) -> list[tuple[int, bytes]]:
    """The numbered frames of one side."""
    frames = [bytes.fromhex(row["frame"]) for row in ROWS if row["sender"] == sender]
    return [(frame[0], frame[1:]) for frame in frames if frame[0] in peer.NUMBERED]


def numbered(heard: list[tuple[int, bytes]]) -> list[tuple[int, bytes]]:
    return [frame for frame in heard if frame[0] in peer.NUMBERED]


def test_the_servers_half(visit: Visit, nowhere: int) -> None:
    """Its targets are ours, and the answer to a stream that was reset may come or not."""
    tap, held, visitor = visit.tap(), visit.held(), visit.visitor()
    assert visitor.open(tap.port) == 1
    visitor.data(1, b"early")
    assert visitor.open(nowhere) == 3
    visitor.data(3, b"lost")
    visitor.answered(1, 3)
    visitor.end(3)  # this crosses the refusal, or is of a stream that is over
    target = tap.accept()
    assert exactly(target, 5) == b"early"
    target.sendall(b"reply")
    assert visitor.gather(1, 5) == b"reply"
    visitor.end(1)
    assert rest(target) == b""
    target.sendall(b"more")
    target.close()
    visitor.closed(1)
    assert visitor.open(held.port) == 5
    visitor.reset(5)
    until_acked(visitor)
    synced(visitor)
    expected = [frame for frame in said("server") if frame[1][:4] == b"\0\0\0\1"]
    assert expected[0] == (peer.OPENED, b"\0\0\0\1" + at(7, "192.0.2.1")[1:])  # instead of ours
    came = [frame for frame in numbered(visitor.heard) if frame[1][:4] == b"\0\0\0\1"]
    assert came == [(peer.OPENED, b"\0\0\0\1" + at(tap.port)[1:]), *expected[1:]]
    assert visitor.streams[3].answer[0] == peer.REFUSED and visitor.streams[3].answer[1][0] == 5
    assert not [frame for frame in visitor.heard if frame[1][:4] == b"\0\0\0\5"]
    visitor.release()
    assert visitor.over


def test_the_clients_half(tmp_path: Path) -> None:
    """Applications do what led to the recorded frames; the END that crossed the refusal is not said."""
    with Site(tmp_path) as site, Host(site) as host:
        server = host.forward()
        one = host.app()
        one.sendall(b"early")
        until(server, peer.DATA)
        three = host.app(9)
        until(server, peer.OPEN)
        server.opened(1, *hosts.TARGET)
        three.sendall(b"lost")
        until(server, peer.DATA)
        server.refused(3, 5, "refused")
        server.data(1, b"reply")
        assert exactly(one, 5) == b"reply"
        one.shutdown(1)
        until(server, peer.END)
        server.data(1, b"more")
        server.end(1)
        assert rest(one) == b"more"
        five = host.app(9)
        until(server, peer.OPEN)
        reset(five)
        until(server, peer.RESET)
        server.opened(5, *hosts.TARGET)
        until_acked(server)
        came = [(kind, payload[:5] if kind == peer.RESET else payload) for kind, payload in numbered(server.heard)]
        assert came == [frame for frame in said("client") if frame != (peer.END, b"\0\0\0\3")]
        assert host.process is not None
        host.process.signal(signal.SIGTERM)
        while server.recv()[0] != peer.DISCONNECT:
            pass
        server.release()
        assert host.process.wait() == 0
