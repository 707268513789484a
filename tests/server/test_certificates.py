"""Certificates: what is renewed is presented, what cannot be used changes nothing, and what expires is warned of."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from certified import BOUND, issue, replace, sha, write
from logged import here, messages

from nitrosocks_lib.facts import limits
from nitrosocks_lib.facts.errors import ConfigurationError, KeyFileError
from nitrosocks_lib.files.keyfiles import check_secret
from nitrosocks_lib.net.timers import now
from nitrosocks_lib.server.certificates import Certificates


@pytest.fixture(autouse=True)
def all_lines(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What was logged since the last time."""
    said = messages(here(caplog))
    caplog.clear()
    return said


def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """No stamp is too young: a change in the same instant would not be seen."""
    monkeypatch.setattr(limits, "LISTED_AGAIN", 0.0)


# -- renewed ----------------------------------------------------------------------------------------------------------


def test_a_renewed_one_is_taken_at_the_next_look(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    cert, key = write(tmp_path, "old")
    made = Certificates(cert, key)
    old = made.presented
    assert (old.hash, str(old)) == (sha(cert), f"certificate old, expires {old.expires:%Y-%m-%d}")
    made.look()
    assert lines(caplog) == []
    write(tmp_path, "new", timedelta(days=30))
    made.look()
    assert made.presented.hash == sha(cert) != old.hash and made.presented.context is not old.context
    assert lines(caplog) == [f"reloaded: certificate new, expires {made.presented.expires:%Y-%m-%d}"]
    assert old.subject == "old", "who has taken it keeps it"


def test_what_did_not_change_is_not_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settled(monkeypatch)
    cert, key = write(tmp_path, "site")
    made = Certificates(cert, key)
    before = made.presented
    made.look()
    assert made.presented is before
    made.look(asked=True)
    assert made.presented is not before and made.presented.hash == before.hash


def test_what_was_changed_just_now_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "LISTED_AGAIN", 3_600.0)
    made = Certificates(*write(tmp_path, "site"))
    before = made.presented
    made.look()
    assert made.presented is not before


