"""The unit for systemd: systemd takes it, it gives few rights away, and the program needs no more than these."""

import os
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import confined
import program
import pytest
from docopt import docopt
from program import NITROSOCKS, ROOT, Process, Site, port_of, tool
from targets import Target, dial, echo, exchange

from nitrosocks_lib.cli.usage import USAGE
from nitrosocks_lib.facts import limits
from nitrosocks_lib.net import landlock

site = program.own_site

UNIT = ROOT / "packaging" / "nitrosocks.service"
TEXT = UNIT.read_text("utf-8")
SETTINGS = confined.settings(TEXT)
PROGRAM = "/usr/local/bin/nitrosocks"
EXPOSURE = 20  # tenths; systemd 252 finds 15, and later ones look at more


def verified(place: Path, text: str) -> str:
    """What systemd-analyze says of this unit, with a program that is there."""
    path = place / "nitrosocks.service"
    path.write_text(text.replace(PROGRAM, sys.executable))
    words = [tool("systemd-analyze"), "verify", "--man=no", str(path)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    return "\n".join(line for line in (done.stdout + done.stderr).splitlines() if path.name in line)


def exposed(place: Path, text: str) -> bool:
    """Whether systemd finds more exposure than is allowed here."""
    path = place / "nitrosocks.service"
    path.write_text(text)
    words = [tool("systemd-analyze"), "security", "--offline=yes", f"--threshold={EXPOSURE}", "--no-pager", str(path)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert "Overall exposure level for nitrosocks.service" in done.stdout, done.stderr
    return done.returncode != 0


@pytest.mark.parametrize("key, bad", [("ProtectHome", "ProtectHomes"), ("on-failure", "often")])
def test_a_key_or_value_that_systemd_does_not_know_is_found(tmp_path: Path, key: str, bad: str) -> None:
    assert bad in verified(tmp_path, TEXT.replace(key, bad))


def test_systemd_takes_the_unit(tmp_path: Path) -> None:
    assert verified(tmp_path, TEXT) == ""


@pytest.mark.parametrize("key", ["SystemCallFilter", "CapabilityBoundingSet"])
def test_a_right_too_many_is_found(tmp_path: Path, key: str) -> None:
    assert exposed(tmp_path, re.sub(rf"(?m)^{key}=.*\n", "", TEXT))


def test_the_unit_gives_few_rights_away(tmp_path: Path) -> None:
    assert not exposed(tmp_path, TEXT)


def test_it_starts_a_server_with_a_home_of_its_own() -> None:
    program, *words = shlex.split(SETTINGS["ExecStart"][0])
    options = docopt(USAGE, words)
    assert program == PROGRAM and options["serve"] and options["--listen"] == []
    assert options["--home"] == f"/var/lib/{SETTINGS['StateDirectory'][0]}"
    assert SETTINGS["StateDirectoryMode"] == ["0700"]


def test_running_streams_have_their_time() -> None:
    assert int(SETTINGS["TimeoutStopSec"][0]) > limits.DRAIN


def test_what_a_restart_does_not_mend_is_not_restarted() -> None:
    assert SETTINGS["RestartPreventExitStatus"] == ["64 65 77 78"]
    assert SETTINGS["Restart"] == ["on-failure"]


def test_its_user_is_made_by_sysusers(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    place = tmp_path / "usr" / "lib" / "sysusers.d"
    place.mkdir(parents=True)
    (place / "nitrosocks.conf").write_bytes(UNIT.with_suffix(".sysusers").read_bytes())
    subprocess.run([tool("systemd-sysusers"), f"--root={tmp_path}"], check=True)
    passwd = (tmp_path / "etc" / "passwd").read_text()
    user, group = SETTINGS["User"][0], SETTINGS["Group"][0]
    assert re.search(rf"^{user}:.*:/var/lib/nitrosocks:/usr/sbin/nologin$", passwd, re.MULTILINE)
    assert re.search(rf"^{group}:", (tmp_path / "etc" / "group").read_text(), re.MULTILINE)


# The program under it


def confining() -> list[str]:
    """Words in front of a command, which then has what the unit leaves it; only root has capabilities to lose."""
    tool("systemd-analyze")
    words = [sys.executable, str(ROOT / "tests" / "support" / "confined.py"), str(UNIT)]
    bounds = ["setpriv", "--bounding-set", "-all", "--inh-caps", "-all", "--no-new-privs"]
    return [*(bounds if os.geteuid() == 0 else []), *words]


def serving(site: Site) -> Process:
    words = ["serve", "--home", site.home, "--listen", "127.0.0.1:0", "-vv"]
    server = site.start(*confining(), *NITROSOCKS, *words)
    server.port = port_of(server.err.wait("listening on"))
    server.err.wait("nitrosocks: ready")
    return server


@pytest.mark.parametrize(
    "tried",
    [
        "import mmap; mmap.mmap(-1, 4096, prot=mmap.PROT_WRITE | mmap.PROT_EXEC)",
        "import socket; socket.socket(socket.AF_PACKET)",
        "import os; os.sched_setaffinity(0, [0])",
        "import os; os.chroot('/')",
    ],
)
def test_what_is_not_given_is_refused(site: Site, tried: str) -> None:
    refused = f"try:\n    {tried}\nexcept OSError:\n    print('refused')"
    done = site.call(*confining(), sys.executable, "-c", refused)
    assert done.stdout == b"refused\n", done.stderr


def test_the_server_runs_under_the_unit(site: Site) -> None:
    target = site.enter_context(Target(echo))
    server = serving(site)
    client = site.forward(
        site.profile("alice", server.port, "localhost:*", "127.0.0.1:*"), f"0:127.0.0.1:{target.port}"
    )
    with dial(client.port) as sock:
        data = bytes(range(256)) * 1024
        assert exchange(sock, data) == data
    server.signal(signal.SIGHUP)
    with dial(client.port) as sock:
        assert exchange(sock, b"x") == b"x"
    assert server.signal().wait() == 0
    given_up = {line for line in str(server.err).splitlines() if "not here" in line}
    if landlock.version():  # what it gives up itself can be given up under the unit; LimitMEMLOCK is not in force here
        assert {line for line in given_up if "keys out of swap" not in line} == set()
