"""What a process of ours holds: descriptors, threads, streams, and bytes that wait."""

from __future__ import annotations

import os
import re
import signal
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from program import Process

SETTLED = 20.0  # seconds that what is over may take to be gone
NAMES = ("descriptors", "threads", "sessions", "streams", "bytes queued")


@dataclass(frozen=True, slots=True)
class Held:
    """What a process holds; all but the memory must come back to what it was."""

    descriptors: int
    threads: int
    sessions: int
    streams: int
    queued: int  # bytes in its sockets' queues
    memory: int  # bytes resident

    @property
    def counted(self) -> tuple[int, ...]:
        """What must be equal."""
        return self.descriptors, self.threads, self.sessions, self.streams, self.queued


def look(process: Process) -> Held:
    """At /proc, and at the line that SIGUSR1 asks for."""
    known = str(process.err).count("\n")
    process.signal(signal.SIGUSR1)
    told = re.search(r"(\d+) sessions?, (\d+) streams?", process.err.wait(", up ", after=known))
    assert told is not None
    status = Path(f"/proc/{process.pid}/status").read_text(encoding="ascii")
    fields = {name: int(status.partition(f"\n{name}:")[2].split(maxsplit=1)[0]) for name in ("Threads", "VmRSS")}
    links = [_link(process.pid, number) for number in os.listdir(f"/proc/{process.pid}/fd")]
    waiting = queues(process.pid)
    queued = sum(waiting.get(link, 0) for link in links)
    return Held(len(links), fields["Threads"], int(told[1]), int(told[2]), queued, 1024 * fields["VmRSS"])


def _link(pid: int, number: str) -> str:
    with suppress(FileNotFoundError):  # it was closed meanwhile
        return os.readlink(f"/proc/{pid}/fd/{number}")
    return ""


def queues(pid: int) -> dict[str, int]:
    """Bytes that wait in the kernel for each TCP socket of its network, both ways."""
    lines = [
        line.split() for name in ("tcp", "tcp6")
        for line in Path(f"/proc/{pid}/net/{name}").read_text(encoding="ascii").splitlines()[1:]
    ]  # fmt: skip
    return {f"socket:[{line[9]}]": sum(int(size, 16) for size in line[4].split(":")) for line in lines}


def settled(processes: list[Process], condition: Callable[[list[Held]], bool], seconds: float = SETTLED) -> list[Held]:
    """What they hold as soon as the condition is true; or at last, when it does not become so."""
    end = time.monotonic() + seconds
    while not condition(held := [look(each) for each in processes]) and time.monotonic() < end:
        time.sleep(0.2)
    return held


def alike(before: list[Held], after: list[Held]) -> bool:
    """Whether as much is held as before, but for the memory."""
    return [each.counted for each in before] == [each.counted for each in after]


class Still:
    """The condition for `settled` that what is held has not changed for some looks."""

    def __init__(self, looks: int = 10) -> None:
        self._seen: deque[list[Held]] = deque(maxlen=looks)

    def __call__(self, held: list[Held]) -> bool:
        self._seen.append(held)
        return len(self._seen) == self._seen.maxlen and all(alike(held, seen) for seen in self._seen)


def left(before: Held, after: Held) -> str:
    """What is left behind, in words."""
    pairs = zip(NAMES, before.counted, after.counted, strict=True)
    differs = [f"{now - then:+d} {name}" for name, then, now in pairs if now != then]
    return f"{', '.join(differs) or 'nothing'}; {(after.memory - before.memory) / 1024:+,.0f} KiB resident"
