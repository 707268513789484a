"""What `doctor` is asked to find out in sessions of their own: permitted targets, idle and old connections, an echo."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from ..facts import limits
from ..facts.errors import NetworkError, NitroSocksError
from ..facts.words import said
from ..protocol.frames import Target
from . import findings
from .dialler import Dialler
from .findings import Finding, State
from .held import Held, Lived, Opened, echoed
from .refusals import refusal

_EACH_SECOND = 1.0


@dataclass(frozen=True, slots=True)
class Asked:
    """What is looked at beyond the way to the server. `idle` and `age` in seconds, 0 where they are not asked for."""

    targets: tuple[Target, ...] = ()
    idle: float = 0.0
    age: float = 0.0
    speed: bool = False
    echo: Target | None = None


class Asking:
    """One server, reached over one carrier; `examine` blocks, and belongs to one thread."""

    def __init__(self, where: str, dialler: Dialler, asked: Asked) -> None:
        self._where, self._dialler, self._asked = where, dialler, asked

    def examine(self) -> Iterator[Finding]:
        """A finding for each thing that was asked."""
        for target in self._asked.targets:
            yield self._open(target)
        if self._asked.echo is not None:
            yield self._echo(self._asked.echo)
        yield from self._lives()

    # -- targets ------------------------------------------------------------------------------------------------------

    def _open(self, target: Target) -> Finding:
        name = str(target)

        def look(held: Held) -> Finding:
            opened = held.open(target)
            opened.near.close()
            error = _refused(opened, target)
            return findings.Destination(
                server=self._where, state=_state(error), error=error, target=name, seconds=opened.seconds,
                reply=opened.reply,
            )  # fmt: skip

        found, error = self._held(look)
        return found or findings.Destination(server=self._where, state=State.BAD, error=error, target=name)

    def _echo(self, target: Target) -> Finding:
        name = str(target)

        def look(held: Held) -> Finding:
            opened = held.open(target)
            with opened.near:
                if (error := _refused(opened, target)) is not None:
                    raise error
                try:
                    rate = echoed(opened.near, limits.POURED)
                except OSError as broken:
                    raise NetworkError(f"{name}: {said(broken)}") from None
            return findings.Speed(server=self._where, way="down", by=name, rate=rate)

        found, error = self._held(look)
        return found or findings.Speed(server=self._where, state=State.BAD, error=error, way="down", by=name)

    def _held(self, look: Callable[[Held], Finding]) -> tuple[Finding | None, NitroSocksError | None]:
        """Looks in a session of its own; or why that failed."""
        try:
            held = self._hold()
        except NitroSocksError as error:
            return None, error
        try:
            return look(held), None
        except NitroSocksError as error:
            return None, error
        finally:
            held.close()

    def _hold(self) -> Held:
        greeting = self._dialler.greet()
        try:
            return Held(self._dialler, greeting)
        except BaseException:
            greeting.link.close()
            raise

    # -- time ---------------------------------------------------------------------------------------------------------

    def _lives(self) -> Iterator[Finding]:
        """Both at the same time, as they take long."""
        found: dict[str, Finding] = {}
        looks = {"idle": self._idle, "age": self._age}
        wanted = {name: look for name, look in looks.items() if getattr(self._asked, name)}

        def run(name: str) -> None:
            found[name] = wanted[name]()

        threads = [threading.Thread(target=run, args=(name,), name=name, daemon=True) for name in wanted]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        yield from (found[name] for name in wanted if name in found)

    def _idle(self) -> Finding:
        asked, beats = self._asked.idle, [0.0]

        def look(held: Held) -> Finding:
            beats[0] = held.heartbeat
            lived = held.live(asked, longest=asked)
            return findings.Idle(
                server=self._where, state=_state(_cut(lived)), error=_cut(lived), asked=asked, lived=lived.seconds,
                silence=lived.silence, heartbeat=beats[0],
            )  # fmt: skip

        found, error = self._held(look)
        return found or findings.Idle(
            server=self._where, state=State.BAD, error=error, asked=asked, lived=0.0, silence=0.0, heartbeat=beats[0]
        )

    def _age(self) -> Finding:
        asked = self._asked.age

        def look(held: Held) -> Finding:
            lived = held.live(asked, longest=_EACH_SECOND)
            return findings.Age(
                server=self._where, state=_state(_cut(lived)), error=_cut(lived), asked=asked, lived=lived.seconds
            )

        found, error = self._held(look)
        return found or findings.Age(server=self._where, state=State.BAD, error=error, asked=asked, lived=0.0)


def _refused(opened: Opened, target: Target) -> NitroSocksError | None:
    if not opened.error:
        return None
    if opened.reply:
        return refusal(target, opened.reply, opened.error)
    return NetworkError(f"{target}: {opened.error}")


def _cut(lived: Lived) -> NetworkError | None:
    return NetworkError(lived.ended) if lived.ended else None


def _state(error: NitroSocksError | None) -> State:
    return State.BAD if error else State.GOOD
