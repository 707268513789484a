"""Files found by client_id; what no two may share; and who asks while a file changes always gets an answer."""

from __future__ import annotations

import pytest
from clientfiles import KEYS

from nitrosocks_lib.crypto.identity import ClientPublic
from nitrosocks_lib.protocol.permit import Client, Rules
from nitrosocks_lib.protocol.welcome import Authorised
from nitrosocks_lib.server.known import File, Known

PUBLIC = [ClientPublic(key.public) for key in KEYS]


def file(key: int, token: str, *rules: str) -> File:
    client = Client(f"{key}{token}", Authorised("x", PUBLIC[key], token.encode()), Rules.parse(rules))
    return File((len(rules),), client, client)


def faulty(last: File) -> File:
    return File((), None, last.last, "a fault")


def test_a_file_is_found_as_long_as_it_is_there() -> None:
    known, client_id = Known(), KEYS[0].client_id
    assert known.paths(client_id) == () and known.good(client_id) is None and known.last(client_id) is None
    known.put("a", file(0, "t"))
    assert known.paths(client_id) == ("a",) and known.good(client_id) is known.last(client_id) is not None
    assert len(known) == 1
    known.put("a", faulty(known.files["a"]))
    assert len(known) == 0
    last = known.last(client_id)
    assert known.good(client_id) is None and last is not None and last.name == "0t"
    known.put("a", file(1, "t"))
    assert known.last(client_id) is None and known.good(KEYS[1].client_id)
    known.drop("a")
    known.drop("a")
    assert known.paths(KEYS[1].client_id) == () and not known.files


def test_a_file_that_never_could_be_read_is_nobodys() -> None:
    known = Known()
    known.put("a", File((), None, None, "a fault"))
    assert known.files and not known.twins()
    known.drop("a")
    assert not known.files


@pytest.mark.parametrize(("twin", "what"), [(file(0, "t"), "public key"), (file(0, "u"), "public key"),
                                            (file(1, "t"), "Token")])  # fmt: skip
def test_twins_count_for_nothing_until_one_is_gone_or_changed(twin: File, what: str) -> None:
    known = Known()
    known.put("b", file(0, "t"))
    known.put("other", file(2, "v"))
    for end in (lambda: known.drop("a"), lambda: known.put("a", file(3, "w")), lambda: known.put("a", faulty(twin))):
        known.put("a", twin)
        assert known.twins() == [(what, ("a", "b"))]
        assert known.good(KEYS[0].client_id) is None and known.last(KEYS[0].client_id)
        assert known.good(KEYS[2].client_id)
        end()
        assert known.twins() == [] and known.good(KEYS[0].client_id)


def test_the_twin_that_is_good_counts_where_the_other_has_a_fault() -> None:
    known = Known()
    known.put("a", faulty(file(0, "t")))
    known.put("b", file(0, "u"))
    good = known.good(KEYS[0].client_id)
    assert good is not None and good.name == "0u" and known.last(KEYS[0].client_id) is good


def test_the_file_that_a_login_comes_near_to() -> None:
    known, client_id = Known(), KEYS[0].client_id
    assert known.near(client_id) == ("", "no client has this key")
    known.put("bad", File((), None, None, "a fault"))
    path, why = known.near(client_id)
    assert path == "bad" and why.startswith("no client has this key; perhaps") and why.endswith(": a fault")
    known.put("a", file(0, "t"))
    assert known.near(client_id) == ("a", "")
    known.put("b", file(0, "u"))
    assert known.near(client_id) == ("a", "another file has the same key or Token")
    known.put("a", faulty(known.files["a"]))
    assert known.near(client_id) == ("b", ""), "it counts alone now"
    known.drop("b")
    assert known.near(client_id) == ("a", "its file has a fault: a fault")


def test_who_asks_while_a_file_changes_gets_the_one_or_the_other() -> None:
    """At every step of the change."""
    client_id, answers = KEYS[0].client_id, []

    class Watched(dict[bytes, tuple[str, ...]]):
        def __setitem__(self, key: bytes, value: tuple[str, ...]) -> None:
            super().__setitem__(key, value)
            answers.append(known.good(client_id))

    known = Known()
    known.put("a", file(0, "t"))
    known._paths = Watched(known._paths)
    known._owners = Watched(known._owners)  # type: ignore[assignment, arg-type]
    known.put("a", file(0, "u", "h:1"))
    known.put("b", file(1, "v"))
    assert len(answers) >= 4 and None not in answers
