"""A client beyond its limits begins nothing; one whose last day is over is as one that was revoked."""

from __future__ import annotations

import logging
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from audited import told
from keys import SERVER
from pools import WatchedPool, begun
from world import BOUND, Directory, Opened, World, echo

from nitrosocks_lib.facts.errors import NotAuthorised
from nitrosocks_lib.files import enrol, profiles
from nitrosocks_lib.files.writing import write_secret
from nitrosocks_lib.protocol.quota import Quota, sources
from nitrosocks_lib.server.authorised import Clients
from nitrosocks_lib.server.revoked import Revoked
from nitrosocks_lib.session.streams import Ending


def limited(world: World, quota: Quota) -> None:
    (client_id,) = world.directory.known
    world.directory.known[client_id] = replace(world.directory.known[client_id], quota=quota)


def test_streams_beyond_the_limit_are_refused_and_told_so(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO), World() as world:
        limited(world, Quota(streams=2))
        pool, target = WatchedPool(world), world.target(echo)
        for _ in range(2):
            begun(pool, target)
        refused = Opened(pool, target).end()
        assert (refused.ending, refused.reason) == (
            Ending.REFUSED,
            "2 streams are open, as many as this client may have",
        )
    (refusal,) = told(caplog.records, "stream-refused")
    assert refusal["reason"] == "2 streams are open, as many as this client may have"


def test_a_connection_from_elsewhere_is_refused_and_the_log_says_why(caplog: pytest.LogCaptureFixture) -> None:
    with World() as world:
        limited(world, Quota(sources=sources(["10.0.0.0/8"])))
        with pytest.raises(NotAuthorised):
            world.dialler().greet()
        limited(world, Quota(sources=sources(["10.0.0.0/8", "127.0.0.0/8"])))
        begun(WatchedPool(world), world.target(echo)).near.close()
    (failed,) = told(caplog.records, "login-failed")
    assert (failed["client"], failed["reason"]) == (
        "alice", "its connection comes from outside of the networks in 'from'",
    )  # fmt: skip


def test_after_the_last_day_a_client_is_not_authorised(tmp_path: Path) -> None:
    _, text = enrol.make_client("alice", ["h:1"], SERVER.public, ["a:1"])
    write_secret(path := profiles.client_path(tmp_path, "alice"), text)
    clients, client_id = (
        Clients(path.parent, profiles.load_client),
        profiles.load_client(path).authorised.public.client_id,
    )
    now = datetime.now(UTC).date()
    for day, authorised in ((now + timedelta(1), True), (now - timedelta(1), False)):
        path.write_text(f"until = {day}\n{text}")
        assert (clients.lookup(client_id) is not None) is (clients.standing(client_id) is not None) is authorised
        assert clients.near(client_id) == (str(path), "" if authorised else f"'until' in its file is {day}")


class Over(Directory):
    """Of clients whose last day is over."""

    def over(self, client_id: bytes) -> str:
        return "'until' in its file is 2026-01-31"


def test_a_session_ends_behind_the_last_day_and_the_log_says_why(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO), World() as world:
        opened = begun(WatchedPool(world), world.target(echo))
        Revoked(Over(), world.registry).look()  # type: ignore[arg-type]
        assert opened.end().ending is Ending.LOST
        assert world.registry.wait_empty(lambda _: True, BOUND)
    assert "alice was revoked ('until' in its file is 2026-01-31): its session 1 ends" in caplog.text


def test_a_reconnection_from_elsewhere_is_refused_and_its_session_kept(caplog: pytest.LogCaptureFixture) -> None:
    with World(proxy=True) as world:
        opened = begun(WatchedPool(world), world.target(echo))
        limited(world, Quota(sources=sources(["10.0.0.0/8"])))
        assert world.proxy is not None
        world.proxy.cut()
        assert opened.end().ending is Ending.LOST
        assert len(world.registry) == 1
    reasons = {each["reason"] for each in told(caplog.records, "login-failed")}
    assert reasons == {"its connection comes from outside of the networks in 'from'"}
