"""protocol/handshake, and both sides of it together: they agree, and a changed byte ends it just where it stands."""

import pytest
import recorded
from dialogue import CERTIFICATE, NOW_MS, RESUME_SECRET, SESSION_ID, Side, World, default_terms, flipped, seeded, talk
from recorded import each_run, raw

from nitrosocks_lib.crypto import schedule
from nitrosocks_lib.crypto.schedule import FrameKeys, SymmetricState
from nitrosocks_lib.facts import limits, wire
from nitrosocks_lib.facts.errors import NotAuthorised, NotOurs, ProtocolError
from nitrosocks_lib.facts.wire import EncryptType
from nitrosocks_lib.protocol import handshake
from nitrosocks_lib.protocol.greet import Credentials, Greeted, Recovered, resume
from nitrosocks_lib.protocol.refresh import Started
from nitrosocks_lib.protocol.welcome import Authorised, Challenge, Hello, Resume, Welcomed

# What each part of each message fails with.
FAILS = {
    "GREETING": [NotOurs, NotOurs, NotOurs, ProtocolError],
    "CHALLENGE": [ProtocolError, ProtocolError, ProtocolError, NotAuthorised],
    "RESPONSE": [ProtocolError, ProtocolError],
    "SESSION": [ProtocolError, ProtocolError],
    "RESUME": [NotOurs, NotOurs, NotOurs, ProtocolError, ProtocolError],
    "RECOVERED": [ProtocolError, ProtocolError, ProtocolError, ProtocolError],
}
WITH_THE_NEXT_PART = ("GREETING", "CHALLENGE", "RESUME", "RECOVERED")  # a changed nonce or salt is noticed there
FLIPS = [(name, part, last) for name, errors in FAILS.items() for part in range(len(errors)) for last in (False, True)]


# Both sides together


@pytest.mark.parametrize("encrypt_type", EncryptType)
@pytest.mark.parametrize("pad", [None, 0, limits.PAD_MAX])
def test_a_new_session(encrypt_type: EncryptType, pad: int | None) -> None:
    world = World(terms=default_terms(encrypt_type, address=""), pad=pad)
    client, server = (side.outcome() for side in world.new_session())
    assert (client.keys.hs, client.keys.root, client.keys.epoch) == (server.keys.hs, server.keys.root, 0)
    assert client.terms == server.terms == world.terms
    assert client.terms.resume_secret not in (b"", RESUME_SECRET)
    assert client.terms.encrypt_type is encrypt_type
    assert client.ephemeral.public == server.ephemeral.raw
    assert (client.certificate_hash, client.server_ms) == (CERTIFICATE, NOW_MS)
    assert (server.client, server.peer_window) == (world.known, world.window)


@pytest.mark.parametrize("pad", [None, 0, limits.PAD_MAX])
def test_a_recovery(pad: int | None) -> None:
    world = World(pad=pad)
    client, server = (side.outcome() for side in world.recovery(attempt=2**32 - 1, received=2**64 - 1))
    request, attempt, keys = server
    assert (client.keys.hs, client.keys.root, client.keys.epoch) == (keys.hs, keys.root, 0)
    assert (client.received, client.certificate_hash) == (9, CERTIFICATE)
    assert (request.received, attempt) == (2**64 - 1, 2**32 - 1)
    assert client.ephemeral.public == request.ephemeral.raw


def test_a_session_is_recovered_twice() -> None:
    """RS stays; hs, RK and E' are new each time."""
    world = World()
    keys = [world.new_session()[0].outcome().keys]
    assert world.terms.session_id == SESSION_ID
    for seed in (1, 2):
        world.seed, world.last_attempt = 10 * seed, seed
        client = talk(recovering(world, seed + 1), world.serve(world.recover))[0]
        keys.append(client.outcome().keys)
    assert len({bytes(key.root) for key in keys}) == len({key.hs for key in keys}) == 3


def recovering(world: World, attempt: int) -> handshake.Dialogue:
    return resume(world.who, world.terms, attempt, 0, world.client_hour, seeded(world.seed))


@pytest.mark.parametrize("pad", [0, 1, limits.PAD_MAX])
def test_sizes_of_the_messages(pad: int) -> None:
    """All parts and tags of protocol 3.3 and 3.5, and the padding; nothing else is sent."""
    client, server = World(terms=default_terms(address="host:1"), pad=pad).new_session()
    assert [len(message) - pad for message in client.sent] == [40 + 1187 + 1260, 18 + 4637]
    assert [len(message) - pad for message in server.sent] == [32 + 1186 + 1224 + 56, 78 + 24]
    client, server = World(pad=pad).recovery()
    assert [len(message) - pad for message in client.sent] == [40 + 1187 + 1252 + 4613]
    assert [len(message) - pad for message in server.sent] == [32 + 1186 + 1184 + 56]


def test_two_greetings_share_nothing() -> None:
    """Same keys, other random bytes: nothing of the first message is the same, byte for byte, but by chance."""
    one, two = (World(seed=seed, pad=0).new_session()[0].sent[0] for seed in (1, 2))
    assert sum(a == b for a, b in zip(one, two, strict=True)) < len(one) / 64


# A changed byte


