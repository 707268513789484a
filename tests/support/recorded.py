"""The recorded runs of vectors/ns1.json, and our own sides made to say the same again.

Tapes hand out the random bytes that were drawn then, and Seal and the signatures, which are randomised, are replaced by
functions that check what they are asked for and return what was recorded.
"""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from nitrosocks_lib.crypto.identity import ClientKey, ClientPublic, KemPrivate, KemPublic, ServerKey
from nitrosocks_lib.facts import wire
from nitrosocks_lib.facts.wire import EncryptType
from nitrosocks_lib.protocol import greet as client_side
from nitrosocks_lib.protocol import welcome as server_side
from nitrosocks_lib.protocol.greet import Credentials, Greeted, Recovered
from nitrosocks_lib.protocol.handshake import Dialogue, Keys, Terms
from nitrosocks_lib.protocol.nonces import Nonces
from nitrosocks_lib.protocol.welcome import Authorised, Challenge, Resume, Welcomed

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "ns1.json").read_text(encoding="utf-8"))
RUNS = VECTORS["runs"]
each_run = pytest.mark.parametrize("run", RUNS, ids=lambda run: f"encryptType={run['encryptType']}")
raw = bytes.fromhex

SESSION_STEPS = (
    "start psk hello sS body salt ephemeral sE challenge R1-TokenTemp token last head response terms address SessionKey"
).split()
RESUME_STEPS = "start psk hello sS head RS body salt ephemeral sE recovery NewSessionKey last".split()
SIGNED = slice(wire.HASH, wire.HASH + wire.SIGNATURES)


class Steps:
    """The recorded operations on the symmetric state, by name."""

    def __init__(self, steps: list[dict], names: list[str]) -> None:
        self._steps = dict(zip(names, steps, strict=True))

    def input(self, name: str) -> bytes:
        return raw(self._steps[name]["input"])

    def h(self, name: str) -> bytes:
        return raw(self._steps[name]["h"])

    def ck(self, name: str) -> bytes:
        return raw(self._steps[name]["ck"])


def session_steps(run: dict) -> Steps:
    return Steps(run["steps"], SESSION_STEPS)


def resume_steps(run: dict) -> Steps:
    return Steps(run["recovery"]["steps"], RESUME_STEPS)


def messages(run: dict) -> list[bytes]:
    """Those of the run or of its recovery, in order."""
    return [raw(message) for message in run["messages"].values()]


def player(recorded: list[bytes], mine: int) -> Dialogue[None]:
    """A side that says its recorded messages (mine = 0: the client's) and insists on the other side's."""
    for number, message in enumerate(recorded):
        if number % 2 == mine:
            yield message
        else:
            assert (yield len(message)) == message


class Tape:
    """Random bytes that are handed out in this order, and asked for in these sizes."""

    def __init__(self, *pieces: bytes) -> None:
        self.pieces = list(pieces)

    def __call__(self, size: int) -> bytes:
        piece = self.pieces.pop(0)
        assert len(piece) == size
        return bytes(bytearray(piece))  # as of any Random: who gets it may wipe it


def pad(first_part: bytes) -> bytes:
    """The 8 bytes from which draw_pad makes the `pad` of these two bytes."""
    return bytes(6) + first_part[: wire.U16.size]


def replay_seals(monkeypatch: pytest.MonkeyPatch, *expected: tuple[bytes, bytes, bytes, bytes, bytes]) -> None:
    """Seal expects (public key, label, h, plaintext) of each and returns the fifth."""
    pending = list(expected)

    def seal(self: KemPublic, label: bytes, h: bytes, p: bytes) -> bytes:
        *asked, sealed = pending.pop(0)
        assert [self.raw, label, h, p] == asked
        return sealed

    monkeypatch.setattr(KemPublic, "seal", seal)


def replay_signatures(
    monkeypatch: pytest.MonkeyPatch, run: dict, context: bytes, message: bytes, signed: bytes
) -> None:
    def sign(self: ClientKey, *asked: bytes) -> bytes:
        assert (self.public, *asked) == (raw(run["client_public"]), context, message)
        return signed

    monkeypatch.setattr(ClientKey, "sign", sign)


def credentials(run: dict) -> Credentials:
    return Credentials(raw(run["server_public"]), ClientKey(raw(run["client_seed"])), raw(run["token"]))


def authorised(run: dict) -> Authorised:
    return Authorised("recorded", ClientPublic(raw(run["client_public"])), raw(run["token"]))


def terms(run: dict, resume_secret: bytes = b"") -> Terms:
    window, resume, heartbeat = run["window_resume_heartbeat"]
    stated = EncryptType(run["encryptType"]), raw(run["session_id"]), resume_secret
    return Terms(*stated, window, resume, heartbeat, run["address"])


def hello_seal(run: dict, steps: Steps) -> tuple[bytes, bytes, bytes, bytes, bytes]:
    sealed = steps.input("hello")[wire.HELLO_HEAD.size :]
    return raw(run["server_public"]), b"server", steps.h("psk"), steps.input("sS"), sealed


def ephemeral_seal(ephemeral: bytes, steps: Steps) -> tuple[bytes, bytes, bytes, bytes, bytes]:
    return ephemeral, b"ephemeral", steps.h("salt"), steps.input("sE"), steps.input("ephemeral")[wire.U16.size :]


def next_ephemeral(body: bytes, at: int) -> bytes:
    """E' behind the signatures, which begin at `at`."""
    return body[at + wire.SIGNATURES :][: wire.KEM_PUBLIC]


