"""psql to a PostgreSQL that has no port, through unix sockets at both ends, by -L and by -R."""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Iterator

import postgres
import pytest
from program import tool
from remote import Remote

LINES = 160_000  # of 33 bytes: more than 5 MB
LISTENS = {"-L": "near", "-R": "there"}  # folders with sockets that are ours
SOCKET = ".s.PGSQL.5432"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Remote]:
    """PostgreSQL with its socket in `postgres`, and a client that leads there from `near` and `there`."""
    initdb, server = (tool(name, *postgres.folders()) for name in ("initdb", "postgres"))
    place = tmp_path_factory.mktemp("postgres")
    for name in LISTENS.values():
        (place / name).mkdir()
    with Remote(place, f"*/{SOCKET}") as made:
        postgres.start(made, initdb, server, listen_addresses="", unix_socket_directories=place / "postgres")
        near, there, own = (place / name / SOCKET for name in (*LISTENS.values(), "postgres"))
        made.remote(f"{there}:{own}", words=("-L", f"{near}:{own}"))
        yield made


def psql(site: Remote, folder: str, query: str, give: bytes | None = None) -> bytes:
    """What a query gives, without frames."""
    words = ["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-h", site.place / folder, "-U", "postgres"]
    done: subprocess.CompletedProcess[bytes] = site.call(tool("psql"), *words, "-c", query, give=give)
    assert (done.returncode, done.stderr) == (0, b"")
    return done.stdout


@pytest.mark.parametrize("option", LISTENS)
def test_5_MB_of_a_query_and_5_MB_of_a_copy(site: Remote, option: str) -> None:
    folder, table = LISTENS[option], f"lines_of_{LISTENS[option]}"
    lines = b"".join(b"%s\n" % hashlib.md5(b"%d" % number).hexdigest().encode() for number in range(1, LINES + 1))
    assert psql(site, folder, f"SELECT md5(i::text) FROM generate_series(1, {LINES}) i") == lines
    psql(site, folder, f"CREATE TABLE {table} (line text)")
    psql(site, folder, f"COPY {table} FROM STDIN", give=lines)
    assert psql(site, "postgres", f"COPY {table} TO STDOUT") == lines
