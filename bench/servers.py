"""Servers that people reach through tunnels, small and of our own: HTTP, Redis, PostgreSQL, and sshd for `ssh -L`.

Each is started in the folder of a site, on loopback, and returns its port. Raises Missing where it is not installed.
"""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import postgres as postgresql
from loopback import unused_port
from program import Site, environment

LOOPBACK = "127.0.0.1"
BODY = b"x" * 1024  # of each answer over HTTP
PATIENCE = 60.0  # seconds until a server is up
NGINX = """\
daemon off; pid {place}/nginx.pid; error_log stderr; {user}
worker_processes 2;
events {{ worker_connections 2048; }}
http {{
    access_log off; keepalive_requests 1000000;
    client_body_temp_path {place}/body; proxy_temp_path {place}/proxy; fastcgi_temp_path {place}/fastcgi;
    uwsgi_temp_path {place}/uwsgi; scgi_temp_path {place}/scgi;
    server {{ listen {host}:{port} backlog=1024; root {place}/www; }}
}}
"""


class Missing(Exception):
    """A program that is not installed; its text says which."""


def program(name: str) -> str:
    """Where it is, in one of the folders of PATH, of root's or of PostgreSQL's."""
    folders = [os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin", *map(str, postgresql.folders())]
    path = shutil.which(name, path=os.pathsep.join(folders))
    if path is None:
        raise Missing(f"{name} is not installed")
    return path


def wait_for(port: int) -> None:
    """Returns when something listens there."""
    end = time.monotonic() + PATIENCE
    while True:
        try:
            return socket.create_connection((LOOPBACK, port), PATIENCE).close()
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.05)


def has_nginx() -> bool:
    """Or the HTTP server is our own."""
    try:
        return bool(program("nginx"))
    except Missing:
        return False


def http(site: Site) -> int:
    """nginx, or our own where there is none."""
    port = unused_port()
    if has_nginx():
        site.start(program("nginx"), "-c", _nginx_config(site.place, port))
    else:
        site.start(sys.executable, Path(__file__).with_name("small_http.py"), port, len(BODY))
    wait_for(port)
    return port


def _nginx_config(place: Path, port: int) -> Path:
    (place / "www").mkdir()
    (place / "www" / "index.html").write_bytes(BODY)
    user = "user root;" if os.geteuid() == 0 else ""  # its workers may read our folder then
    config = place / "nginx.conf"
    config.write_text(NGINX.format(place=place, user=user, host=LOOPBACK, port=port))
    return config


def redis(site: Site) -> int:
    """Nothing is written to disk."""
    port = unused_port()
    words = ["--port", port, "--bind", LOOPBACK, "--save", "", "--appendonly", "no", "--dir", site.place]
    site.start(program("redis-server"), *words)
    wait_for(port)
    return port


def postgres(site: Site) -> int:
    """With pgbench's tables at scale 1. It does not run as root, so the user `postgres` is taken then."""
    initdb, server, pgbench, port = program("initdb"), program("postgres"), program("pgbench"), unused_port()
    try:
        postgresql.start(site, initdb, server, listen_addresses=LOOPBACK, port=port, unix_socket_directories="")
    except LookupError:
        raise Missing("there is no user postgres") from None
    words = [pgbench, "-i", "-q", "-h", LOOPBACK, "-p", str(port), "-U", "postgres", "postgres"]
    subprocess.run(words, check=True, capture_output=True, env=environment(site.place))
    return port


def ssh(site: Site, targets: list[int], cipher: str, proxy: bool = False) -> list[int]:
    """An sshd and `ssh -L` to each of these ports, with keys of their own; where they lead from.

    With `proxy` the last port is that of an `ssh -D`.
    """
    sshd, client, keygen = program("sshd"), program("ssh"), program("ssh-keygen")
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # it does not start without it
    place = site.place
    for name in ("host", "user"):
        subprocess.run([keygen, "-q", "-t", "ed25519", "-N", "", "-f", place / name], check=True)
    port, config = unused_port(), place / "sshd_config"
    lines = {
        "ListenAddress": f"{LOOPBACK}:{port}", "HostKey": place / "host", "PidFile": "none", "UsePAM": "no",
        "AuthorizedKeysFile": place / "user.pub", "StrictModes": "no", "PermitRootLogin": "yes",
        "PasswordAuthentication": "no",
    }  # fmt: skip
    config.write_text("".join(f"{key} {value}\n" for key, value in lines.items()))
    site.start(sshd, "-D", "-e", "-f", config)
    wait_for(port)
    ports = [unused_port() for _ in targets]
    specs = [f"-L{LOOPBACK}:{near}:{LOOPBACK}:{far}" for near, far in zip(ports, targets, strict=True)]
    if proxy:
        ports.append(unused_port())
        specs.append(f"-D{LOOPBACK}:{ports[-1]}")
    options = [
        "-F/dev/null", "-N", f"-p{port}", f"-c{cipher}", f"-oIdentityFile={place / 'user'}", "-oIdentitiesOnly=yes",
        "-oBatchMode=yes", "-oStrictHostKeyChecking=no", "-oUserKnownHostsFile=/dev/null", "-oLogLevel=ERROR",
        "-oExitOnForwardFailure=yes", f"-oUser={getpass.getuser()}",
    ]  # fmt: skip
    site.start(client, *options, *specs, LOOPBACK)
    for near in ports:
        wait_for(near)
    return ports
