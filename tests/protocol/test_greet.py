"""protocol/greet: a client says what was recorded, and accepts nothing that it must not (protocol 3.2, 3.3, 3.5)."""

import tracemalloc
from collections.abc import Callable

import pytest
import recorded
from dialogue import (
    CLIENT,
    OTHER_CLIENT,
    OTHER_SERVER,
    OTHER_TOKEN,
    RESUME_ENCS,
    SERVER,
    SESSION_ENCS,
    TOKEN,
    World,
    alter_enc,
    alter_seal,
    default_terms,
    put,
    seeded,
    talk,
)
from recorded import each_run, raw

from nitrosocks_lib.crypto import schedule
from nitrosocks_lib.crypto.identity import ClientPublic
from nitrosocks_lib.facts import limits, wire
from nitrosocks_lib.facts.errors import DecoyAnswer, NitroSocksError, NotAuthorised, NotOurs, ProtocolError, Refused
from nitrosocks_lib.facts.wire import EncryptType, Refusal
from nitrosocks_lib.protocol import greet
from nitrosocks_lib.protocol.greet import Credentials
from nitrosocks_lib.protocol.handshake import Dialogue
from nitrosocks_lib.protocol.welcome import Authorised, Hello

U16, U32 = wire.U16.pack, wire.U32.pack

# The recorded runs


@each_run
def test_greet_says_what_was_recorded(run: dict, monkeypatch: pytest.MonkeyPatch) -> None:
    client, player = talk(recorded.greet(run, monkeypatch), recorded.player(recorded.messages(run), 1))
    greeted = client.outcome()
    player.outcome()
    assert client.sent == [raw(run["messages"]["GREETING"]), raw(run["messages"]["RESPONSE"])]
    assert (greeted.keys.hs.hex(), greeted.keys.root.hex(), greeted.keys.epoch) == (run["hs"], run["RK"], 0)
    assert greeted.terms == recorded.terms(run, raw(run["RS"]))
    assert greeted.ephemeral.public == recorded.KemPrivate(raw(run["next_ephemeral_raw"])).public
    assert (greeted.certificate_hash.hex(), greeted.server_ms) == (run["certificate_hash"], run["server_ms"])


@each_run
def test_resume_says_what_was_recorded(run: dict, monkeypatch: pytest.MonkeyPatch) -> None:
    recovery = run["recovery"]
    client, player = talk(recorded.resume(run, monkeypatch), recorded.player(recorded.messages(recovery), 1))
    recovered = client.outcome()
    player.outcome()
    assert client.sent == [raw(recovery["messages"]["RESUME"])]
    assert (recovered.keys.hs.hex(), recovered.keys.root.hex()) == (recovery["hs"], recovery["RK"])
    assert recovered.received == recovery["server_received"]
    assert recovered.certificate_hash.hex() == run["certificate_hash"]
    body = recorded.resume_steps(run).input("body")
    assert recovered.ephemeral.public == recorded.next_ephemeral(body, wire.U64.size)


# The knock


@pytest.mark.parametrize("first", [b"A", b"Z", b"a", b"z", b"G", b"P", b"\x16"])
@pytest.mark.parametrize("begin", ["greet", "resume"])
def test_a_nonce_never_begins_as_http_or_tls(first: bytes, begin: str) -> None:
    source, nonces = seeded(1), [first + bytes(23), first + bytes(23), b"\x17" + bytes(23)]
    who = Credentials(SERVER.public, CLIENT, TOKEN)

    def random(size: int) -> bytes:
        return nonces.pop(0) if size == wire.NONCE else source(size)

    asked = (1, 0, 7) if begin == "resume" else (7, limits.WINDOW)
    stated = (default_terms(), *asked) if begin == "resume" else asked
    message = next(getattr(greet, begin)(who, *stated, random))
    assert message[: wire.NONCE] == b"\x17" + bytes(23)
    assert message[wire.NONCE : wire.KNOCK] == schedule.knock_tag(schedule.knock_key(SERVER.public), 7, message[:24])


@pytest.mark.parametrize("first", [b"\0", b"@", b"[", b"`", b"{", b"\x15", b"\x17", b"0", b"\xc3", b"\xff"])
def test_any_other_nonce_stays(first: bytes) -> None:
    source = seeded(1)
    who, nonce = Credentials(SERVER.public, CLIENT, TOKEN), first + bytes(23)
    message = next(greet.greet(who, 7, limits.WINDOW, lambda size: nonce if size == wire.NONCE else source(size)))
    assert message[: wire.NONCE] == nonce


# What is in the way of an agreement


