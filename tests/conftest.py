"""What all tests share. In CI (CI=true) a skipped test fails the run, unless network namespaces are what it lacks."""

import os
import signal
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# A loaded machine is no fault.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")

EXCUSE = "network namespaces"
LONG = "whole", "interop", "attack"  # rooms of files that take long

# Under nohup, or in the background of a script, some are ignored. What we start would inherit that, and take none.
for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, lambda *_: None)  # which only this process has


class Folders(ExitStack):
    """What pytest's tmp_path_factory is to our tests, with short names and removed at the end.

    Those of pytest grow with the user, the run, the process and the test. Our messages cut a long path, and that of a
    Unix socket has 107 bytes at most: a test would fail for where it runs.
    """

    def mktemp(self, name: str) -> Path:
        """A new folder that only we may enter."""
        made = tempfile.TemporaryDirectory(prefix=f"ns-{name}-", ignore_cleanup_errors=True)
        return Path(self.enter_context(made))


@pytest.fixture(scope="session")
def tmp_path_factory() -> Iterator[Folders]:
    with Folders() as made:
        yield made


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    with Folders() as made:
        yield made.mktemp("test")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """With several processes the long ones come first, so that none of them is alone at the end."""
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: item.path.parent.name not in LONG)


def unexcused(config: pytest.Config) -> list[str]:
    """The skips that CI does not accept, one line each."""
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    if reporter is None or os.environ.get("CI") != "true":
        return []
    skips = [(report.nodeid, report.longrepr[2]) for report in reporter.stats.get("skipped", [])]
    return [f"{test}: {reason}" for test, reason in skips if EXCUSE not in reason]


def pytest_sessionfinish(session: pytest.Session) -> None:
    if session.exitstatus == pytest.ExitCode.OK and unexcused(session.config):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if lines := unexcused(config):
        terminalreporter.section("skipped, which CI does not accept")
        for line in lines:
            terminalreporter.line(line)
