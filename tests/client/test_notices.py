"""Notices: with -v, how a session came to be; more about certificates in test_dialler.py and test_dialler_direct.py."""

from __future__ import annotations

import logging

import pytest
from logged import by
from world import World

from nitrosocks_lib.crypto.identity import fingerprint


@pytest.mark.parametrize(
    ("stated", "met"), [(None, "not intercepted"), (b"x" * 32, "intercepted"), (bytes(32), "perhaps intercepted")]
)
def test_a_session_has_a_line(stated: bytes | None, met: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    with World(**({} if stated is None else {"certificate_hash": stated})) as world:
        made = world.dialler()
        made.greet().link.close()
        where = f"{made.servers[0][0]}:{made.servers[0][1]}"
        key = fingerprint(made.credentials.server_public)
    (line,) = [each for each in caplog.messages if each.startswith("session made")]
    assert line.startswith(f'session made at {where}: address 127.0.0.1, TLSv1.3, certificate issued by "')
    assert line.endswith(f'", {met}, carrier raw, server key {key}')


def test_without_v_the_certificate_is_not_even_read(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    with World() as world:
        world.dialler().greet().link.close()
    assert by(caplog, "client.notices") == []