def known(key: ClientPublic, token: bytes = TOKEN) -> Authorised:
    return Authorised("ann", key, token)


# What the world is like, and how the client and the server end; None: it waits for an answer.
MISFITS: list[tuple[str, dict, type[NitroSocksError] | None, type[NitroSocksError] | None]] = [
    ("other Token at the server", {"known": known(ClientPublic(CLIENT.public), OTHER_TOKEN)}, NotAuthorised, None),
    ("other Token at the client", {"who": Credentials(SERVER.public, CLIENT, OTHER_TOKEN)}, NotAuthorised, None),
    ("key of another server", {"who": Credentials(OTHER_SERVER.public, CLIENT, TOKEN)}, None, NotOurs),
    ("server with another key", {"server": OTHER_SERVER}, None, NotOurs),
    ("unknown client", {"who": Credentials(SERVER.public, OTHER_CLIENT, TOKEN)}, NotAuthorised, Refused),
    ("no client at all", {"known": None}, NotAuthorised, Refused),
]


@pytest.mark.parametrize(("what", "changes", "client_error", "server_error"), MISFITS)
def test_who_does_not_fit(what: str, changes: dict, client_error: type | None, server_error: type | None) -> None:
    client, server = World(**changes).new_session()
    assert (type(client.error), type(server.error)) == (client_error or type(None), server_error or type(None))
    assert client.result is server.result is None
    assert len(client.sent) == 1


def test_only_the_right_C_opens_a_challenge() -> None:
    """A server that has somebody else's keys under this client_id is not the one that we know."""
    world = World(known=known(ClientPublic(OTHER_CLIENT.public)))
    world.lookup = lambda _: world.known
    client, server = world.new_session()
    assert type(client.error) is ProtocolError
    assert not server.over


@pytest.mark.parametrize("who", [None, known(ClientPublic(CLIENT.public), OTHER_TOKEN)], ids=["revoked", "Token"])
def test_not_authorised_says_what_to_do(who: Authorised | None) -> None:
    client, _ = World(known=who).new_session()
    assert client.error.hint


# Refusals


def refusing(reason: Refusal) -> Callable[[Hello], Dialogue]:
    def answer(hello: Hello) -> Dialogue:
        raise Refused(reason)
        yield

    return answer


@pytest.mark.parametrize("begin", ["greet", "resume"])
@pytest.mark.parametrize("reason", Refusal)
def test_each_refusal_is_recognised(begin: str, reason: Refusal) -> None:
    world = World()
    client, server = talk(getattr(world, begin)(), world.serve(refusing(reason)))
    assert len(server.sent) == 1
    assert len(server.sent[0]) == wire.SALT
    if reason is Refusal.UNKNOWN_CLIENT:
        assert type(client.error) is NotAuthorised and "nitrosocks check" in client.error.hint
    else:
        assert type(client.error) is Refused
        assert client.error.reason is reason


@pytest.mark.parametrize("begin", ["greet", "resume"])
def test_32_other_bytes_are_a_salt(begin: str) -> None:
    world = World()
    answer = schedule.refusal(bytes(32), Refusal.FULL)  # of another greeting
    client, _ = talk(getattr(world, begin)(), answering(answer))
    assert not client.over
    client, _ = talk(getattr(world, begin)(), answering(answer + bytes(wire.EPHEMERAL)))
    assert type(client.error) is ProtocolError


@pytest.mark.parametrize("begin", ["greet", "resume"])
def test_a_web_server_is_told_from_a_salt(begin: str) -> None:
    answer = b"HTTP/1.1 400 Bad Request\r\nServer: "
    client, _ = talk(getattr(World(), begin)(), answering(answer))
    assert type(client.error) is DecoyAnswer
    assert client.error.head == answer[: wire.SALT]


def answering(answer: bytes) -> Dialogue[None]:
    """A server that reads a knock and answers this."""
    yield wire.KNOCK
    yield answer


# Bounds


def ends(client_error: NitroSocksError | None, good: bool) -> None:
    assert type(client_error) is (type(None) if good else ProtocolError)


@pytest.mark.parametrize(
    ("name", "value", "good"),
    [
        ("window", 0, False),
        ("window", 65_535, False),
        ("window", 65_536, True),
        ("window", 67_108_864, True),
        ("window", 67_108_865, False),
        ("window", 2**32 - 1, False),
        ("resume", 0, True),
        ("resume", 86_400, True),
        ("resume", 86_401, False),
        ("resume", 2**32 - 1, False),
        ("heartbeat", 0, False),
        ("heartbeat", 4, False),
        ("heartbeat", 5, True),
        ("heartbeat", 300, True),
        ("heartbeat", 301, False),
        ("address", "", True),
        ("address", "x" * 255, True),
        ("address", "ü" * 127 + "x", True),
    ],
)
def test_bounds_of_the_terms(name: str, value: int | str, good: bool) -> None:
    client, _ = World(terms=default_terms(**{name: value}), pad=0).new_session()
    ends(client.error, good)
    assert not good or getattr(client.outcome().terms, name) == value


