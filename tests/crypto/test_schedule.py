"""crypto/schedule against RFC 5869 and every recorded derivation (protocol 1 to 5)."""

import hmac

import pytest
from recorded import RUNS, each_run, raw, refresh_seals, resume_steps, session_steps

from nitrosocks_lib.crypto import schedule
from nitrosocks_lib.crypto.schedule import FrameKeys, SymmetricState
from nitrosocks_lib.facts import wire
from nitrosocks_lib.facts.errors import ProtocolError
from nitrosocks_lib.facts.wire import EncryptType, Refusal

# RFC 5869, appendix A.1 to A.3: IKM, salt, info, OKM.
RFC_5869 = [
    (
        bytes([0x0B]) * 22, bytes(range(13)), bytes(range(0xF0, 0xFA)),
        "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865",
    ),
    (
        bytes(range(0x50)), bytes(range(0x60, 0xB0)), bytes(range(0xB0, 0x100)),
        "b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c59045a99cac7827271cb41c65e590e09"
        "da3275600c2f09b8367793a9aca3db71cc30c58179ec3e87c14c01d5c1f3434f1d87",
    ),
    (
        bytes([0x0B]) * 22, b"", b"",
        "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("ikm", "salt", "info", "okm"), RFC_5869)
def test_hkdf_is_that_of_rfc_5869(ikm: bytes, salt: bytes, info: bytes, okm: str) -> None:
    assert schedule.hkdf(salt, ikm, info, len(okm) // 2).hex() == okm


@pytest.mark.parametrize("size", [0, 1, 31, 32, 33, 64, 65, 255 * 32])
def test_expand_gives_as_much_as_asked_for(size: int) -> None:
    assert schedule.expand(b"prk", b"info", size) == schedule.expand(b"prk", b"info", 255 * 32)[:size]


@pytest.mark.parametrize(("a", "b", "same"), [(b"ab", b"ab", True), (b"ab", b"ac", False), (b"ab", b"a", False)])
def test_equal(a: bytes, b: bytes, same: bool) -> None:
    assert schedule.equal(a, b) is same


def test_equal_takes_the_same_time_whatever_differs(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a clock could only show over many runs: it is hmac's own comparison, and that alone decides."""
    asked: list[tuple[bytes, bytes]] = []

    def compare(a: bytes, b: bytes) -> bool:
        asked.append((a, b))
        return False

    monkeypatch.setattr(hmac, "compare_digest", compare)
    assert schedule.equal(b"same", b"same") is False and asked == [(b"same", b"same")]


# The symmetric state


def dialogues() -> list[tuple[dict, bytes, list[dict]]]:
    """Run, knock and steps of the two new sessions and the two recoveries."""
    both = [(run, "GREETING", run) for run in RUNS] + [(run, "RESUME", run["recovery"]) for run in RUNS]
    return [(run, raw(part["messages"][first])[: wire.KNOCK], part["steps"]) for run, first, part in both]


def apply(state: SymmetricState, step: dict, receiving: bool) -> None:
    """One recorded operation; a receiver opens what the sender sealed."""
    given = raw(step["input"])
    if step["op"] == "Enc" and receiving:
        assert state.dec(raw(step["output"])) == given
    elif step["op"] == "Enc":
        assert state.enc(given) == raw(step["output"])
    else:
        {"MixKey": state.mix_key, "MixKeyAndHash": state.mix_key_and_hash}[step["op"]](given)


@pytest.mark.parametrize("receiving", [False, True], ids=["sender", "receiver"])
@pytest.mark.parametrize(("run", "knock", "steps"), dialogues())
def test_each_recorded_step(run: dict, knock: bytes, steps: list[dict], receiving: bool) -> None:
    state = SymmetricState(raw(run["server_public"]))
    for number, step in enumerate(steps):
        if number:
            apply(state, step, receiving)
        assert (state.h.hex(), state.ck.hex()) == (step["h"], step["ck"]), (number, step["op"])
        if number == 0:
            state.mix_hash(knock)


def pair(key: bytes = b"key") -> tuple[SymmetricState, SymmetricState]:
    states = SymmetricState(b"S"), SymmetricState(b"S")
    for state in states:
        state.mix_key(key)
    return states


def test_two_encs_of_the_same_text_differ() -> None:
    sender, receiver = pair()
    one, two = sender.enc(b"text"), sender.enc(b"text")
    assert one != two
    assert len(one) == len(b"text") + wire.TAG
    assert [receiver.dec(one), receiver.dec(two)] == [b"text", b"text"]
    assert sender.h == receiver.h


@pytest.mark.parametrize("at", [0, 3, 4, 19])
def test_dec_of_a_changed_byte_fails(at: int) -> None:
    sender, receiver = pair()
    sealed = bytearray(sender.enc(b"text"))
    sealed[at] ^= 1
    with pytest.raises(ProtocolError):
        receiver.dec(bytes(sealed))


@pytest.mark.parametrize("act", ["mix_hash", "mix_key", "mix_key_and_hash", "enc"])
def test_dec_of_another_history_fails(act: str) -> None:
    sender, receiver = pair()
    getattr(sender, act)(b"only the sender")
    with pytest.raises(ProtocolError):
        receiver.dec(sender.enc(b"text"))


@pytest.mark.parametrize("act", ["enc", "dec"])
def test_there_is_no_enc_before_a_key(act: str) -> None:
    with pytest.raises(AssertionError):
        getattr(SymmetricState(b"S"), act)(bytes(32))


# The knock


@each_run
def test_what_follows_from_the_servers_public_key(run: dict) -> None:
    knock = schedule.knock_key(raw(run["server_public"]))
    assert knock.hex() == run["knock"]
    assert schedule.late_seconds(knock) == run["late_seconds"]


@pytest.mark.parametrize("number", range(100))
def test_the_late_close_comes_within_its_range(number: int) -> None:
    assert 30 <= schedule.late_seconds(bytes([number]) * 32) <= 90


@pytest.mark.parametrize(("run", "knock", "steps"), dialogues())
def test_tag_and_key_of_each_knock(run: dict, knock: bytes, steps: list[dict]) -> None:
    key, nonce, tag = raw(run["knock"]), knock[: wire.NONCE], knock[wire.NONCE :]
    assert schedule.knock_tag(key, run["hour"], nonce) == tag
    assert schedule.knock_psk(key, run["hour"], nonce).hex() == steps[1]["input"]
    assert schedule.knock_tag(key, run["hour"] + 1, nonce) != tag


# What the state ends in


@each_run
def test_refusals(run: dict) -> None:
    ck = session_steps(run).ck("sS")
    assert {str(reason.value): schedule.refusal(ck, reason).hex() for reason in Refusal} == run["refusals"]


@each_run
def test_keys_of_the_session(run: dict) -> None:
    steps = session_steps(run)
    assert schedule.token_key(raw(run["token"])) == steps.input("token")
    assert steps.h("SessionKey").hex() == run["hs"]
    assert schedule.root_key(steps.ck("SessionKey")).hex() == run["RK"]
    assert schedule.resume_secret(steps.ck("SessionKey")).hex() == run["RS"]


@each_run
def test_keys_of_the_recovery(run: dict) -> None:
    steps = resume_steps(run)
    assert steps.input("RS").hex() == run["RS"]
    assert steps.h("last").hex() == run["recovery"]["hs"]
    assert schedule.root_key(steps.ck("last")).hex() == run["recovery"]["RK"]


@each_run
@pytest.mark.parametrize("epoch", ["session", "refresh", "recovery"])
@pytest.mark.parametrize("direction", [schedule.CLIENT_TO_SERVER, schedule.SERVER_TO_CLIENT])
def test_frame_keys(run: dict, epoch: str, direction: bytes) -> None:
    part = run.get(epoch, run)
    made = schedule.frame_keys(raw(part["RK"]), direction, EncryptType(run["encryptType"]))
    recorded = [raw(part["frame_keys"][f"{name} {direction.decode()}"]) for name in ("key", "iv", "mask")]
    assert made == FrameKeys(*recorded)
    assert len(made.key) == 16 * run["encryptType"]


@each_run
def test_a_refresh(run: dict) -> None:
    refresh = run["refresh"]
    h = schedule.refresh_transcript(raw(run["hs"]), refresh["epoch_before"])
    secrets = b"".join(key.open(label, h, sealed) for key, label, sealed in refresh_seals(run))
    root = schedule.refreshed_root(raw(run["RK"]), secrets, raw(refresh["REFRESH"]), raw(refresh["REFRESHED"]))
    assert root.hex() == refresh["RK"]
    assert schedule.switch_value(root).hex() == refresh["SWITCH"]
