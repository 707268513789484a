"""What is made for a new client; test_profiles.py reads it back."""

import tomllib
from datetime import UTC, datetime

import pytest
from keys import SERVER

from nitrosocks_lib.facts.errors import UsageError
from nitrosocks_lib.facts.limits import FILE
from nitrosocks_lib.files import enrol

RULES = ["db.example:*"], ["127.0.0.1:*"]
PROFILE, CLIENT = enrol.make_client("alice", ["tunnel.example:443"], SERVER.public, *RULES)


def test_the_files_have_the_keys_of_the_protocol() -> None:
    assert list(tomllib.loads(PROFILE)) == ["name", "server", "server_public", "secret", "token"]
    assert list(tomllib.loads(CLIENT)) == ["permit", "listen", "name", "token", "public"]
    assert tomllib.loads(CLIENT)["permit"] == ["db.example:*"] and tomllib.loads(CLIENT)["listen"] == ["127.0.0.1:*"]


def test_each_client_has_secrets_of_its_own() -> None:
    one, other = (map(tomllib.loads, enrol.make_client("alice", ["h:1"], SERVER.public, [])) for _ in range(2))
    for mine, yours in zip(one, other, strict=True):
        assert all(mine[key] != yours[key] for key in ("secret", "public", "token") if key in mine)


def test_what_an_operator_edits_stands_first_and_a_comment_says_so() -> None:
    now = datetime(2026, 11, 27, 8, 5, 9, tzinfo=UTC)
    lines = enrol.make_client("alice", ["h:1"], SERVER.public, *RULES, now=now)[1].splitlines()
    assert lines[0].startswith("# ") and "permit is what it may reach" in lines[0]
    heads = [line.partition(" = ")[0] for line in lines if " = " in line]
    assert heads == ["permit", "listen", "name", "created", "token", "public"]
    assert 'created = "2026-11-27T08:05:09Z"' in lines


@pytest.mark.parametrize(
    ("servers", "permit", "listen", "reason"),
    [
        ([], [], [], "needs the address of its server"),
        (["h"], [], [], "'h' has no port"),
        (["h:1", "h:0"], [], [], "'0' is not a port"),
        (["h:1"], ["x"], [], "rule 'x' has no port"),
        (["h:1"], [], ["127.1:80"], "rule '127.1:80'"),
    ],
)
def test_clients_that_are_not_made(servers: list[str], permit: list[str], listen: list[str], reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        enrol.make_client("a", servers, SERVER.public, permit, listen)


def test_more_than_a_file_takes_is_not_made() -> None:
    rules = [f"host-{number}.example:1" for number in range(FILE // 20)]
    with pytest.raises(UsageError, match="take more than") as caught:
        enrol.make_client("alice", ["h:1"], SERVER.public, rules)
    assert caught.value.hint == "write blocks and ranges of ports"
