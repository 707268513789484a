"""protocol/receiving: the recorded conversations on both sides in memory, windows, and what RESET does.

Which frame may come when is in test_receiving_states.py.
"""

import json
from collections import deque
from pathlib import Path

import pytest

from nitrosocks_lib.crypto.schedule import hash256
from nitrosocks_lib.facts import limits
from nitrosocks_lib.facts.errors import Violation
from nitrosocks_lib.facts.wire import Abort, Frame
from nitrosocks_lib.protocol import frames
from nitrosocks_lib.protocol.receiving import FROM_CLIENT, FROM_SERVER, Peer, Receiving
from nitrosocks_lib.protocol.resend import ResendQueue

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "ns1.json").read_text())
WINDOW = limits.WINDOW_MIN
ANSWERS = (Frame.OPENED, Frame.REFUSED, Frame.LISTENING, Frame.ACCEPTED)


# The recorded conversations


class Side:
    """One side of a session: its two halves, and of the rest only what a local socket would do."""

    def __init__(self, allowed: frozenset) -> None:
        self.receiving, self.resend = Receiving(WINDOW), ResendQueue()
        self.allowed = allowed  # what it may receive
        self.acknowledged = self.peer_acked = 0
        self.own_ended = True
        self.backlog: deque[int] = deque()  # sizes of DATA; 0 is END

    def send(self, frame: bytes, again: bool) -> None:
        kind = Frame(frame[0])
        if kind is Frame.ACK:
            self.acknowledged = self.consume(frames.parse_ack(frame[1:]))
        if kind not in range(0x10, 0x1B):
            return
        if not again:
            self.begin(kind, frame)
        assert self.resend.next() == frame
        self.resend.sealed()
        assert self.resend.all_sealed and self.resend.next() is None

    def begin(self, kind: Frame, frame: bytes) -> None:
        """A numbered frame for the first time."""
        if kind in (Frame.OPEN, Frame.LISTEN):
            self.receiving.opening()
            self.own_ended = False
        self.own_ended |= kind in (Frame.END, Frame.RESET, Frame.REFUSED)
        if kind is Frame.REFUSED:
            assert self.receiving.refused() == len(self.backlog)
            self.backlog.clear()
        elif kind is Frame.ACCEPTED:
            self.receiving.carrying()
        elif kind is Frame.RESET:
            self.receiving.drop()
            self.backlog.clear()
        if kind is Frame.DATA:
            self.resend.append_data(frame, None)
        else:
            self.resend.append(frame, self.acknowledged if kind is Frame.RESET else None)

    def consume(self, count: int) -> int:
        """The local socket takes what the recorded ACK says; just that may then be acknowledged."""
        while self.receiving.consumed < count:
            if size := self.backlog.popleft():
                self.receiving.delivered(size)
            else:
                self.receiving.passed_on()
        assert self.resend.ack_limit(self.receiving.consumed) == count >= self.acknowledged
        return count

    def receive(self, frame: bytes) -> None:
        kind, payload, receiving = Frame(frame[0]), frame[1:], self.receiving
        assert kind in self.allowed
        if kind in (Frame.OPEN, Frame.LISTEN):
            receiving.open(self.own_ended, kind)
            self.own_ended = False
        elif kind in ANSWERS:
            receiving.answer(kind)
        elif kind is Frame.DATA and receiving.data(len(payload)):
            self.backlog.append(len(payload))
        elif kind is Frame.END and receiving.end():
            self.backlog.append(0)
        elif kind is Frame.RESET and receiving.reset():
            self.backlog.clear()
        elif kind is Frame.ACK:
            self.peer_acked = frames.parse_ack(payload)
            assert self.resend.acknowledge(self.peer_acked) == []


def stream_state(client: Side, server: Side) -> str:
    """What the vectors call it."""
    kept = client.resend.total - client.resend.acked + server.resend.total - server.resend.acked
    states = client.receiving.peer, server.receiving.peer
    if states[0] in (Peer.OWED, Peer.PARKED):
        return {Peer.OWED: "opening", Peer.PARKED: "parked"}[states[0]]
    if states[1] is Peer.REFUSED or (states == (Peer.ENDED, Peer.ENDED) and not kept):
        return "idle"
    return ("open", "half", "over")[states.count(Peer.ENDED)]


def lost_rows(rows: list[dict]) -> set[int]:
    """The numbered frames before a reconnection that the other side had not received by its own statement."""
    at = next((i for i, row in enumerate(rows) if "reconnection" in row), 0)
    lost, sent = set(), {"client": 0, "server": 0}
    for i, row in enumerate(rows[:at]):
        if int(row["frame"][:2], 16) in range(0x10, 0x1B):
            sent[row["sender"]] += 1
            other = "server" if row["sender"] == "client" else "client"
            lost |= {i} if sent[row["sender"]] > rows[at]["reconnection"][f"{other}_received"] else set()
    return lost


@pytest.mark.parametrize("name", ["conversation", "conversation_2"])
def test_a_recorded_conversation(name: str) -> None:
    rows = VECTORS[name]["frames"]
    lost = lost_rows(rows)
    assert lost == ({7, 8} if name == "conversation_2" else set())
    client, server = Side(FROM_SERVER), Side(FROM_CLIENT)
    asked = b""
    for i, row in enumerate(rows):
        if "reconnection" in row:
            stated = row["reconnection"]
            received = client.receiving.received, server.receiving.received
            assert received == (stated["client_received"], stated["server_received"])
            client.resend.rewind(received[1])
            server.resend.rewind(received[0])
            continue
        frame = bytes.fromhex(row["frame"])
        sender, receiver = (client, server) if row["sender"] == "client" else (server, client)
        assert Frame(frame[0]).name == row["name"]
        sender.send(frame, row.get("again", False))
        if i not in lost:
            receiver.receive(frame)
            assert receiver.receiving.received == sender.resend.cursor or lost
        if row["name"] in ("PONG", "DISCONNECT_DONE"):
            assert frame[1:] == hash256(asked)
        asked = frame[1:]
        now = {"stream": stream_state(client, server)}
        for side, of in (("client", client), ("server", server)):
            now |= {f"{side}_sent": of.resend.total, f"{side}_kept": of.resend.total - of.resend.acked}
        assert now == now | row["after"], i
    assert client.resend.all_sealed and server.resend.all_sealed
    assert client.resend.total == server.receiving.consumed and server.resend.total == client.receiving.consumed


