"""Which lines of a log are a test's own: threads that an earlier test left behind in this process log, too."""

from __future__ import annotations

import logging
import threading

import pytest


def by(caplog: pytest.LogCaptureFixture, *modules: str) -> list[logging.LogRecord]:
    """What these modules logged, as in by(caplog, "server.decoy")."""
    names = [f"nitrosocks_lib.{module}" for module in modules]
    return [record for record in caplog.records if record.name in names]


def here(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    """What this thread logged: for a module whose lines come through a logger of many, as the audit trail is."""
    return [record for record in caplog.records if record.thread == threading.get_ident()]


def messages(records: list[logging.LogRecord]) -> list[str]:
    """Their texts."""
    return [record.getMessage() for record in records]