def test_the_same_in_a_new_file_is_no_news(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    cert, key = write(tmp_path, "site")
    made = Certificates(cert, key)
    replace(cert, cert.read_bytes())
    made.look()
    assert lines(caplog) == []


def test_links_are_switched_as_certbot_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settled(monkeypatch)
    live = tmp_path / "live"
    live.mkdir()
    paths = live / "site.crt", live / "site.key"

    def switch(to: str) -> None:
        for path in paths:
            path.unlink(missing_ok=True)
            path.symlink_to(f"../archive/{to}/{path.name}")

    for name in ("one", "two"):
        write(tmp_path / "archive" / name, name)
    switch("one")
    made = Certificates(*paths)
    switch("two")
    made.look()
    assert made.presented.subject == "two"


# -- that cannot be used ----------------------------------------------------------------------------------------------


def test_one_is_written_before_the_other(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The old one stays in force, and nothing is said unless it stays so."""
    cert, key = write(tmp_path, "old")
    made = Certificates(cert, key)
    new_cert, new_key = issue("new")
    replace(cert, new_cert)
    made.look()
    assert made.presented.subject == "old" and lines(caplog) == []
    monkeypatch.setattr(limits, "RENEWING", 0.0)
    for _ in range(3):
        made.look()
    (line,) = lines(caplog)
    assert "they do not belong together" in line and line.endswith("new connections get the certificate of before")
    replace(key, new_key)
    made.look()
    assert made.presented.subject == "new" and len(lines(caplog)) == 1
    replace(cert, new_cert + b"\n")
    replace(key, issue("other")[1])
    made.look()
    assert "they do not belong together" in lines(caplog)[0], "the same fault is told when it comes again"


SPOILT: dict[str, tuple[Callable[[Path, Path], object], str]] = {
    "no certificate": (lambda cert, _: cert.unlink(), "the certificate: No such file"),
    "no key": (lambda _, key: key.unlink(), "the key: No such file"),
    "rubbish": (lambda cert, _: replace(cert, b"rubbish"), "none in PEM is in its file"),
    "half": (lambda cert, _: replace(cert, cert.read_bytes()[:200]), "none in PEM is in its file"),
    "others may read the key": (lambda _, key: key.chmod(0o644), "run: chmod 600"),
    "a fifo": (lambda cert, _: (cert.unlink(), os.mkfifo(cert)), "is not a regular file"),
    "a directory": (lambda _, key: (key.unlink(), key.mkdir()), "Is a directory"),
    "a link to nothing": (lambda cert, _: (cert.unlink(), cert.symlink_to("no")), "No such file"),
}


@pytest.mark.parametrize(("spoil", "said"), SPOILT.values(), ids=SPOILT)
def test_files_that_cannot_be_used_change_nothing(
    spoil: Callable[[Path, Path], object], said: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cert, key = write(tmp_path, "old")
    made = Certificates(cert, key, check_secret)
    before = made.presented
    spoil(cert, key)
    made.look()
    assert made.presented is before and lines(caplog) == []
    for _ in range(2):  # whoever asks is told, each time
        made.look(asked=True)
        (line,) = lines(caplog)
        assert said in line and made.presented is before
    for path in (cert, key):
        if path.is_dir():
            path.rmdir()
    write(tmp_path, "new")
    made.look()
    assert made.presented.subject == "new"


def test_at_the_start_each_of_these_is_an_error(tmp_path: Path) -> None:
    for number, (spoil, said) in enumerate(SPOILT.values()):
        cert, key = write(tmp_path / str(number), "site")
        spoil(cert, key)
        with pytest.raises((ConfigurationError, KeyFileError)) as failure:
            Certificates(cert, key, check_secret)
        assert said in f"{failure.value}; {failure.value.hint}" and failure.value.hint


def test_certificate_and_key_are_swapped(tmp_path: Path) -> None:
    cert, key = write(tmp_path, "site")
    cert.chmod(0o644)
    with pytest.raises(ConfigurationError, match=f"{key} is a key, and {cert} a certificate") as failure:
        Certificates(key, cert, check_secret)
    assert "swapped" in failure.value.hint
    replace(key, key.read_bytes() + cert.read_bytes())
    Certificates(key, key, check_secret)  # one file may have both


def test_a_certificate_that_changes_while_it_is_read(tmp_path: Path) -> None:
    """OpenSSL reads it by its name: its hash might be another's."""
    cert, key = write(tmp_path, "old")
    with pytest.raises(ConfigurationError, match="changed while it was read"):
        Certificates(cert, key, lambda _: replace(cert, cert.read_bytes() + issue("chain")[0]))


# -- that expires -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("left", "said"),
    [(timedelta(days=14, minutes=5), ""), (timedelta(days=13, hours=23), ", in 14 days"), (timedelta(days=2), ", in 2"),
     (timedelta(hours=20), "expires at "), (timedelta(seconds=-5), "expired at ")],
)  # fmt: skip
def test_it_is_warned_of_one_that_expires(
    left: timedelta, said: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    made = Certificates(*write(tmp_path, "site", left), renew="REMEDY")
    for _ in range(3):
        made.look()
    said_lines = lines(caplog)
    assert len(said_lines) == bool(said)
    for line in said_lines:
        assert line.startswith("the TLS certificate of site expire") and said in line and line.endswith("; REMEDY")
        assert f"{made.presented.expires:%Y-%m-%d %H:%M} UTC" in line


def test_it_is_warned_of_again_after_a_day_and_at_the_end(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert limits.EXPIRES_SAID == 24 * 3_600
    later = 0.0
    real = time.clock_gettime
    monkeypatch.setattr(time, "clock_gettime", lambda clock: real(clock) + later)
    made = Certificates(*write(tmp_path, "site", timedelta(seconds=2)))
    for _ in range(3):
        later += 24 * 3_600 - 60
        made.look()
        made.look()
    assert [("expires" in line) for line in lines(caplog)] == [True, True]
    deadline = now() + BOUND
    while not (said := lines(caplog)) and now() < deadline:
        made.look()
    assert "expired at" in said[0]


def test_a_renewed_one_that_expires_soon_is_told_at_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    made = Certificates(*write(tmp_path, "old", timedelta(days=3)))
    made.look()
    assert len(lines(caplog)) == 1
    write(tmp_path, "new", timedelta(days=5))
    made.look()
    said = lines(caplog)
    assert said[0].startswith("reloaded: certificate new") and ", in 5 days" in said[1] and len(said) == 2


# -- where they are ---------------------------------------------------------------------------------------------------


def test_places_of_files_and_of_links_on_the_way(tmp_path: Path) -> None:
    write(tmp_path / "archive" / "deep", "site")
    (tmp_path / "live").mkdir()
    (tmp_path / "current").symlink_to("archive/deep")
    (tmp_path / "live" / "site.crt").symlink_to("../current/site.crt")
    (tmp_path / "live" / "site.key").symlink_to("../archive/deep/site.key")
    made = Certificates(tmp_path / "live" / "site.crt", tmp_path / "live" / "site.key")
    assert {path.resolve() for path in made.places()} == {
        tmp_path / "live", tmp_path / "archive" / "deep", tmp_path,
    }  # fmt: skip


def test_a_file_right_below_the_root_does_not_open_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = Certificates(*write(tmp_path, "site"))
    monkeypatch.setattr(made, "_files", (Path("/site.crt"), Path("/certs/site.key")))
    assert list(made.places()) == [Path("/site.crt"), Path("/certs")]
