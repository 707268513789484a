"""Two sides of a handshake talk in memory. A World is a client and a server that know each other.

A side is a generator as protocol/handshake has them: it yields bytes to send, or how many bytes it wants. The first
read of a server stands outside of them; here it gives the 40 bytes of the knock.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import cycle

import pytest

from nitrosocks_lib.crypto.identity import ClientKey, ClientPublic, KemPublic, ServerKey
from nitrosocks_lib.crypto.schedule import SymmetricState, equal
from nitrosocks_lib.crypto.secret import Secret
from nitrosocks_lib.facts import wire
from nitrosocks_lib.facts.errors import NitroSocksError, Refused
from nitrosocks_lib.facts.wire import EncryptType
from nitrosocks_lib.protocol import greet as client_side
from nitrosocks_lib.protocol import welcome as server_side
from nitrosocks_lib.protocol.greet import Credentials, Greeted, Recovered
from nitrosocks_lib.protocol.handshake import Dialogue, Keys, Random, Terms
from nitrosocks_lib.protocol.nonces import Nonces
from nitrosocks_lib.protocol.welcome import Authorised, Challenge, Hello, Welcomed

HOUR = 498_725
NOW_MS = HOUR * 3_600_000 + 1_234_567
SERVER, OTHER_SERVER = ServerKey(bytes([1]) * 32), ServerKey(bytes([2]) * 32)
CLIENT, OTHER_CLIENT = ClientKey(bytes([3]) * 32), ClientKey(bytes([4]) * 32)
TOKEN, OTHER_TOKEN = bytes([5]) * 32, bytes([6]) * 32
CERTIFICATE = bytes(range(32))
SESSION_ID, RESUME_SECRET = bytes([7]) * 16, bytes([8]) * 32

# The Encs of each dialogue in their order, for alter_enc.
SESSION_ENCS = ["hello", "body", "ephemeral", "challenge", "last", "head", "response", "terms", "address"]
RESUME_ENCS = ["hello", "head", "body", "ephemeral", "recovery", "last"]

Flip = tuple[int, int]  # number of the message, offset of the byte in it


class Side:
    """One generator, what it was given and sent so far, and how it ended."""

    def __init__(self, generator: Dialogue) -> None:
        self.generator = generator
        self.inbox = bytearray()
        self.sent: list[bytes] = []
        self.taken = 0  # bytes read
        self.over = False
        self.result = None
        self.error: NitroSocksError | None = None
        self._wish: int | bytes | None = None

    def run(self) -> list[bytes]:
        """Goes on until it wants bytes that are not there, or ends; returns what it sent."""
        before = len(self.sent)
        while not self.over and (not isinstance(self._wish, int) or len(self.inbox) >= self._wish):
            self._step()
        return self.sent[before:]

    def _step(self) -> None:
        given = None if self._wish is None else b""
        if isinstance(self._wish, int):
            given = bytes(self.inbox[: self._wish])
            del self.inbox[: self._wish]
            self.taken += len(given)
        try:
            self._wish = self.generator.send(given)
        except StopIteration as stop:
            self.over, self.result = True, stop.value
        except NitroSocksError as error:
            self.over, self.error = True, error
        else:
            if isinstance(self._wish, bytes):
                self.sent.append(self._wish)

    def outcome(self):
        """What the generator returned; raises what it raised."""
        if self.error:
            raise self.error
        assert self.over, f"still waits for {self._wish!r} bytes"
        assert not self.inbox, "left bytes unread"
        return self.result


def flipped(message: bytes, at: int) -> bytes:
    """The message with one byte changed."""
    return message[:at] + bytes([message[at] ^ 0x40]) + message[at + 1 :]


def talk(client: Dialogue, server: Dialogue, flip: Flip | None = None) -> tuple[Side, Side]:
    """Lets both go on until nothing moves any more; the byte at `flip` is changed on its way."""
    sides = one, two = Side(client), Side(server)
    number = 0
    for speaker, listener in cycle(((one, two), (two, one))):
        messages = speaker.run()
        for message in messages:
            listener.inbox += flipped(message, flip[1]) if flip and flip[0] == number else message
            number += 1
        if not messages:
            break
    for side in sides:
        side.generator.close()
    return sides


def seeded(seed: int, pad: int | None = None) -> Random:
    """Random bytes, the same in each run. With `pad`, 8 bytes are always this number: the length of the padding."""
    source = random.Random(seed)
    return lambda size: pad.to_bytes(8, "big") if pad is not None and size == 8 else source.randbytes(size)


def default_terms(encrypt_type: EncryptType = EncryptType.AES_256_GCM, **changes: object) -> Terms:
    """What a server states in SESSION, unless the test changes it."""
    stated = {"window": 1 << 20, "resume": 120, "heartbeat": 20, "address": "node3.example.org:8443"} | changes
    return Terms(encrypt_type, SESSION_ID, RESUME_SECRET, **stated)


@dataclass
class World:
    """A client and a server that know each other; a test replaces what it is about."""

    who: Credentials = field(default_factory=lambda: Credentials(SERVER.public, CLIENT, TOKEN))
    server: ServerKey = SERVER
    known: Authorised | None = field(default_factory=lambda: Authorised("ann", ClientPublic(CLIENT.public), TOKEN))
    terms: Terms = field(default_factory=default_terms)
    nonces: Nonces = field(default_factory=lambda: Nonces(bytes(32)))
    now_ms: Callable[[], int] = lambda: NOW_MS
    client_hour: int = HOUR
    server_hour: int = HOUR
    window: int = 1 << 22
    pad: int | None = None
    seed: int = 0
    last_attempt: int = 4

    def serve(self, answer: Callable[[Hello], Dialogue]) -> Dialogue:
        """A server: first read, hello, then `answer`; a Refused that this raises is sent."""
        hello = yield from server_side.read_hello(self.server, (yield wire.KNOCK), self.server_hour, self.nonces)
        try:
            return (yield from answer(hello))
        except Refused as error:
            yield hello.refusal(error.reason)
            raise

    def greet(self) -> Dialogue[Greeted]:
        return client_side.greet(self.who, self.client_hour, self.window, seeded(self.seed, self.pad))

    def welcome(self, hello: Hello) -> Dialogue[Welcomed]:
        challenge, random = Challenge(CERTIFICATE, self.now_ms), seeded(self.seed + 1, self.pad)
        welcomed = yield from server_side.welcome(hello, self.lookup, challenge, self.terms, random)
        yield welcomed.session
        return welcomed

    def lookup(self, client_id: bytes) -> Authorised | None:
        return self.known if self.known and equal(client_id, self.known.public.client_id) else None

    def resume(self, attempt: int = 5, received: int = 7) -> Dialogue[Recovered]:
        terms = default_terms()
        random = seeded(self.seed, self.pad)
        return client_side.resume(self.who, terms, attempt, received, self.client_hour, random)

    def recover(self, hello: Hello) -> Dialogue[tuple[server_side.Resume, int, Keys]]:
        """What a server does with a RESUME; it has received 9 numbered frames itself."""
        _, attempt, request = yield from server_side.read_resume(hello, self.lookup_session)
        assert self.known is not None
        random = seeded(self.seed + 1, self.pad)
        keys = yield from server_side.recover(request, self.known, 9, CERTIFICATE, random)
        return request, attempt, keys

    def lookup_session(self, session_id: bytes) -> tuple[Authorised | None, Secret, int] | None:
        found = self.known, self.terms.resume_secret, self.last_attempt
        return found if session_id == self.terms.session_id else None

    def new_session(self, flip: Flip | None = None) -> tuple[Side, Side]:
        return talk(self.greet(), self.serve(self.welcome), flip)

    def recovery(self, flip: Flip | None = None, **stated: int) -> tuple[Side, Side]:
        return talk(self.resume(**stated), self.serve(self.recover), flip)


def alter_enc(monkeypatch: pytest.MonkeyPatch, encs: list[str], name: str, change: Callable[[bytes], bytes]) -> None:
    """The plaintext of this one of the next dialogue's Encs becomes what `change` makes of it."""
    real, names = SymmetricState.enc, iter(encs)

    def enc(self: SymmetricState, p: bytes) -> bytes:
        return real(self, change(p) if next(names) == name else p)

    monkeypatch.setattr(SymmetricState, "enc", enc)


def alter_seal(monkeypatch: pytest.MonkeyPatch, label: bytes, change: Callable[[bytes], bytes]) -> None:
    """The plaintext of the Seal with this label becomes what `change` makes of it."""
    real = KemPublic.seal

    def seal(self: KemPublic, name: bytes, h: bytes, p: bytes) -> bytes:
        return real(self, name, h, change(p) if name == label else p)

    monkeypatch.setattr(KemPublic, "seal", seal)


def put(at: int, value: bytes) -> Callable[[bytes], bytes]:
    """A change for alter_enc and alter_seal: `value` at the offset `at`, from the end if that is negative."""

    def change(p: bytes) -> bytes:
        begin = at % len(p)
        return p[:begin] + value + p[begin + len(value) :]

    return change