# Windows


def opened(window: int = WINDOW) -> Receiving:
    """A server's, with a stream."""
    made = Receiving(window)
    made.open(True)
    return made


@pytest.mark.parametrize("window", [limits.WINDOW_MIN, limits.WINDOW_MIN + 1, limits.WINDOW_MAX])
def test_a_window_holds_just_what_it_says(window: int) -> None:
    made = opened(window)
    for size in [65_536] * (window // 65_536) + [1] * (window % 65_536):
        assert made.data(size)
    assert (made.held_bytes, made.held) == (window, made.held_data)
    made.delivered(65_536)
    assert made.data(65_536)
    with pytest.raises(Violation) as caught:
        made.data(1)
    assert caught.value.reason is Abort.LIMIT


def test_a_receiver_holds_1024_data_frames() -> None:
    made = opened()
    assert all(made.data(1) for _ in range(1024))
    made.delivered(1)
    assert made.data(1) and made.end()  # END needs no window
    assert (made.held_data, made.held) == (1024, 1025)
    made = opened()
    assert all(made.data(1) for _ in range(1024))
    with pytest.raises(Violation) as caught:
        made.data(1)
    assert caught.value.reason is Abort.LIMIT


@pytest.mark.parametrize("size", [0, 65_537])
@pytest.mark.parametrize("steps", [[], ["drop"], ["refused"]])
def test_data_of_a_wrong_size(size: int, steps: list[str]) -> None:
    made = opened(limits.WINDOW_MAX)
    for step in steps:
        getattr(made, step)()
    with pytest.raises(Violation, match="size") as caught:
        made.data(size)
    assert caught.value.reason is Abort.VIOLATION and made.received == 1


@pytest.mark.parametrize("end", ["drop", "refused"])
def test_what_is_dropped_needs_no_window(end: str) -> None:
    made = opened()
    made.data(WINDOW)
    getattr(made, end)()
    assert not any(made.data(65_536) for _ in range(2000))
    assert (made.received, made.held, made.held_bytes, made.held_data) == (2002, 0, 0, 0)


def test_a_reset_leaves_the_whole_window_to_the_next_stream() -> None:
    made = opened()
    for _ in range(3):
        assert made.data(WINDOW) and made.reset()
        made.open(True)
    assert (made.received, made.consumed) == (10, 10)


# RESET


@pytest.mark.parametrize(
    ("steps", "acts", "counts"),
    [  # counts: received, consumed
        ([], True, (2, 2)),
        ([100, 200], True, (4, 4)),  # undelivered data is dropped, and consumed
        ([100, "end"], True, (4, 4)),  # it may follow END, which is not passed on any more
        (["end", "passed_on"], True, (3, 3)),
        (["refused"], False, (2, 2)),  # dropped
        ([100, "refused", 100, "end"], False, (5, 5)),
        ([100, "drop"], True, (3, 3)),  # ours crossed theirs
        ([100, "drop", 100], True, (4, 4)),
        ([100, "reset"], True, (4, 4)),  # a second one is ignored
    ],
)
def test_a_reset_drops_and_consumes(steps: list, acts: bool, counts: tuple[int, int]) -> None:
    made = opened()
    for step in steps:
        made.data(step) if isinstance(step, int) else getattr(made, step)()
    assert made.reset() is acts
    assert (made.received, made.consumed, made.held_bytes, made.held_data) == (*counts, 0, 0)
    assert made.peer is (Peer.ENDED if acts else Peer.REFUSED)


def test_a_reset_of_an_idle_session_is_counted_and_ignored() -> None:
    made = Receiving(WINDOW)
    assert not made.reset() and not made.reset()
    assert (made.received, made.consumed, made.peer) == (2, 2, Peer.IDLE)


@pytest.mark.parametrize(("steps", "over"), [([], False), (["end"], True), (["reset"], True), (["refused"], True)])
def test_our_reset_waits_for_the_end_of_the_other_direction(steps: list[str], over: bool) -> None:
    made = opened()
    made.data(100)
    for step in steps:
        getattr(made, step)()
    held = made.held
    assert made.drop() is over and made.consumed == made.received and made.held == 0 <= held
    assert made.peer is {"end": Peer.ENDED, "reset": Peer.ENDED, "refused": Peer.REFUSED}.get(
        "".join(steps), Peer.DROPPING
    )
    if not over:
        assert not made.data(65_536) and not made.end() and made.peer is Peer.ENDED
    assert made.drop()  # again: nothing changes


def test_our_reset_of_an_idle_session_is_over_at_once() -> None:
    assert Receiving(WINDOW).drop()


def test_a_reset_before_the_answer_leaves_the_answer_owed() -> None:
    made = Receiving(WINDOW)
    made.opening()
    assert not made.drop()
    with pytest.raises(Violation, match="before the answer"):
        made.reset()
    assert not made.answer(Frame.OPENED) and not made.data(100) and made.reset()
    assert (made.received, made.consumed, made.peer) == (3, 3, Peer.ENDED)
