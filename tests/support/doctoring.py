"""doctor on one server of a test, as findings by their kind."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar

from world import World

from nitrosocks_lib.client.asking import Asked
from nitrosocks_lib.client.carriers import Carriers
from nitrosocks_lib.client.dialler import Dialler
from nitrosocks_lib.client.doctor import Doctor
from nitrosocks_lib.client.findings import Finding, State
from nitrosocks_lib.client.openers import PLAIN, Web
from nitrosocks_lib.facts.wire import Carrier
from nitrosocks_lib.net.connect import Route

DIRECTLY = Route()
F = TypeVar("F", bound=Finding)


class Examined:
    """What doctor found. `host` and `port` are where the profile has the server."""

    def __init__(
        self, world: World, port: int | None = None, host: str = "127.0.0.1", route: Route = DIRECTLY,
        carriers: Sequence[Carrier] = (Carrier.RAW,), web: Web = PLAIN, **asked: object,
    ) -> None:  # fmt: skip
        server = (host, port or (world.proxy.port if world.proxy else world.port))
        plain = replace(route, direct=False)

        def make(server: tuple[str, int], carrier: Carrier) -> Dialler:
            return Dialler(world.credentials(), (server,), plain, carriers=Carriers((carrier,)), web=web)

        made = Doctor("alice", (server,), route, carriers, make, Asked(**asked))  # type: ignore[arg-type]
        self.found = list(made.examine())

    def __getitem__(self, kind: type[F]) -> F:
        """The only one of this kind."""
        (found,) = self.all(kind)
        return found

    def all(self, kind: type[F]) -> list[F]:
        return [each for each in self.found if isinstance(each, kind)]

    def kinds(self, state: State) -> set[str]:
        return {type(each).__name__ for each in self.found if each.state is state}
