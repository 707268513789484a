"""What all tests share. In CI (CI=true) a skipped test fails the run, unless network namespaces are what it lacks."""

import os
import signal

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
