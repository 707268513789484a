"""Limits of a client beside its rules."""

import pytest

from nitrosocks_lib.facts.errors import UsageError
from nitrosocks_lib.protocol.quota import Quota, sources


@pytest.mark.parametrize(("today", "over"), [("2027-01-30", False), ("2027-01-31", False), ("2027-02-01", True)])
def test_the_last_day_counts(today: str, over: bool) -> None:
    assert bool(Quota(until="2027-01-31").over(today)) is over and not Quota().over(today)


@pytest.mark.parametrize(
    ("host", "inside"),
    [("10.1.2.3", True), ("11.0.0.1", False), ("2001:db8::1", True), ("fe80::1%eth0", False), ("192.0.2.7", True)],
)
def test_sources(host: str, inside: bool) -> None:
    quota = Quota(sources=sources(["10.0.0.0/8", "192.0.2.7", "2001:db8::/32"]))
    assert (quota.foreign_source(host) == "") is inside and not Quota().foreign_source(host)


@pytest.mark.parametrize("text", ["", "x", "10.0.0.1/8", "10.0.0.0/33", "10/8", "example.org"])
def test_what_is_no_network(text: str) -> None:
    with pytest.raises(UsageError, match="is no network"):
        sources(["10.0.0.0/8", text])


def test_the_block_of_an_address_is_told() -> None:
    with pytest.raises(UsageError) as caught:
        sources(["10.0.0.1/8"])
    assert (str(caught.value), caught.value.hint) == ("'10.0.0.1/8' is no network", "write 10.0.0.0/8")


def test_for_people() -> None:
    assert Quota().texts() == []
    quota = Quota(20, "2027-01-31", sources(["10.0.0.0/8", "::1"]))
    assert Quota(up=1536 << 10, down=2_000_000).texts() == ["up 1536K/s", "down 2000000/s"]
    assert quota.texts() == ["20 streams", "until 2027-01-31", "from 10.0.0.0/8 or ::1/128"]
