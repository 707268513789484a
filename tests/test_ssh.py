"""OpenSSH through `connect` as its ProxyCommand: a real sshd, a real ssh, commands and files."""

import getpass
import hashlib
import os
import select
import shlex
import subprocess
from pathlib import Path

import program
import pytest
from loopback import unused_port
from program import NITROSOCKS, Process, Site, tool

site = program.site
SIZE = 50_000_000


class Ssh:
    """An sshd of our own, and how to reach it through the tunnel."""

    def __init__(self, site: Site) -> None:
        self.site = site
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # sshd does not start without it
        for name in ("host", "user"):
            made = site.call(tool("ssh-keygen"), "-q", "-t", "ed25519", "-N", "", "-f", site.place / name)
            assert made.returncode == 0, made.stderr
        self.port = unused_port()
        self.sshd = self._start()
        profile = site.profile("alice", site.serve().port, f"127.0.0.1:{self.port}")
        self.trace = site.place / "pids"
        connect = shlex.join([*NITROSOCKS, "connect", "-i", str(profile)])
        script = shlex.quote(f'echo $$ >> {shlex.quote(str(self.trace))}; exec {connect} "$0"')
        self.options = [
            f"-oProxyCommand=/bin/sh -c {script} %h:%p",
            f"-oIdentityFile={site.place / 'user'}", "-oIdentitiesOnly=yes", "-oBatchMode=yes",
            "-oStrictHostKeyChecking=no", "-oUserKnownHostsFile=/dev/null", "-oLogLevel=ERROR", "-F/dev/null",
            f"-oUser={getpass.getuser()}",
        ]  # fmt: skip

    def _start(self) -> Process:
        place, config = self.site.place, self.site.place / "sshd_config"
        lines = {
            "ListenAddress": f"127.0.0.1:{self.port}", "HostKey": place / "host", "PidFile": "none", "UsePAM": "no",
            "AuthorizedKeysFile": place / "user.pub", "StrictModes": "no", "PermitRootLogin": "yes",
            "PasswordAuthentication": "no", "Subsystem": "sftp internal-sftp", "MaxStartups": "100",
        }  # fmt: skip
        config.write_text("".join(f"{key} {value}\n" for key, value in lines.items()))
        sshd = self.site.start(tool("sshd"), "-D", "-e", "-f", config)
        sshd.err.wait(f"Server listening on 127.0.0.1 port {self.port}")
        return sshd

    def run(self, command: str, give: bytes | None = None, port: int = 0) -> subprocess.CompletedProcess[bytes]:
        way = [*self.options, f"-p{port or self.port}", "127.0.0.1"]
        return self.site.call(tool("ssh"), *way, command, give=give)

    def copy(self, source: str, sink: str) -> subprocess.CompletedProcess[bytes]:
        return self.site.call(tool("scp"), *self.options, f"-P{self.port}", source, sink)


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
        assert select.select([process], [], [], program.BOUND)[0], "connect still runs"


def test_a_port_where_nobody_listens_is_told_by_ssh(ssh: Ssh) -> None:
    done = ssh.run("true", port=unused_port())
    lines = done.stderr.decode().splitlines()
    assert done.returncode == 255
    assert lines[0].startswith("nitrosocks: 127.0.0.1:") and "not permitted" in lines[0]
    assert len(lines) == 2, lines  # ours, and what ssh says itself
