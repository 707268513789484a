"""protocol/refresh: both sides come to the same new keys, to the byte; what was altered never gives any."""

import os
from dataclasses import replace

import pytest
import recorded
from dialogue import CLIENT, OTHER_CLIENT, OTHER_SERVER, SERVER
from recorded import each_run, raw

from nitrosocks_lib.crypto import schedule
from nitrosocks_lib.crypto.identity import ClientKey, KemPrivate, KemPublic, ServerKey
from nitrosocks_lib.facts import wire
from nitrosocks_lib.facts.errors import ProtocolError, Violation
from nitrosocks_lib.protocol import refresh
from nitrosocks_lib.protocol.handshake import Keys, draw_ephemeral

KEYS = Keys(bytes([9]) * 32, bytes([10]) * 32, 3)


class Both:
    """Client and server of a session that is to be refreshed."""

    def __init__(self, keys: Keys = KEYS) -> None:
        self.client_keys = self.server_keys = keys
        self.ephemeral = draw_ephemeral(os.urandom)
        self.stated = KemPublic(self.ephemeral.public)

    def start(self) -> refresh.Started:
        return refresh.start(self.server_keys, self.stated, KemPublic(CLIENT.kem.public), os.urandom)

    def answer(self, payload: bytes, key: ClientKey = CLIENT, server_public: bytes = SERVER.public) -> tuple:
        return refresh.answer(self.client_keys, payload, self.ephemeral, key, server_public, os.urandom)

    def finish(self, started: refresh.Started, payload: bytes, key: ServerKey = SERVER) -> tuple[Keys, KemPublic]:
        return refresh.finish(self.server_keys, started, payload, key)


def test_epoch_after_epoch_both_sides_have_the_same_keys() -> None:
    both = Both()
    roots, ephemerals = {bytes(KEYS.root)}, {both.ephemeral.public}
    for epoch in (4, 5, 6):
        started = both.start()
        payload, client_keys, following = both.answer(started.payload)
        server_keys, stated = both.finish(started, payload)
        assert client_keys == server_keys and (client_keys.hs, client_keys.epoch) == (KEYS.hs, epoch)
        assert following.public == stated.raw and following.public not in ephemerals
        assert bytes(client_keys.root) not in roots
        assert (len(started.payload), len(payload)) == (2336, 2384) == (wire.REFRESH_SIZE, wire.REFRESHED_SIZE)
        assert len(schedule.switch_value(server_keys.root)) == wire.HASH
        both.client_keys, both.server_keys, both.ephemeral, both.stated = client_keys, server_keys, following, stated
        roots.add(bytes(client_keys.root))
        ephemerals.add(following.public)


def test_the_keys_before_stay_as_they_are_until_somebody_takes_the_new_ones() -> None:
    keys = Keys(KEYS.hs, KEYS.root, 0)
    both = Both(keys)
    started = both.start()
    both.finish(started, both.answer(started.payload)[0])
    assert keys == Keys(KEYS.hs, KEYS.root, 0)


@each_run
def test_the_recorded_refresh_at_the_server(run: dict, monkeypatch: pytest.MonkeyPatch) -> None:
    stated, after = run["refresh"], raw(run["refresh"]["RK"])
    keys = Keys(raw(run["hs"]), raw(run["RK"]), stated["epoch_before"])
    h = schedule.refresh_transcript(keys.hs, keys.epoch)
    first, second, _ = recorded.refresh_seals(run)
    seals = [(key.public, label, h, key.open(label, h, sealed), sealed) for key, label, sealed in (first, second)]
    recorded.replay_seals(monkeypatch, *seals)
    client = KemPublic(ClientKey(raw(run["client_seed"])).kem.public)
    tape = recorded.Tape(*(bytes(seal[3]) for seal in seals))
    started = refresh.start(keys, KemPublic(first[0].public), client, tape)
    assert started.payload.hex() == stated["REFRESH"]
    new, ephemeral = refresh.finish(keys, started, raw(stated["REFRESHED"]), ServerKey(raw(run["server_seed"])))
    assert new == Keys(keys.hs, after, keys.epoch + 1)
    assert ephemeral.raw == raw(stated["REFRESHED"])[wire.SEALED_SECRET :]
    assert schedule.switch_value(new.root).hex() == stated["SWITCH"]


