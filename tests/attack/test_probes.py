"""Some 150 of the probes, of each kind: a stranger sees the same at our server, with nginx behind it, as at nginx."""

from __future__ import annotations

from collections.abc import Iterator

import probes
import pytest
import ranks
from prober import Probe

FEW = 10  # of each kind; silence waits for nginx's own times, which are long


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[probes.Stage]:
    with probes.Stage(tmp_path_factory.mktemp("stage")) as made:
        yield made


@pytest.fixture(scope="module")
def kinds(stage: probes.Stage) -> dict[str, list[Probe]]:
    found: dict[str, list[Probe]] = {}
    for each in stage.probes():
        if (each.kind, each.name) not in probes.KNOWN:
            found.setdefault(each.kind, []).append(each)
    return found


KINDS = [
    "random bytes", "first byte", "requests", "spoilt heads", "framing", "pipelines", "other protocols", "replays",
    "mutations", "tokens", "one byte at a time", "half-close", "without TLS", "handshakes", "spoilt TLS",
]  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_as_at_nginx(kind: str, stage: probes.Stage, kinds: dict[str, list[Probe]]) -> None:
    some = kinds[kind][:: max(1, len(kinds[kind]) // FEW)]
    assert [str(each) for found in probes.compare(stage, some) for each in found] == []


def test_all_kinds_are_there(kinds: dict[str, list[Probe]]) -> None:
    assert sorted(kinds) == sorted([*KINDS, "silence"])
    assert sum(map(len, kinds.values())) >= 1500


def test_what_differs_is_told(stage: probes.Stage) -> None:
    """The decoy alone, without our TLS in front, is another server to each of these."""
    probe = Probe("", "a page", (("tls", None), ("say", b"GET / HTTP/1.0\r\n\r\n")))
    other = Probe("", "a page", (("tls", None), ("say", b"GET /nothing HTTP/1.0\r\n\r\n")))
    seen = [probes.prober(stage.theirs, each) for each in (probe, other)]
    assert [each.what for each in probes.differences(probe, *seen)] == ["said"]
    late = probes.prober(stage.theirs, Probe("", "", (("tls", None), ("fin", 0))))
    assert [each.what for each in probes.differences(probe, seen[0], late)] == ["end", "said"]


def test_ranks() -> None:
    """Against values of a table: U = 0 and U at its mean, and one that shifts by half a deviation."""
    numbers = [float(each) for each in range(100)]
    assert ranks.p_value(numbers, numbers) > 0.99
    assert ranks.p_value(numbers, [each + 0.5 for each in numbers]) > 0.8
    assert ranks.p_value(numbers, [each + 15 for each in numbers]) < 0.01
    assert ranks.p_value([1.0] * 50, [1.0] * 50) == 1.0
