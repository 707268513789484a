"""What a real Chromium and a real nginx write, and what protocol/heads writes in their place, in one form.

A head is a list of [name, value]. What differs from one head to the next is written as "*".
"""

from __future__ import annotations

import json
import re
import socket
import subprocess
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path

from loopback import Server, dial_tcp, unused_port

from nitrosocks_lib.protocol import heads

BOUND = 60.0
KEPT = Path(__file__).parents[1] / "vectors" / "browser.json"
PAGE_QUERY = "/?q=roses&page=2"
Head = list[list[str]]

# The script of a page asks as heads.post does: the field Cache-Control is its own, since cache: "no-store" makes
# Chromium write no-cache, and Pragma, too.
_PAGE = b"""<!doctype html><title>Garden</title><link rel=icon href=data:,><script>
document.cookie = "a=b"; document.cookie = "c=d"; history.replaceState(null, "", "%s");
const headers = {"Content-Type": "application/octet-stream", "Cache-Control": "no-store"};
(async () => {
  await fetch("/post", {method: "POST", headers, body: new Uint8Array([1, 2, 3, 4, 5]).buffer});
  await fetch("/empty", {method: "POST", headers, body: new ArrayBuffer(0)});
  await fetch("/cache", {method: "POST", headers: {"Content-Type": headers["Content-Type"]}, cache: "no-store"});
  new WebSocket("wss://" + location.host + "/upgrade");
})();
</script>""" % PAGE_QUERY.encode()
WORDS = "--headless=new --no-sandbox --ignore-certificate-errors --disable-gpu --no-first-run".split()

_SETTINGS = """
daemon off; master_process off; pid {place}/pid; error_log {place}/error crit;
events {{ }}
http {{
  access_log off; client_body_temp_path {place}/b; proxy_temp_path {place}/p; fastcgi_temp_path {place}/f;
  uwsgi_temp_path {place}/u; scgi_temp_path {place}/s;
  server {{
    listen 127.0.0.1:{port};
    location / {{
      proxy_pass http://127.0.0.1:{behind}; proxy_http_version 1.1;
      proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection "upgrade";
    }}
  }}
}}
"""
_APP = {
    "answer": b"HTTP/1.1 200 OK\r\nCache-Control: no-store\r\nContent-Type: application/octet-stream\r\n"
    b"Content-Length: 5\r\n\r\nhello",
    "empty": b"HTTP/1.1 200 OK\r\nCache-Control: no-store\r\nContent-Type: application/octet-stream\r\n"
    b"Content-Length: 0\r\n\r\n",
    "end": b"HTTP/1.1 204 No Content\r\nCache-Control: no-store\r\n\r\n",
    "switching": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Accept: x\r\n\r\n",
}
REQUESTS, ANSWERS = ("post", "empty", "upgrade"), tuple(_APP)

# -- one form ---------------------------------------------------------------------------------------------------------


