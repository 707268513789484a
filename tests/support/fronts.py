"""The web servers' settings that docs/networks.md shows, as boxes: with free ports and files of the test in them."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from boxes import FOLDER, Recipe
from program import ROOT

PAGE = (ROOT / "docs" / "networks.md").read_text("utf-8")
FRONTS = ("nginx-tcp", "haproxy-tcp", "nginx-http", "haproxy-http")
NAME = "localhost"  # stands for vpn.example
HERE = {
    "listen 443": "listen 127.0.0.1:@port@",
    "bind :443": "bind 127.0.0.1:@port@",
    "/etc/ssl/vpn.example.crt": "@cert@",
    "/etc/ssl/vpn.example.key": "@key@",
    "/etc/ssl/vpn.example.pem": "@pem@",
    "vpn.example": NAME,
    "127.0.0.1:8443": "127.0.0.1:@server_port@",
}
STREAM = "load_module /usr/lib/nginx/modules/ngx_stream_module.so;"
TEMPORARY = "".join(
    f"    {name}_temp_path @place@/{name};\n" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
)


def shown(name: str, page: str = PAGE) -> str:
    """The block of the page that begins with this name."""
    (block,) = re.findall(rf"^```\w+\n# {re.escape(name)}\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    return str(block)


def recipe(name: str, web: int, place: Path) -> Recipe:
    """One of FRONTS, with the web site at this port; its settings are written into `place`."""
    text = shown(name).replace("127.0.0.1:4443", f"127.0.0.1:{web}")
    for there, here in HERE.items():
        text = text.replace(there, here)
    program = name.partition("-")[0]
    like = Recipe.read(FOLDER / f"{program}.toml")
    (place / like.settings[0]).write_text(_whole_nginx(text) if program == "nginx" else text)
    return replace(like, folder=place, name=name, what=name)


def _whole_nginx(text: str) -> str:
    """What Debian has around it in nginx.conf."""
    head = "daemon off;\npid @place@/nginx.pid;\nerror_log stderr;\n"
    if "stream {" in text:
        return f"{STREAM}\n{head}events {{ }}\n{text}"
    return f"{head}events {{ }}\nhttp {{\n    access_log off;\n{TEMPORARY}{text}}}\n"