def recorded_sides(run: dict, name: str, monkeypatch: pytest.MonkeyPatch) -> tuple[Side, list[bytes], int]:
    """The side that receives this recorded message, all messages of its dialogue, and the number of this one."""
    part = run if name in run["messages"] else run["recovery"]
    number = list(part["messages"]).index(name)
    server, client = (recorded.welcome, recorded.greet) if part is run else (recorded.recover, recorded.resume)
    return Side((client if number % 2 else server)(run, monkeypatch)), recorded.messages(part), number


@each_run
@pytest.mark.parametrize(("name", "part", "last"), FLIPS)
def test_a_changed_byte_fails_in_its_part(
    run: dict, name: str, part: int, last: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    side, messages, number = recorded_sides(run, name, monkeypatch)
    message = messages[number]
    offsets = (run | run["recovery"] if name not in run["part_offsets"] else run)["part_offsets"][name]
    ends = [*offsets[1:], len(message)]
    before = [m for n, m in enumerate(messages[:number]) if n % 2 == number % 2]
    for earlier in before:
        side.inbox += earlier
        side.run()
    side.inbox += flipped(message, ends[part] - 1 if last else offsets[part])
    side.run()
    failing = 1 if part == 0 and name in WITH_THE_NEXT_PART else part
    assert type(side.error) is FAILS[name][part]
    assert side.taken == sum(map(len, before)) + ends[failing]


@pytest.mark.parametrize(("number", "who"), [(0, 1), (1, 0), (2, 1), (3, 0)])
def test_a_changed_byte_is_not_answered(number: int, who: int) -> None:
    """Neither side says anything more, and the other one waits."""
    sides = World().new_session(flip=(number, 100))
    assert isinstance(sides[who].error, ProtocolError | NotAuthorised)
    assert sum(len(side.sent) for side in sides) == number + 1
    assert number == 3 or not sides[1 - who].over


@each_run
def test_two_dialogues_do_not_mix(run: dict, monkeypatch: pytest.MonkeyPatch) -> None:
    """The answer to another greeting of the same client does not open."""
    other = World(pad=0, seed=5).new_session()[1].sent[0]
    greeting = raw(run["messages"]["GREETING"])
    side = talk(recorded.greet(run, monkeypatch), recorded.player([greeting, other], 1))[0]
    assert type(side.error) is ProtocolError


# The parts that both share


@pytest.mark.parametrize(("drawn", "pad"), [(0, 0), (1, 1), (1024, 1024), (1025, 0), (2**64 - 1, (2**64 - 1) % 1025)])
def test_draw_pad(drawn: int, pad: int) -> None:
    assert handshake.draw_pad(lambda size: drawn.to_bytes(size, "big")) == pad


def test_ephemeral_keys_are_drawn() -> None:
    random = seeded(1)
    one, two = handshake.draw_ephemeral(random), handshake.draw_ephemeral(random)
    assert len(one.public) == wire.KEM_PUBLIC
    assert one.public != two.public


@pytest.mark.parametrize(("head", "pad"), [("0000", 0), ("0001", 1), ("0400", 1024), ("0401", None), ("ffff", None)])
def test_checked_pad(head: str, pad: int | None) -> None:
    if pad is None:
        with pytest.raises(ProtocolError):
            handshake.checked_pad(raw(head))
    else:
        assert handshake.checked_pad(raw(head)) == pad


@pytest.mark.parametrize("bad", [b"\1", b"\0\1", b"\1\0", bytes(1023) + b"\xff"])
def test_checked_zeros(bad: bytes) -> None:
    handshake.checked_zeros(bytes(len(bad) - 1))
    with pytest.raises(ProtocolError):
        handshake.checked_zeros(bad)


@pytest.mark.parametrize(("value", "good"), [(4, False), (5, True), (6, True), (7, True), (8, False)])
def test_within(value: int, good: bool) -> None:
    if good:
        assert handshake.within(value, 5, 7, "heartbeat") == value
    else:
        with pytest.raises(ProtocolError, match=f"heartbeat out of range: {value}"):
            handshake.within(value, 5, 7, "heartbeat")


def test_read_asks_for_the_tag_too() -> None:
    sender, receiver = SymmetricState(b"S"), SymmetricState(b"S")
    for state in (sender, receiver):
        state.mix_key(b"key")
    side = Side(handshake.read(receiver, 4))
    side.inbox += sender.enc(b"part")
    side.run()
    assert side.outcome() == b"part"
    assert side.taken == 4 + wire.TAG


def test_derive() -> None:
    state = SymmetricState(b"S")
    state.mix_key(b"key")
    root = schedule.root_key(state.ck)
    keys = handshake.derive(state)
    assert (keys.hs, keys.root, keys.epoch) == (state.h, root, 0)
    assert not state.ck, "nothing derives keys any more"


def test_what_is_signed() -> None:
    assert handshake.signed_response(b"h", b"proof", b"E'") == b"hproofE'"
    assert handshake.signed_resume(b"h", 258, b"E'") == b"h" + bytes(6) + b"\1\2E'"
    assert handshake.OFFER == 0b110


SECRETIVE = [
    Credentials, Greeted, Recovered, Authorised, Hello, Challenge, Welcomed, Resume, Started, FrameKeys,
    handshake.Keys, handshake.Terms,
]  # fmt: skip


@pytest.mark.parametrize("kind", SECRETIVE)
def test_nothing_secret_shows(kind: type) -> None:
    """In a repr, and so in a log or a traceback."""
    assert kind.__repr__ is object.__repr__