def read_hello(run: dict) -> Dialogue[server_side.Hello]:
    key = ServerKey(raw(run["server_seed"]))
    return (yield from server_side.read_hello(key, (yield wire.KNOCK), run["hour"], Nonces(bytes(32))))


def refresh_seals(run: dict) -> list[tuple[KemPrivate, bytes, bytes]]:
    """Who opens it, label and Seal of NewSessionKey, N2 and N3 (protocol 5, Refresh)."""
    refresh, refreshed = raw(run["refresh"]["REFRESH"]), raw(run["refresh"]["REFRESHED"])
    client, server = ClientKey(raw(run["client_seed"])).kem, ServerKey(raw(run["server_seed"])).kem
    return [
        (KemPrivate(raw(run["refresh"]["ephemeral_raw"])), b"refresh ephemeral", refresh[: wire.SEALED_SECRET]),
        (client, b"refresh client", refresh[wire.SEALED_SECRET :]),
        (server, b"refresh server", refreshed[: wire.SEALED_SECRET]),
    ]


# The four sides; each is to be talked to by a player of the same messages.


def greet(run: dict, monkeypatch: pytest.MonkeyPatch) -> Dialogue[Greeted]:
    steps, response = session_steps(run), session_steps(run).input("response")
    signed = steps.h("head") + raw(run["proof"]) + next_ephemeral(response, wire.HASH)
    replay_signatures(monkeypatch, run, b"ns1 response", signed, response[SIGNED])
    replay_seals(monkeypatch, hello_seal(run, steps))
    tape = Tape(
        raw(run["ephemeral_raw"]), pad(steps.input("hello")[1:]), raw(run["messages"]["GREETING"])[: wire.NONCE],
        steps.input("sS"), pad(steps.input("head")), raw(run["next_ephemeral_raw"]),
    )  # fmt: skip
    window = wire.GREETING_OFFER.unpack(steps.input("body")[wire.GREETING_BODY - 12 : wire.GREETING_BODY])[2]
    return client_side.greet(credentials(run), run["hour"], window, tape)


def welcome(run: dict, monkeypatch: pytest.MonkeyPatch) -> Dialogue[Welcomed]:
    steps, secrets = session_steps(run), session_steps(run).input("R1-TokenTemp")
    choice = wire.CHALLENGE_CHOICE.pack(run["encryptType"], wire.VERSION)
    client_kem = raw(run["client_public"])[: wire.KEM_PUBLIC]
    replay_seals(
        monkeypatch,
        ephemeral_seal(KemPrivate(raw(run["ephemeral_raw"])).public, steps),
        (client_kem, b"challenge", steps.h("ephemeral"), secrets + choice, steps.input("challenge")),
    )
    zeros = len(steps.input("address")) - wire.U16.size - len(run["address"])
    tape = Tape(
        raw(run["R1"]), pad(steps.input("ephemeral")), secrets[wire.SECRET :], steps.input("salt"), steps.input("sE"),
        steps.input("SessionKey"), pad(wire.U16.pack(zeros)),
    )  # fmt: skip
    challenge = Challenge(raw(run["certificate_hash"]), lambda: run["server_ms"])
    hello = yield from read_hello(run)
    client = authorised(run)
    lookup = {client.public.client_id: client}.get
    welcomed = yield from server_side.welcome(hello, lookup, challenge, terms(run), tape)
    yield welcomed.session
    return welcomed


def resume(run: dict, monkeypatch: pytest.MonkeyPatch) -> Dialogue[Recovered]:
    recovery, steps = run["recovery"], resume_steps(run)
    body, size = steps.input("body"), wire.U64.size
    following = next_ephemeral(body, size)  # its private half was not recorded
    pairs = [KemPrivate(raw(recovery["ephemeral_raw"])), SimpleNamespace(public=following)]
    monkeypatch.setattr(client_side, "draw_ephemeral", lambda _: pairs.pop(0))
    signed = steps.h("RS") + body[:size] + following
    replay_signatures(monkeypatch, run, b"ns1 resume", signed, body[size : size + wire.SIGNATURES])
    replay_seals(monkeypatch, hello_seal(run, steps))
    nonce = raw(recovery["messages"]["RESUME"])[: wire.NONCE]
    tape = Tape(pad(steps.input("hello")[1:]), nonce, steps.input("sS"))
    stated = recovery["j"], recovery["client_received"]
    return client_side.resume(credentials(run), terms(run, raw(run["RS"])), *stated, run["hour"], tape)


def recover(run: dict, monkeypatch: pytest.MonkeyPatch) -> Dialogue[tuple[int, Resume, Keys]]:
    recovery, steps = run["recovery"], resume_steps(run)
    client, new_key = authorised(run), steps.input("NewSessionKey")
    replay_seals(
        monkeypatch,
        ephemeral_seal(KemPrivate(raw(recovery["ephemeral_raw"])).public, steps),
        (client.public.kem.raw, b"recovery", steps.h("ephemeral"), new_key, steps.input("recovery")),
    )
    tape = Tape(pad(steps.input("ephemeral")), new_key, steps.input("salt"), steps.input("sE"))
    hello = yield from read_hello(run)
    found = {raw(run["session_id"]): (client, raw(run["RS"]), recovery["j"] - 1)}
    _, attempt, request = yield from server_side.read_resume(hello, found.get)
    certificate_hash = raw(run["certificate_hash"])
    keys = yield from server_side.recover(request, client, recovery["server_received"], certificate_hash, tape)
    return attempt, request, keys
