"""OpenSSH through `connect` as its ProxyCommand: a real sshd, a real ssh, commands and files."""

import hashlib
import os
import shlex

import program
import pytest
from loopback import unused_port
from openssh import Ssh
from program import Site
from ready import readable

site = program.site
SIZE = 50_000_000


@pytest.fixture(scope="module")
def ssh(site: Site) -> Ssh:
    return Ssh(site)


@pytest.fixture(scope="module")
def large() -> bytes:
    return os.urandom(SIZE)


def test_a_remote_command_runs(ssh: Ssh) -> None:
    done = ssh.run("echo out; echo err >&2; cat", give=b"what is given\n")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"out\nwhat is given\n", b"err\n")


@pytest.mark.parametrize("code", [1, 42, 255])
def test_the_exit_code_of_the_remote_command_passes(ssh: Ssh, code: int) -> None:
    done = ssh.run(f"exit {code}")
    assert (done.returncode, done.stdout, done.stderr) == (code, b"", b"")


def test_a_large_file_goes_up(ssh: Ssh, large: bytes) -> None:
    done = ssh.run("sha256sum", give=large)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.split()[0].decode() == hashlib.sha256(large).hexdigest()


def test_a_large_file_comes_down(ssh: Ssh, large: bytes) -> None:
    path = ssh.site.place / "large"
    path.write_bytes(large)
    done = ssh.run(f"cat {shlex.quote(str(path))}")
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout == large


def test_scp_copies_up_and_down(ssh: Ssh, large: bytes) -> None:
    place, copy = ssh.site.place, ssh.site.place / "copy of copy"
    (place / "original").write_bytes(large)
    for source, sink in (("original", f"127.0.0.1:{place}/copy"), (f"127.0.0.1:{place}/copy", str(copy))):
        done = ssh.copy(source, sink)
        assert (done.returncode, done.stderr) == (0, b"")
    assert copy.read_bytes() == large


def test_the_end_of_ssh_is_the_end_of_connect(ssh: Ssh) -> None:
    assert ssh.run("true").returncode == 0
    pid = int(ssh.trace.read_text().split()[-1])
    try:
        process = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    with open(process, "rb"):
        assert readable(process, program.BOUND), "connect still runs"


def test_a_port_where_nobody_listens_is_told_by_ssh(ssh: Ssh) -> None:
    done = ssh.run("true", port=unused_port())
    lines = done.stderr.decode().splitlines()
    assert done.returncode == 255
    assert lines[0].startswith("nitrosocks: 127.0.0.1:") and "not permitted" in lines[0]
    assert len(lines) == 2, lines  # ours, and what ssh says itself
