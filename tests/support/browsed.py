"""A page with sixty resources and a WebSocket, served by nginx in HTTP/2, and a real Chromium that loads it."""

from __future__ import annotations

import json
import queue
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import browsing
import nginx
from loopback import pem
from program import BOUND, Site, environment, tool
from websockets.exceptions import ConnectionClosed
from websockets.sync.server import ServerConnection, serve

RESOURCES = 60
HELLO = "hello through the proxy"
_TIMES = 60, 75, 5  # nginx's own
_QUIET = (  # and with little of /dev/shm, which containers have little of
    "--disable-background-networking --disable-component-update --disable-sync --disable-extensions "
    "--disable-dev-shm-usage"
).split()
_KINDS = {  # of resources: the element that asks for one, and what stands in it before what makes it as long as it is
    "css": ("<link rel=stylesheet href={name}>", "p {{ margin: {number}px }} /*{more}*/"),
    "js": ("<script src={name}></script>", "window.ran = (window.ran || 0) + 1; /*{more}*/"),
    "svg": ("<img src={name}>", "<svg xmlns='http://www.w3.org/2000/svg' width='1' height='1'><!--{more}--></svg>"),
}
# What the page measured itself is told over its WebSocket, behind an echo. Times are ms since the navigation began.
_PAGE = """<!doctype html><title>Roses</title><link rel=icon href=data:,>
%s
<script>
onload = () => {
  const told = {loaded: performance.now(), ran: window.ran};
  const socket = new WebSocket(location.origin.replace("http", "ws") + "/echo");
  socket.onopen = () => socket.send("%s");
  socket.onmessage = (message) => {
    told.echoed = message.data;
    told.done = performance.now();
    told.page = performance.getEntriesByType("navigation")[0].nextHopProtocol;
    told.resources = performance.getEntriesByType("resource").map(
      (each) => ({name: each.name, protocol: each.nextHopProtocol, size: each.decodedBodySize}));
    socket.send(JSON.stringify(told));
  };
};
</script>
"""


class Page(ExitStack):
    """nginx that serves the page at `plain` and, in TLS with HTTP/2, at `secure`; and what is behind its WebSocket."""

    def __init__(self, site: Site) -> None:
        """The processes are the site's."""
        super().__init__()
        self.browser = tool("chromium")
        self._told: queue.Queue[str] = queue.Queue()
        behind = self.enter_context(self._websocket())
        web = nginx.start(site, *pem("localhost"), more=nginx.ECHO.format(port=behind), times=_TIMES, http2=True)
        self.plain, self.secure = web.plain, web.secure
        elements, self.size = [], 0
        for number in range(RESOURCES):
            kind, (element, text) = list(_KINDS.items())[number % len(_KINDS)]
            name = f"{number}.{kind}"
            words = text.format(number=number, more="rose " * (100 + 100 * number))
            (web.place / "site" / name).write_text(words)
            elements.append(element.format(name=name))
            self.size += len(words)
        (web.place / "site" / "roses.html").write_text(_PAGE % ("\n".join(elements), HELLO))

    @contextmanager
    def _websocket(self) -> Iterator[int]:
        """Echoes the first message of each connection, and keeps the second one."""

        def talk(connection: ServerConnection) -> None:
            with suppress(ConnectionClosed):
                connection.send(connection.recv())
                self._told.put(str(connection.recv()))

        with serve(talk, "127.0.0.1", 0, compression=None) as server:
            thread = threading.Thread(target=server.serve_forever)
            thread.start()
            yield int(server.socket.getsockname()[1])
            server.shutdown()
            thread.join(BOUND)

    def load(self, *words: str, secure: bool = True, pause: float = 0.0) -> dict[str, Any]:
        """What the page says, loaded by a new Chromium with these words; behind a pause in seconds, while it starts."""
        url = f"https://127.0.0.1:{self.secure}" if secure else f"http://127.0.0.1:{self.plain}"
        first = f"data:text/html,<script>setTimeout(() => location = '{url}/roses.html', {1000 * pause})</script>"
        with tempfile.TemporaryDirectory(prefix="ns-browser-", ignore_cleanup_errors=True) as folder:
            argv = [self.browser, *browsing.WORDS, *_QUIET, *words, f"--user-data-dir={folder}", first]
            process = subprocess.Popen(
                argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment(Path(folder))
            )
            try:
                return dict(json.loads(self._told.get(timeout=BOUND)))
            finally:
                process.terminate()
                process.wait(BOUND)


def through(proxy: str) -> tuple[str, str]:
    """Chromium's words to use this proxy, as in socks5://127.0.0.1:1080, for loopback too."""
    return f"--proxy-server={proxy}", "--proxy-bypass-list=<-loopback>"
