"""The product's machines replay what two independent peers recorded over `raw` and `http` (tests/support/record.py).

On the receiving side: each side of the product gets the recorded requests or answers, and says what was said then.
"""

import json
from collections.abc import Callable, Iterator
from functools import cache

import pytest
import record
import recorded
from dialogue import Side
from recorded import raw

from nitrosocks_lib.crypto import schedule
from nitrosocks_lib.crypto.schedule import frame_keys
from nitrosocks_lib.crypto.seal import Opener
from nitrosocks_lib.crypto.secret import Secret
from nitrosocks_lib.crypto.token import Token, Tokens
from nitrosocks_lib.facts import wire
from nitrosocks_lib.facts.wire import EncryptType, What
from nitrosocks_lib.protocol import paths
from nitrosocks_lib.protocol.downs import Answer, DownAnswerer, DownAsker, Sends
from nitrosocks_lib.protocol.http1 import AnswerHead, Answers, Body, End, Event, Head, Messages, Requests
from nitrosocks_lib.protocol.repeats import Repeats
from nitrosocks_lib.protocol.ups import Up, UpReceiver, UpSender

VECTORS = json.loads(record.KEPT.read_text(encoding="utf-8"))
fresh = cache(record.records)  # so that the script can be run again
Run = Callable[[], dict]
RUNS: dict[str, Run] = {
    "raw": lambda: VECTORS["runs"][0],
    "raw, recorded now": lambda: fresh()["runs"][0],
    "http": lambda: VECTORS["runs"][1],
    "http, recorded now": lambda: fresh()["runs"][1],
}
each_run = pytest.mark.parametrize("run", RUNS.values(), ids=RUNS)
HTTP = {name: run for name, run in RUNS.items() if "http" in name}
each_http = pytest.mark.parametrize("run", HTTP.values(), ids=HTTP)


# Handshakes and frames, whatever carried them


def heard(side: Side, stream: bytes) -> bytes:
    """The side reads its part of the stream, to the end of its handshake: what is left."""
    side.inbox += stream
    side.run()
    left = bytes(side.inbox)
    side.inbox.clear()
    side.outcome()
    return left


def frames(stream: bytes, keys: list[Opener]) -> Iterator[str]:
    """Opened one after another; behind REFRESHED, or SWITCH, with the next keys."""
    while stream:
        size = keys[0].frame_size(stream[: wire.LENGTH])
        out = memoryview(bytearray(size))
        plain = bytes(out[: keys[0].open(memoryview(bytearray(stream[:size])), out)])
        stream = stream[size:]
        if plain[0] in (wire.Frame.REFRESHED, wire.Frame.SWITCH):
            keys = keys[1:]
        yield plain.hex()


def openers(run: dict, direction: bytes, *roots: str) -> list[Opener]:
    kind = EncryptType(run["encryptType"])
    return [Opener(frame_keys(Secret(raw(root)), direction, kind)) for root in roots]


