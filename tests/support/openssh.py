"""An sshd of our own for a test, and ssh through the tunnel."""

from __future__ import annotations

import getpass
import os
import shlex
import subprocess
from collections.abc import Sequence
from pathlib import Path

from loopback import unused_port
from program import NITROSOCKS, Process, Site, tool


class Ssh:
    """An sshd of our own, and how to reach it through the tunnel."""

    def __init__(
        self, site: Site, words: Sequence[object] = (), more: Sequence[object] = (), *, bare: bool = False,
        config: str = "",
    ) -> None:  # fmt: skip
        """`words` are what `connect` is told of a server; without them, one is started. `more` are other options.
        `bare`: ssh gets no ProxyCommand, and so no `connect`. `config` are more lines for sshd."""
        self.site = site
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # sshd does not start without it
        for name in ("host", "user"):
            made = site.call(tool("ssh-keygen"), "-q", "-t", "ed25519", "-N", "", "-f", site.place / name)
            assert made.returncode == 0, made.stderr
        self.port = unused_port()
        self.sshd = self._start(config)
        self.trace = site.place / "pids"
        self.options = [
            f"-oIdentityFile={site.place / 'user'}", "-oIdentitiesOnly=yes", "-oBatchMode=yes",
            "-oStrictHostKeyChecking=no", "-oUserKnownHostsFile=/dev/null", "-oLogLevel=ERROR", "-F/dev/null",
            f"-oUser={getpass.getuser()}",
        ]  # fmt: skip
        if bare:
            return
        if words:
            self._lead([*words, *more])
        else:
            self._lead(["-i", site.profile("alice", site.serve().port, f"127.0.0.1:{self.port}"), *more])

    def _lead(self, words: Sequence[object]) -> None:
        """From now on it goes through `connect` with these words."""
        connect = shlex.join([*NITROSOCKS, "connect", *map(str, words)])
        script = shlex.quote(f'echo $$ >> {shlex.quote(str(self.trace))}; exec {connect} "$0"')
        self.options.append(f"-oProxyCommand=/bin/sh -c {script} %h:%p")

    def _start(self, more: str) -> Process:
        place, config = self.site.place, self.site.place / "sshd_config"
        lines = {
            "ListenAddress": f"127.0.0.1:{self.port}", "HostKey": place / "host", "PidFile": "none", "UsePAM": "no",
            "AuthorizedKeysFile": place / "user.pub", "StrictModes": "no", "PermitRootLogin": "yes",
            "PasswordAuthentication": "no", "Subsystem": "sftp internal-sftp", "MaxStartups": "100",
        }  # fmt: skip
        config.write_text("".join(f"{key} {value}\n" for key, value in lines.items()) + more)
        sshd = self.site.start(tool("sshd"), "-D", "-e", "-f", config)
        sshd.err.wait(f"Server listening on 127.0.0.1 port {self.port}")
        return sshd

    def run(self, command: str, give: bytes | None = None, port: int = 0) -> subprocess.CompletedProcess[bytes]:
        way = [*self.options, f"-p{port or self.port}", "127.0.0.1"]
        return self.site.call(tool("ssh"), *way, command, give=give)

    def copy(self, source: str, sink: str, port: int = 0) -> subprocess.CompletedProcess[bytes]:
        return self.site.call(tool("scp"), *self.options, f"-P{port or self.port}", source, sink)
