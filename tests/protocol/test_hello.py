"""protocol/welcome up to the first Enc: what is ours, hours and nonces (protocol 3.2, 3.6)."""

import pytest
import recorded
from dialogue import HOUR, SERVER, SESSION_ENCS, Side, World, alter_enc, put
from recorded import each_run, raw

from nitrosocks_lib.facts import limits, wire
from nitrosocks_lib.facts.errors import NotOurs, ProtocolError
from nitrosocks_lib.facts.wire import Refusal
from nitrosocks_lib.protocol.nonces import Carried, Nonces
from nitrosocks_lib.protocol.welcome import read_hello

U16 = wire.U16.pack
NONCE, OTHER_NONCE = b"n" * wire.NONCE, b"o" * wire.NONCE

# The first read


def greeting(**changes: object) -> bytes:
    first = next(World(**changes).greet())
    assert isinstance(first, bytes)
    return first


def hello(first: bytes, rest: bytes = b"", hour: int = HOUR, nonces: Nonces | None = None) -> Side:
    side = Side(read_hello(SERVER, first, hour, nonces or Nonces(bytes(32))))
    side.inbox += rest
    side.run()
    return side


@pytest.mark.parametrize("size", [0, 1, 23, 24, 39])
def test_fewer_bytes_than_a_knock_are_not_ours(size: int) -> None:
    message = greeting()
    side = hello(message[:size], message[size:])
    assert type(side.error) is NotOurs
    assert str(side.error) == "fewer bytes than a knock"
    assert side.taken == 0


@pytest.mark.parametrize("size", [40, 41, 1227, 5000])
@pytest.mark.parametrize("text", [b"\0", b"GET / HTTP/1.1\r\n", b"\x16\x03\x01\x02\x00\x01"])
def test_bytes_of_others_are_not_ours(size: int, text: bytes) -> None:
    side = hello((text * size)[:size], bytes(2000))
    assert type(side.error) is NotOurs
    assert side.taken == 0


@pytest.mark.parametrize("size", [40, 41, 1227, 5000])
@pytest.mark.parametrize("begin", ["greet", "resume"])
def test_a_hello(size: int, begin: str) -> None:
    """However long the first read is, the generator asks for what is behind the knock."""
    message = next(getattr(World(pad=77), begin)())
    side = hello(message[:size], message[wire.KNOCK :])
    assert side.error is None
    assert side.taken == wire.HELLO
    assert (side.result.kind, side.result.pad, side.result.fresh) == (1 + (begin == "resume"), 77, True)


def test_a_hello_that_is_not_complete_waits() -> None:
    message = greeting()
    assert not hello(message[: wire.KNOCK], message[wire.KNOCK : wire.KNOCK + wire.HELLO - 1]).over


@each_run
def test_recorded_refusals(run: dict) -> None:
    side = Side(recorded.read_hello(run))
    side.inbox += raw(run["messages"]["GREETING"])
    side.run()
    assert {str(reason.value): side.result.refusal(reason).hex() for reason in Refusal} == run["refusals"]


@each_run
def test_a_resume_is_refused_with_the_key_after_sS(run: dict) -> None:
    side = Side(recorded.read_hello(run))
    side.inbox += raw(run["recovery"]["messages"]["RESUME"])
    side.run()
    assert side.result.state.ck == recorded.resume_steps(run).ck("sS")