@each_run
def test_a_session_is_what_was_recorded(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    run, first = run(), run()["connections"][0]
    server = Side(recorded.welcome(run, monkeypatch))
    ups = heard(server, raw(first["client_stream"]))
    assert server.sent == [raw(run["messages"][name]) for name in ("CHALLENGE", "SESSION")]
    client = Side(recorded.greet(run, monkeypatch))
    downs = heard(client, raw(first["server_stream"]))
    assert client.sent == [raw(run["messages"][name]) for name in ("GREETING", "RESPONSE")]
    assert client.result.keys.root == server.result.keys.root == raw(run["RK"])
    assert client.result.terms == recorded.terms(run, raw(run["RS"]))
    roots = run["RK"], run["refresh"]["RK"]
    assert [*frames(ups, openers(run, schedule.CLIENT_TO_SERVER, *roots))] == first["client_frames"]
    assert [*frames(downs, openers(run, schedule.SERVER_TO_CLIENT, *roots))] == first["server_frames"]


@each_run
def test_a_recovery_is_what_was_recorded(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    run, second = run(), run()["connections"][1]
    server = Side(recorded.recover(run, monkeypatch))
    ups = heard(server, raw(second["client_stream"]))
    assert server.sent == [raw(run["recovery"]["messages"]["RECOVERED"])]
    client = Side(recorded.resume(run, monkeypatch))
    downs = heard(client, raw(second["server_stream"]))
    assert client.sent == [raw(run["recovery"]["messages"]["RESUME"])]
    root = run["recovery"]["RK"]
    assert client.result.keys.root == server.result[2].root == raw(root)
    assert [*frames(ups, openers(run, schedule.CLIENT_TO_SERVER, root))] == second["client_frames"]
    assert [*frames(downs, openers(run, schedule.SERVER_TO_CLIENT, root))] == second["server_frames"]


@each_run
def test_all_bytes_of_the_application_are_in_the_frames(run: Run) -> None:
    """Half of them before the reconnection, and one frame that was sent again."""
    for side, sent in (("client", record.UPS), ("server", record.DOWNS)):
        plains = [raw(frame) for each in run()["connections"] for frame in each[f"{side}_frames"]]
        assert b"".join(plain[5:] for plain in plains if plain[0] == wire.Frame.DATA) == sent


# The carrier http


def fields(said: dict) -> bytes:
    lines = [f"{name}: {value}" for name, value in said["headers"]]
    return "\r\n".join([*lines, "", ""]).encode() + raw(said["body"])


def parsed(machine: Messages, data: bytes) -> tuple[Event | None, bytes]:
    """The head and the body of one message, which ends where the data do."""
    machine.feed(data)
    head, body = machine.next(), b""
    while isinstance(event := machine.next(), Body):
        body += event.data
    assert isinstance(event, End) and not machine.unread
    return head, body


def tokens(run: dict) -> Tokens:
    return Tokens(schedule.knock_key(raw(run["server_public"])))


def asks(said: dict) -> bool:
    return "target" in said


class Server:
    """The machines of a server, which get the recorded requests of a carrier, in the recorded order."""

    def __init__(self, run: dict, carrier: dict) -> None:
        self.tokens, self.carrier = tokens(run), carrier
        self.ups, self.downs = UpReceiver(), DownAnswerer()
        self.up, self.down, self.now = b"", b"", 0.0
        self.answers = {(said["what"], said["n"]): said for said in carrier["server"] if not asks(said)}
        self.given: dict[int, Answer] = {}
        self.repeated = self.asked = 0

    def request(self, said: dict) -> None:
        head, body = parsed(Requests(), f"{said['method']} {said['target']} HTTP/1.1\r\n".encode() + fields(said))
        assert isinstance(head, Head) and head.length == len(body)
        text = paths.token_of(head, "")
        assert text is not None
        hour = self.carrier["hour"]
        assert self.tokens.read(text, hour) == (Token(raw(self.carrier["id"]), What(said["what"]), said["n"]), hour)
        if said["what"] == What.UP:
            self._up(said["n"], body)
        else:
            self.asked += 1
            last = self.answers.get((What.DOWN, said["n"]))  # none, where the carrier was lost
            jitter = -1.0 if last and last["status"] == 200 and not last["body"] else 1.0  # only this one is late
            self._take(self.downs.ask((said["n"], self.asked), said["n"], self.now, jitter))

    def _up(self, n: int, body: bytes) -> None:
        verdict = self.ups.judge(n, len(body))
        assert verdict in (Up.READ, Up.REPEATED)
        assert self.ups.put(n, body) is (verdict is Up.READ)
        self.repeated += verdict is Up.REPEATED
        while (piece := self.ups.take()) is not None:
            self.up += piece

    def _take(self, sends: Sends) -> None:
        """Every request of an m has the same answer."""
        for (m, _), answer in sends:  # type: ignore[misc]
            assert self.given.setdefault(m, answer) == answer
            self.repeated += m < self.downs.next_m - 1

    def answer(self, said: dict) -> None:
        """The stream has these bytes then, and those of the answers before it."""
        if said["what"] == What.UP:
            assert said["status"] == 200 and not said["body"]
            return
        while self.downs.next_m <= said["n"]:
            self._give(self.answers[What.DOWN, self.downs.next_m])
        assert self.given[said["n"]] == Answer(said["status"], raw(said["body"]))

    def _give(self, said: dict) -> None:
        assert self.downs.wants, "its request was there"
        body = raw(said["body"])
        if said["status"] == 204:
            self._take(self.downs.end(self.now))
        elif body:
            self._take(self.downs.give(body, self.now))
        else:
            self.now = max(self.now, self.downs.next_at or 0.0)
            self._take(self.downs.expire(self.now))
        self.down += body


@each_http
@pytest.mark.parametrize("number", [0, 1])
def test_the_server_answers_what_was_recorded(run: Run, number: int) -> None:
    run, carrier = run(), run()["connections"][number]
    server = Server(run, carrier)
    for said in carrier["server"]:
        server.request(said) if asks(said) else server.answer(said)
    assert server.up == raw(carrier["client_stream"])
    assert server.down == raw(carrier["server_stream"])
    assert server.repeated and server.ups.ended is (number == 1)


class Client:
    """The machines of a client, which get the recorded answers, and ask what was asked then."""

    def __init__(self, run: dict, carrier: dict) -> None:
        self.tokens, self.carrier = tokens(run), carrier
        self.ups, self.downs = UpSender(), DownAsker()
        self.down = b""
        self.failed = 0

    def requests(self, what: int) -> Repeats:
        return self.ups.requests if what == What.UP else self.downs.requests

    def request(self, said: dict) -> None:
        what, n, body = What(said["what"]), said["n"], raw(said["body"])
        token = self.tokens.make(self.carrier["hour"], Token(raw(self.carrier["id"]), what, n))
        assert said["target"] == "/" + token
        self.downs.ask()
        due = self.requests(what).due
        if what is What.UP and n not in due:
            assert self.ups.room >= len(body) and (not body or len(body) >= self.ups.least)
            assert self.ups.put(body) == n
        assert n in self.requests(what).due
        assert what is What.DOWN or self.ups.body(n) == body
        self.requests(what).began(n, 0.0)

    def answer(self, said: dict) -> None:
        what, n = said["what"], said["n"]
        if said.get("failed"):
            self.requests(what).failed(n)
            assert self.requests(what).fresh(n)
            self.failed += 1
            return
        answers = Answers()
        answers.expect(b"POST")
        head, body = parsed(answers, f"HTTP/1.1 {said['status']} x\r\n".encode() + fields(said))
        assert isinstance(head, AnswerHead) and head.length == len(body)
        if what == What.UP:
            self.ups.answered(n)
            return
        self.downs.answered(n, Answer(head.status, body))
        while (piece := self.downs.take()) is not None:
            self.down += piece


@each_http
@pytest.mark.parametrize("number", [0, 1])
def test_the_client_asks_what_was_recorded(run: Run, number: int) -> None:
    run, carrier = run(), run()["connections"][number]
    client = Client(run, carrier)
    for said in carrier["client"]:
        client.request(said) if asks(said) else client.answer(said)
    assert client.down == raw(carrier["server_stream"])
    assert client.failed == 2 and client.ups.ended is client.downs.ended is (number == 1)


@each_http
def test_the_record_has_what_it_is_to_have(run: Run) -> None:
    """Requests that came again, with the same target and body, and an empty answer of a stream that goes on."""
    for carrier in run()["connections"]:
        asked = [(said["what"], said["n"]) for said in carrier["server"] if asks(said)]
        assert {each for each in asked if asked.count(each) > 1} == {(What.UP, 2), (What.DOWN, 1)}
        assert len({said["target"] for said in carrier["server"] if asks(said)}) == len({*asked})
    seen = [said for said in run()["connections"][0]["client"] if "status" in said and said["what"] == What.DOWN]
    empty = [said["n"] for said in seen if not said["body"]]
    assert empty and min(empty) < max(said["n"] for said in seen if said["body"])