def parsed(head: bytes) -> Head:
    """The fields of a head, up to its empty line."""
    lines = head.partition(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")[1:]
    return [line.split(": ", 1) for line in lines]


def common(head: Head) -> Head:
    """Without what is a matter of the host, the time, the system, the build and the mode of the browser."""
    host = {line[0]: line[1] for line in head}.get("Host", "")
    return [[name, _common(name, value.replace(host, "web.example") if host else value)] for name, value in head]


def _common(name: str, value: str) -> str:
    if name in ("Date", "Sec-WebSocket-Key", "Sec-WebSocket-Accept"):
        return "*"
    if name == "Server":
        return value.partition("/")[0]
    if name == "sec-ch-ua":  # Chromium is no Google Chrome
        return ", ".join(part for part in value.split(", ") if "Google Chrome" not in part)
    if name == "sec-ch-ua-platform":
        return '"*"'
    return re.sub(r"\((?:Windows|X11)[^)]*\)", "(*)", value.replace("HeadlessChrome", "Chrome"))


def ours() -> dict[str, Head]:
    """What heads writes for the same."""
    cookies, host = "a=b; c=d", "web.example"
    made = {
        "post": heads.post(host, "/post", 5, cookies, PAGE_QUERY),
        "empty": heads.post(host, "/empty", 0, cookies, PAGE_QUERY),
        "upgrade": heads.upgrade(host, "/upgrade", "key", cookies),
        "answer": heads.answer(200, 5, 0),
        "empty answer": heads.answer(200, 0, 0),
        "end": heads.answer(204, 0, 0),
        "switching": heads.switching("x", 0),
    }
    return {name: common(parsed(head)) for name, head in made.items()}


def kept() -> dict[str, Head]:
    """What was captured, in the same form."""
    return {name: common(head) for name, head in json.loads(KEPT.read_text())["heads"].items()}


def differences(theirs: dict[str, Head], made: dict[str, Head]) -> list[str]:
    """One line for each field that is not the same, by name, value or place."""
    found = []
    for name, head in theirs.items():
        names = [field for field, _ in head], [field for field, _ in made[name]]
        found += [f"{name}: {field} is missing" for field in names[0] if field not in names[1]]
        found += [f"{name}: {field} is too much" for field in names[1] if field not in names[0]]
        both = [[field for field in each if field in names[0] and field in names[1]] for each in names]
        if both[0] != both[1]:
            found.append(f"{name}: the order is {', '.join(both[1])}; theirs {', '.join(both[0])}")
        values = dict(map(tuple, made[name]))
        found += [
            f"{name}: {field}: {values[field]}; theirs {value}"
            for field, value in head
            if field in values and values[field] != value
        ]
    return found


# -- capturing --------------------------------------------------------------------------------------------------------


def chromium(program: str) -> dict[str, Head]:
    """What it sends to a TLS server of ours, for each of REQUESTS, and "cache": with cache: "no-store" of its own."""
    came: dict[str, bytes] = {}
    all_there = threading.Event()

    def serve(sock: socket.socket) -> None:
        data = b""
        while True:
            while b"\r\n\r\n" not in data:
                if not (piece := sock.recv(1 << 16)):
                    return
                data += piece
            head, _, data = data.partition(b"\r\n\r\n")
            size = int(dict(parsed(head)).get("Content-Length", "0"))
            while len(data) < size:
                data += sock.recv(1 << 16)
            data = data[size:]
            came[head.split(b" ")[1].decode()[1:]] = head
            if {*REQUESTS, "cache"} <= {*came}:
                all_there.set()
            body = _PAGE if head.startswith(b"GET / ") else b""
            sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: %d\r\n\r\n" % len(body) + body)

    with Server(serve) as server, tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        words = [program, *WORDS, f"--user-data-dir={folder}", f"https://127.0.0.1:{server.address[1]}/"]
        process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            assert all_there.wait(BOUND), f"of {REQUESTS} came {[*came]}"
        finally:
            process.terminate()
            process.wait(BOUND)
    return {name: parsed(came[name]) for name in (*REQUESTS, "cache")}


def nginx(program: str) -> dict[str, Head]:
    """What it answers where an application behind it answers with _APP."""
    with tempfile.TemporaryDirectory() as folder, socket.create_server(("127.0.0.1", 0)) as app:
        port = unused_port()
        settings = Path(folder, "conf")
        settings.write_text(_SETTINGS.format(place=folder, port=port, behind=app.getsockname()[1]))
        threading.Thread(target=_answer, args=(app,), daemon=True).start()
        process = subprocess.Popen([program, "-p", folder, "-c", str(settings)], stderr=subprocess.DEVNULL)
        try:
            found = {name: parsed(_ask(port, name)) for name in _APP}
        finally:
            process.terminate()
            process.wait(BOUND)
            with suppress(OSError):
                app.shutdown(socket.SHUT_RDWR)
    return {"empty answer" if name == "empty" else name: head for name, head in found.items()}


def _answer(app: socket.socket) -> None:
    with suppress(OSError):
        while True:
            with app.accept()[0] as sock:
                data = b""
                while b"\r\n\r\n" not in data:
                    data += sock.recv(1 << 16)
                sock.sendall(_APP[data.split(b" ")[1].decode()[1:]])


def _ask(port: int, name: str) -> bytes:
    """The head of its answer."""
    end = time.monotonic() + BOUND
    while True:
        with suppress(ConnectionRefusedError), dial_tcp(port) as sock:
            method = "GET" if name == "switching" else "POST"
            upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\n" if name == "switching" else ""
            request = f"{method} /{name} HTTP/1.1\r\nHost: x\r\n{upgrade}Content-Length: 0\r\n\r\n"
            sock.sendall(request.encode())
            data = b""
            while b"\r\n\r\n" not in data:
                piece = sock.recv(1 << 16)
                assert piece, data
                data += piece
            return data
        assert time.monotonic() < end, "nginx takes no connections"
        time.sleep(0.02)
