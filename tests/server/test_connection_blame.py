"""The lines that warn of what a client did name that client."""

from __future__ import annotations

import pytest
from audited import told
from pools import WatchedPool, begun
from world import BOUND, World, echo

from nitrosocks_lib.crypto.identity import ClientKey
from nitrosocks_lib.facts import wire
from nitrosocks_lib.protocol import frames, welcome


def test_a_frame_that_a_client_may_not_send(caplog: pytest.LogCaptureFixture) -> None:
    with World() as world:
        pool = WatchedPool(world)
        opened = begun(pool, world.target(echo))
        pool.sessions[0].tunnel.outbox.post(goaway=frames.goaway(1))
        opened.end()
        assert world.registry.wait_empty(lambda _: True, BOUND)
        opened.near.close()
    (line,) = [each.getMessage() for each in caplog.records if "violation" in each.getMessage()]
    assert line.startswith("protocol violation by client alice: ")


def test_a_resume_that_is_not_signed_well(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    with World(proxy=True) as world:
        opened = begun(WatchedPool(world), world.target(echo))
        real, tried = welcome.read_resume, []

        def forged(key: ClientKey, context: bytes, message: bytes) -> bytes:
            tried.append(context)
            return bytes(wire.SIGNATURES)

        with monkeypatch.context() as context:
            context.setattr(ClientKey, "sign", forged)
            context.setattr(welcome, "read_resume", lambda *words: watched(real(*words), context))
            world.proxy.cut()
            assert opened.ask(b"y") == b"y"  # once it signs well again
    assert tried
    failed = told(caplog.records, "login-failed")
    assert [(each["client"], each["reason"]) for each in failed] == [("alice", "a signature does not verify")]


def watched(dialogue, context: pytest.MonkeyPatch):
    """A dialogue behind whose failure all is as it was."""
    try:
        return (yield from dialogue)
    finally:
        context.undo()