@pytest.mark.parametrize(
    ("encrypt_type", "version", "good"),
    [(1, 1, True), (2, 1, True), (0, 1, False), (3, 1, False), (31, 1, False), (2**32 - 1, 1, False), (2, 0, False),
     (2, 2, False)],
)  # fmt: skip
def test_the_choice_must_have_been_offered(
    encrypt_type: int, version: int, good: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    alter_seal(monkeypatch, b"challenge", put(64, U32(encrypt_type) + U32(version)))
    tracemalloc.start()
    try:
        client, _ = World().new_session()
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    ends(client.error, good)
    assert most < 16 << 20, "1 << (2**32 - 1) takes 512 MiB"


@pytest.mark.parametrize("encrypt_type", EncryptType)
def test_a_choice_beyond_our_offer_is_refused(encrypt_type: EncryptType, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that offers the other one alone."""
    monkeypatch.setattr(greet, "OFFERED", [other := EncryptType(3 - encrypt_type)])
    monkeypatch.setattr(greet, "OFFER", 1 << other)
    alter_enc(monkeypatch, SESSION_ENCS, "body", put(-8, U32(0b110)))
    client, server = World(terms=default_terms(encrypt_type), pad=0).new_session()
    assert type(client.error) is ProtocolError
    assert not server.over


# Each row: dialogue, Enc, what is put where (with no padding, unless the row makes it), whether the client takes it.
PARTS: list[tuple[str, str, int, bytes, int, bool]] = [
    ("new_session", "ephemeral", 0, U16(1025), 0, False),
    ("new_session", "ephemeral", 0, b"\xff\xff", 0, False),
    ("new_session", "last", -1, b"\0", 1024, True),
    ("new_session", "last", -1, b"\1", 1024, False),
    ("new_session", "last", 40, b"\1", 1, False),
    ("new_session", "terms", 0, U16(0), 0, False),
    ("new_session", "terms", 0, U16(1), 0, False),
    ("new_session", "terms", 0, U16(2 + 255 + 1024 + 1), 0, False),
    ("new_session", "address", 0, U16(256), 1024, False),
    ("new_session", "address", 0, U16(23), 0, False),  # one byte more than there is
    ("new_session", "address", 0, U16(22), 0, True),
    ("new_session", "address", 0, U16(21), 0, False),  # the rest is no zero
    ("new_session", "address", 0, U16(21), 1024, False),  # and 1025 bytes of padding
    ("new_session", "address", 2, b"\xff", 0, False),  # no UTF-8
    ("new_session", "address", -1, b"\1", 1024, False),
    ("recovery", "ephemeral", 0, U16(1025), 0, False),
    ("recovery", "last", -1, b"\0", 1024, True),
    ("recovery", "last", -1, b"\1", 1024, False),
]


@pytest.mark.parametrize(("dialogue", "part", "at", "value", "pad", "good"), PARTS)
def test_bounds_of_the_parts(
    dialogue: str, part: str, at: int, value: bytes, pad: int, good: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(pad=pad)
    assert len(world.terms.address) == 22
    alter_enc(monkeypatch, SESSION_ENCS if dialogue == "new_session" else RESUME_ENCS, part, put(at, value))
    client, _ = getattr(world, dialogue)()
    ends(client.error, good)


def test_a_pad_that_is_not_there_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """1024 is a bound that holds: the client then waits for more bytes than the server sends."""
    alter_enc(monkeypatch, SESSION_ENCS, "ephemeral", put(0, U16(1024)))
    client, _ = World(pad=1023).new_session()
    assert not client.over
    assert len(client.inbox) == wire.CHALLENGE_LAST + 1023 + wire.TAG


@pytest.mark.parametrize("label", [b"ephemeral", b"challenge", b"recovery"])
def test_a_seal_to_somebody_else_ends_it(label: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    real, other = greet.KemPublic.seal, ClientPublic(OTHER_CLIENT.public).kem
    monkeypatch.setattr(
        greet.KemPublic, "seal", lambda self, name, h, p: real(other if name == label else self, name, h, p)
    )
    client, _ = World().recovery() if label == b"recovery" else World().new_session()
    assert type(client.error) is ProtocolError
