"""protocol/page: an address that a browser could have, and that changes in size from one request to the next."""

from __future__ import annotations

import random
import re
from collections import Counter
from urllib.parse import parse_qsl

import pytest

from nitrosocks_lib.protocol.page import FIELDS, LONGEST, NAMES, Page


def addresses(prefix: str = "", seed: int = 1, count: int = 1000) -> list[str]:
    page = Page(prefix, random.Random(seed).randbytes)
    return [page.address() for _ in range(count)]


@pytest.mark.parametrize("prefix", ["", "/app", "/a/b"])
def test_it_is_a_page_in_the_folder_of_the_tokens(prefix: str) -> None:
    for address in addresses(prefix):
        path, _, query = address.partition("?")
        assert path == f"{prefix}/" and re.fullmatch(r"[a-z0-9=&]+", query)
        fields = parse_qsl(query, strict_parsing=True)
        assert len(fields) in FIELDS and len(dict(fields)) == len(fields) and {name for name, _ in fields} <= {*NAMES}
        assert all(1 <= len(value) <= LONGEST for _, value in fields)


def test_no_size_is_usual() -> None:
    sizes = Counter(map(len, addresses()))
    assert max(sizes.values()) < 200 and len(sizes) > 20


def test_it_stays_at_times_and_changes_one_value_else() -> None:
    made = addresses()
    same = sum(one == other for one, other in zip(made, made[1:], strict=False))
    assert 300 < same < 700
    for one, other in zip(made, made[1:], strict=False):
        was, now = (parse_qsl(each.partition("?")[2]) for each in (one, other))
        assert [name for name, _ in was] == [name for name, _ in now]
        assert sum(a != b for a, b in zip(was, now, strict=True)) <= 1


def test_pages_of_two_programs_have_other_fields() -> None:
    found = {tuple(name for name, _ in parse_qsl(addresses(seed=each, count=1)[0][2:])) for each in range(50)}
    assert len(found) > 40
