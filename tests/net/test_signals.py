"""Stop: signals end the wait, the second one the program; in processes of their own, for they are a program's state."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
BOUND = 60.0
WAITS = """
import sys, threading
sys.path.insert(0, {root!r})
from nitrosocks_lib.net.signals import Stop
stop = Stop({options})
print("ready", flush=True)
for line in sys.stdin:
    if line == "tell\\n":
        threading.Thread(target=stop.tell).start()
    print(stop.wait(), stop.came, stop.hurry, *["asked"] * stop.take_asked(), flush=True)
"""


class Waiting:
    """A process that waits once for each line that it gets."""

    def __init__(self, options: str = "", ignored: str = "", blocked: Iterable[int] = ()) -> None:
        """`ignored` are names of signals, as in `trap`; `blocked` are for who starts it."""
        program = WAITS.format(root=str(ROOT), options=options)
        pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        trap = f"trap '' {ignored}; " if ignored else ""
        argv = ["/bin/sh", "-c", f'{trap}exec "$@"', "sh", sys.executable, "-c", program]
        before = signal.pthread_sigmask(signal.SIG_BLOCK, blocked)
        self.process = subprocess.Popen(argv, text=True, bufsize=1, **pipes)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        assert self.line() == "ready"

    def line(self) -> str:
        return self.process.stdout.readline().strip()

    def wait(self, *signals: int, word: str = "wait") -> str:
        """Lets it wait, sends these; what it says."""
        self.process.stdin.write(word + "\n")
        for number in signals:
            self.process.send_signal(number)
        return self.line()

    def __enter__(self) -> Waiting:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate(timeout=BOUND)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_wait_and_the_second_the_program(number: int) -> None:
    with Waiting() as waiting:
        assert waiting.wait(number) == "True True False"
        assert waiting.wait() == "True True False", "it stays so"
        waiting.process.send_signal(number)
        assert waiting.process.wait(BOUND) == 128 + number


def test_hangup_hurries() -> None:
    with Waiting() as waiting:
        assert waiting.wait(signal.SIGHUP) == "False False True"
        assert waiting.wait(signal.SIGTERM) == "True True True"


def test_hangup_ends_where_that_is_wanted() -> None:
    with Waiting("hangup_ends=True") as waiting:
        assert waiting.wait(signal.SIGHUP) == "True True False"


@pytest.mark.parametrize("options", ["", "hangup_ends=True"])
def test_a_question_ends_the_wait_only(options: str) -> None:
    with Waiting(options) as waiting:
        assert waiting.wait(signal.SIGUSR1) == "False False False asked"
        assert waiting.wait(signal.SIGTERM) == "True True False", "it is told once"


def test_tell_ends_the_wait() -> None:
    with Waiting() as waiting:
        for _ in range(3):
            assert waiting.wait(word="tell") == "False False False"
        told = waiting.wait(signal.SIGTERM)  # a wait may end once too often: who waits looks again
        assert "True True False" in (told, waiting.wait())


def test_a_signal_before_the_wait() -> None:
    with Waiting() as waiting:
        waiting.process.send_signal(signal.SIGTERM)
        assert waiting.wait() == "True True False"


@pytest.mark.parametrize("options", ["", "hangup_ends=True"])
@pytest.mark.parametrize("name", ["TERM", "INT", "HUP", "USR1"])
def test_what_was_ignored_at_the_start_stays_ignored(name: str, options: str) -> None:
    """nohup ignores SIGHUP, and a shell without job control SIGINT of what it puts into the background."""
    others = {"TERM": signal.SIGINT}
    with Waiting(options, ignored=name) as waiting:
        for _ in range(2):
            waiting.process.send_signal(signal.Signals[f"SIG{name}"])
            assert waiting.wait(word="tell") == "False False False"
        told = waiting.wait(others.get(name, signal.SIGTERM))  # as above
        assert "True True False" in (told, waiting.wait())


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1])
def test_what_whoever_starts_it_has_blocked_is_seen(number: int) -> None:
    with Waiting(blocked=[number]) as waiting:
        waiting.process.send_signal(number)
        assert waiting.wait() == ("False False False asked" if number == signal.SIGUSR1 else "True True False")


def test_who_fails_ends_the_program() -> None:
    """The first failure counts; it wakes the wait as `tell` does."""
    source = f"""
import sys, threading
sys.path.insert(0, {str(ROOT)!r})
from nitrosocks_lib.facts.errors import NetworkError
from nitrosocks_lib.net.signals import Stop
stop = Stop()
threading.Thread(target=lambda: (stop.fail(NetworkError("first")), stop.fail(NetworkError("second")))).start()
print(stop.wait(), stop.wait(0), stop.came, stop.failure)
"""
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, timeout=BOUND, check=True)
    assert done.stdout == "True True False first\n"