@pytest.mark.parametrize(
    ("at", "value", "good"),
    [(0, b"\0", False), (0, b"\3", False), (0, b"\xff", False), (0, b"\2", True), (1, U16(1024), True),
     (1, U16(1025), False), (1, U16(65535), False)],
)  # fmt: skip
def test_kind_and_pad_of_a_hello(at: int, value: bytes, good: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first Enc opens, so this is one of ours that fails: not for the decoy, and without an answer."""
    alter_enc(monkeypatch, SESSION_ENCS, "hello", put(at, value))
    message = greeting()
    assert type(hello(message[:40], message[40:]).error) is (type(None) if good else ProtocolError)


def test_a_wrong_seal_in_a_hello(monkeypatch: pytest.MonkeyPatch) -> None:
    alter_enc(monkeypatch, SESSION_ENCS, "hello", put(-1, b"?"))
    message = greeting()
    assert type(hello(message[:40], message[40:]).error) is ProtocolError


# Hours and nonces


@pytest.mark.parametrize(("off", "good"), [(-2, False), (-1, True), (0, True), (1, True), (2, False)])
@pytest.mark.parametrize("dialogue", ["new_session", "recovery"])
def test_a_clock_may_be_off_by_an_hour(off: int, good: bool, dialogue: str) -> None:
    world = World(client_hour=HOUR + off)
    client, server = getattr(world, dialogue)()
    if good:
        assert client.outcome().keys.hs
        assert world.nonces.seen(HOUR + off, client.sent[0][: wire.NONCE])
    else:
        assert type(server.error) is NotOurs
        assert not client.over


@pytest.mark.parametrize("begin", ["greet", "resume"])
@pytest.mark.parametrize("later", [0, 1])
def test_a_replayed_hello_is_not_ours(begin: str, later: int) -> None:
    message, nonces = next(getattr(World(), begin)()), Nonces(bytes(32))
    assert hello(message[:40], message[40:], HOUR, nonces).error is None
    again = hello(message[:40], message[40:], HOUR + later, nonces)
    assert type(again.error) is NotOurs
    assert again.taken == 0, "a nonce is looked up as soon as the tag matches"


def test_of_two_hellos_at_once_one_is_ours() -> None:
    """Both pass the look-up before either has opened; the test when the nonce is put in decides."""
    message, nonces = greeting(), Nonces(bytes(32))
    sides = [hello(message[:40], b"", HOUR, nonces) for _ in range(2)]
    for side in sides:
        side.inbox += message[40:]
        side.run()
    assert [type(side.error) for side in sides] == [type(None), NotOurs]


@pytest.mark.parametrize("at", [wire.KNOCK, wire.KNOCK + wire.HELLO - 1])
def test_a_hello_that_does_not_open_uses_up_no_nonce(at: int) -> None:
    nonces, message = Nonces(bytes(32)), bytearray(greeting())
    message[at] ^= 1
    assert type(hello(message[:40], message[40:], HOUR, nonces).error) is NotOurs
    message[at] ^= 1
    assert hello(bytes(message[:40]), message[40:], HOUR, nonces).error is None


@pytest.mark.parametrize("dialogue", ["new_session", "recovery"])
def test_a_full_set_of_nonces_serves_and_does_not_store(dialogue: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "NONCES_PER_HOUR", 1)
    world = World()
    assert world.nonces.put(HOUR, NONCE, HOUR)
    client, server = getattr(world, dialogue)()
    assert [side.error for side in (client, server)] == [None, None]
    assert not world.nonces.seen(HOUR, client.sent[0][: wire.NONCE])


@pytest.mark.parametrize("dialogue", ["new_session", "recovery"])
def test_a_replay_gains_nothing_where_the_set_is_full(dialogue: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A greeting is challenged anew, and the recorded answer does not fit; the j of a RESUME was there already."""
    monkeypatch.setattr(limits, "NONCES_PER_HOUR", 0)
    world = World()
    client, server = getattr(world, dialogue)()
    assert server.error is None and world.nonces.unstored == 1
    later = World(nonces=world.nonces, seed=77, last_attempt=5)
    again = Side(later.serve(later.welcome if dialogue == "new_session" else later.recover))
    for message in client.sent:
        again.inbox += message
        again.run()
    assert isinstance(again.error, ProtocolError) and world.nonces.unstored == 2
    assert again.sent == [] if dialogue == "recovery" else again.sent[0] != server.sent[0]


def test_an_id_goes_in_with_its_nonce() -> None:
    """TK4: two greetings that one id brought, and only one passes; of the other nothing is stored."""
    nonces, carried = Nonces(bytes(32)), Carried(bytes(wire.CARRIER_ID), HOUR)
    first, second = (next(World(seed=seed).greet()) for seed in (1, 2))
    sides = [Side(read_hello(SERVER, each, HOUR, nonces, carried)) for each in (first, second)]
    for side, message in zip(sides, (first, second), strict=True):
        side.run()
        side.inbox += message[wire.KNOCK :]
    for side in sides:
        side.run()
    assert sides[0].error is None and type(sides[1].error) is NotOurs
    assert not nonces.may_begin(carried) and nonces.kept == 1


def test_what_does_not_open_brings_no_id() -> None:
    nonces, carried, message = Nonces(bytes(32)), Carried(bytes(wire.CARRIER_ID), HOUR), greeting()
    side = Side(read_hello(SERVER, message, HOUR, nonces, carried))
    side.inbox += bytes(wire.HELLO)
    side.run()
    assert type(side.error) is NotOurs and nonces.may_begin(carried)
