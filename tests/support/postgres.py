"""A PostgreSQL of our own in the folder of a site. It does not run as root: for root it is the user `postgres`."""

from __future__ import annotations

import os
import pwd
import signal
import subprocess
from pathlib import Path
from typing import Any

from program import Process, Site, environment

OPTIONS = {"fsync": "off", "full_page_writes": "off", "jit": "off", "max_connections": "300"}


def folders() -> list[Path]:
    """Debian keeps its programs apart, a folder for each version; the newest first."""
    found = [each for each in Path("/usr/lib/postgresql").glob("*/bin") if each.parent.name.isdecimal()]
    return sorted(found, key=lambda each: int(each.parent.name), reverse=True)


def start(site: Site, initdb: str, server: str, **options: object) -> Process:
    """One that takes connections of a user `postgres`, without a password. `options` are settings, as in its file.

    Raises LookupError where there is no such user of this machine. Others may come through the site's folder then.
    """
    place, user = site.place / "postgres", _user()
    place.mkdir(mode=0o700)
    if user:
        site.place.chmod(0o711)  # keys in it have modes of their own
        os.chown(place, user["user"], user["group"])
    words = [initdb, "-D", place / "data", "-U", "postgres", "-A", "trust", "--no-sync", "--no-locale", "-E", "UTF8"]
    subprocess.run(words, check=True, capture_output=True, cwd=place, env=environment(site.place), **user)
    settings = [f"-c{name}={value}" for name, value in (OPTIONS | options).items()]
    running = site.start(server, "-D", place / "data", *settings, **user)
    site.callback(running.signal, signal.SIGINT)  # it ends without waiting for clients then
    running.err.wait("ready to accept connections")
    return running


def _user() -> dict[str, Any]:
    """What Popen shall become."""
    if os.geteuid() != 0:
        return {}
    entry = pwd.getpwnam("postgres")  # its KeyError is a LookupError
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