@each_run
def test_the_recorded_refresh_at_the_client(run: dict, monkeypatch: pytest.MonkeyPatch) -> None:
    stated = run["refresh"]
    keys = Keys(raw(run["hs"]), raw(run["RK"]), stated["epoch_before"])
    h = schedule.refresh_transcript(keys.hs, keys.epoch)
    (ephemeral, *_), _, (server, label, sealed) = recorded.refresh_seals(run)
    n3, following = server.open(label, h, sealed), raw(stated["REFRESHED"])[wire.SEALED_SECRET :]
    recorded.replay_seals(monkeypatch, (server.public, label, h, n3, sealed))
    drawn = type("Recorded", (), {"public": following})()  # its private half was not recorded
    monkeypatch.setattr(refresh, "draw_ephemeral", lambda _: drawn)
    payload, new, kept = refresh.answer(
        keys, raw(stated["REFRESH"]), ephemeral, ClientKey(raw(run["client_seed"])), raw(run["server_public"]),
        recorded.Tape(n3),
    )  # fmt: skip
    assert payload.hex() == stated["REFRESHED"] and kept is drawn
    assert new == Keys(keys.hs, raw(stated["RK"]), keys.epoch + 1)


# What must not work


@pytest.mark.parametrize("size", [0, 1, wire.REFRESH_SIZE - 1, wire.REFRESH_SIZE + 1])
def test_a_refresh_of_a_wrong_size(size: int) -> None:
    with pytest.raises(Violation):
        Both().answer(bytes(size))


@pytest.mark.parametrize("size", [0, 1, wire.REFRESHED_SIZE - 1, wire.REFRESHED_SIZE + 1])
def test_a_refreshed_of_a_wrong_size(size: int) -> None:
    both = Both()
    with pytest.raises(Violation):
        both.finish(both.start(), bytes(size))


def altered(payload: bytes, at: int) -> bytes:
    return payload[:at] + bytes([payload[at] ^ 1]) + payload[at + 1 :]


@pytest.mark.parametrize("at", [0, wire.SEALED_SECRET - 1, wire.SEALED_SECRET, wire.REFRESH_SIZE - 1])
def test_an_altered_refresh_does_not_open(at: int) -> None:
    both = Both()
    with pytest.raises(ProtocolError) as caught:
        both.answer(altered(both.start().payload, at))
    assert not isinstance(caught.value, Violation)  # the connection ends, the session does not


@pytest.mark.parametrize("at", [0, wire.SEALED_SECRET - 1])
def test_an_altered_refreshed_does_not_open(at: int) -> None:
    both = Both()
    started = both.start()
    with pytest.raises(ProtocolError) as caught:
        both.finish(started, altered(both.answer(started.payload)[0], at))
    assert not isinstance(caught.value, Violation)


def test_an_altered_ephemeral_key_gives_other_keys() -> None:
    """Both payloads go into the new root, so SWITCH does not fit."""
    both = Both()
    started = both.start()
    payload, client_keys, _ = both.answer(started.payload)
    server_keys, _ = both.finish(started, altered(payload, wire.REFRESHED_SIZE - 1))
    assert schedule.switch_value(client_keys.root) != schedule.switch_value(server_keys.root)


@pytest.mark.parametrize("change", [{"hs": bytes(32)}, {"epoch": 4}])
def test_the_seals_are_bound_to_the_connection_and_the_epoch(change: dict) -> None:
    both = Both()
    started = both.start()
    payload, _, _ = both.answer(started.payload)
    both.client_keys = both.server_keys = replace(KEYS, **change)
    for late in (lambda: both.answer(started.payload), lambda: both.finish(started, payload)):
        with pytest.raises(ProtocolError):
            late()


def test_another_root_gives_other_keys_but_opens() -> None:
    both = Both()
    started = both.start()
    both.client_keys = replace(KEYS, root=bytes(32))
    payload, client_keys, _ = both.answer(started.payload)
    assert client_keys.root != both.finish(started, payload)[0].root


def test_all_three_private_keys_are_needed() -> None:
    both = Both()
    started = both.start()
    with pytest.raises(ProtocolError):
        both.answer(started.payload, key=OTHER_CLIENT)
    with pytest.raises(ProtocolError):
        both.finish(started, both.answer(started.payload)[0], OTHER_SERVER)
    both.ephemeral = KemPrivate(os.urandom(wire.KEM_PRIVATE))
    with pytest.raises(ProtocolError):
        both.answer(started.payload)


def test_an_answer_fits_one_refresh_only() -> None:
    both = Both()
    one, other = both.start(), both.start()
    payload, client_keys, _ = both.answer(one.payload)
    assert both.finish(one, payload)[0] == client_keys != both.finish(other, payload)[0]
