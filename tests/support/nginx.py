"""A real nginx in a folder of its own: the same small site in plain HTTP, as a decoy, and with TLS of its own."""

from __future__ import annotations

import os
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from loopback import pem
from program import BOUND, Process, Site, tool

HEAD_TIME, KEEP_TIME, LINGER_TIME = 2, 3, 2  # seconds; nginx's own are 60, 75 and 5
LARGE = 3 << 20  # bytes of /large
TYPES = Path("/etc/nginx/mime.types")

# As Debian's nginx.conf has it, but for where files are, with TLS as certbot sets it up (options-ssl-nginx.conf).
# Without absolute_redirect off the decoy would tell its own port and scheme: whoever puts anything in front of nginx
# has to say that.
_CIPHERS = (
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:"
    "ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305:"
    "DHE-RSA-AES128-GCM-SHA256:DHE-RSA-AES256-GCM-SHA384"
)
_SETTINGS = """
daemon off; master_process off; pid {place}/nginx.pid; error_log stderr {level};
events {{ worker_connections 2000; }}
http {{
  sendfile on; tcp_nopush on; types_hash_max_size 2048;
  {types} default_type application/octet-stream;
  ssl_protocols TLSv1.2 TLSv1.3; ssl_prefer_server_ciphers off; ssl_ciphers {ciphers};
  ssl_session_tickets off; ssl_session_timeout 1440m; ssl_session_cache shared:le_nginx_SSL:10m;
  gzip on; access_log off;
  client_body_temp_path {place}/body; proxy_temp_path {place}/proxy; fastcgi_temp_path {place}/fastcgi;
  uwsgi_temp_path {place}/uwsgi; scgi_temp_path {place}/scgi;
  client_header_timeout {head}s; client_body_timeout {head}s; keepalive_timeout {keep}s; lingering_timeout {linger}s;
  absolute_redirect off;
  server {{ listen 127.0.0.1:{plain}; {site} }}
  {secure}
}}
"""
_SITE = """root {place}/site; index index.html; location / {{ try_files $uri $uri/ =404; }} {more}"""
_SECURE = """
server {{ listen 127.0.0.1:{port} ssl {http2}; ssl_certificate {certificate}; ssl_certificate_key {key}; {site} }}
"""


@dataclass(slots=True)
class Nginx:
    """A running nginx; `plain` and `secure` are its ports, the latter 0 where it has no TLS."""

    process: Process
    plain: int
    secure: int
    place: Path
    behind: int = 0  # the port that /echo leads to, with upgrades; of those of `running`

    @property
    def page(self) -> bytes:
        """What / is."""
        return (self.place / "site" / "index.html").read_bytes()


ECHO = """
location /echo {{
  proxy_pass http://127.0.0.1:{port}; proxy_http_version 1.1;
  proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection "upgrade";
}}
"""


@contextmanager
def running(head: int = 1, keep: int = 2) -> Iterator[Nginx]:
    """One in a folder of its own, in plain HTTP and in TLS; both times in seconds."""
    with tempfile.TemporaryDirectory(prefix="ns-nginx-") as name, Site(Path(name)) as site:
        behind = free_port()
        times = head, keep, LINGER_TIME
        made = start(site, *pem("www.example.org"), more=ECHO.format(port=behind), times=times)
        made.behind = behind
        yield made


def start(
    site: Site,
    certificate: Path | None = None,
    key: Path | None = None,
    *,
    more: str = "",
    times: tuple[int, ...] = (),
    http2: bool = False,
) -> Nginx:
    """nginx with a small site, ready; `more` is added to each server block, `times` are head, keep-alive, linger."""
    program = tool("nginx")
    place = site.place / "nginx"
    place.mkdir()
    _content(place / "site")
    plain, secure = free_port(), free_port() if certificate else 0
    inside = _SITE.format(place=place, more=more)
    files = {"certificate": certificate, "key": key, "http2": "http2" if http2 else ""}
    tls = _SECURE.format(port=secure, site=inside, **files) if certificate else ""
    head, keep, linger = times or (HEAD_TIME, KEEP_TIME, LINGER_TIME)
    settings = place / "nginx.conf"
    settings.write_text(
        _SETTINGS.format(
            place=place, plain=plain, site=inside, secure=tls, head=head, keep=keep, linger=linger,
            types=f"include {TYPES};" if TYPES.exists() else "", level="crit", ciphers=_CIPHERS,
        )
    )  # fmt: skip
    process = site.start(program, "-p", place, "-c", settings, "-e", "stderr")
    _await(process, [port for port in (plain, secure) if port])
    return Nginx(process, plain, secure, place)


def _content(root: Path) -> None:
    """A page, a text of some records, a folder; with times that do not change."""
    (root / "about").mkdir(parents=True)
    pages = {
        "index.html": "<!doctype html>\n<title>Garden</title>\n<p>Roses, mostly.</p>\n",
        "about/index.html": "<!doctype html>\n<title>About</title>\n<p>Since 1998.</p>\n",
        "style.css": "body { margin: 2em }\n" * 40,
        "notes.txt": "".join(f"{number}: a line of the notes\n" for number in range(4000)),
        "empty.txt": "",
        "large": "\0" * LARGE,
    }
    for name, text in pages.items():
        (root / name).write_text(text)
        os.utime(root / name, (1_700_000_000, 1_700_000_000))


def _await(process: Process, ports: list[int]) -> None:
    """Until it takes connections at all of them; it says nothing itself."""
    end = time.monotonic() + BOUND
    while not all(map(listens, ports)):
        assert time.monotonic() < end, "nginx takes no connections"
        with suppress(subprocess.TimeoutExpired):
            process.popen.wait(0.02)
            raise AssertionError(str(process.err))


def free_port() -> int:
    """One that is free now."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def listens(port: int) -> bool:
    """Whether a connection is taken there."""
    try:
        socket.create_connection(("127.0.0.1", port), BOUND).close()
    except OSError:
        return False
    return True
