"""NO_PROXY, with curl as the oracle: for each case curl is run beside, at a proxy that records what comes."""

from __future__ import annotations

import os
import socket
import subprocess
from pathlib import Path

import pytest
from program import environment, tool
from proxied import Plain

from nitrosocks_lib.client.no_proxy import goes_directly

# host, list, whether the proxy is left out
CASES = [
    ("server.example", "", False),
    ("server.example", "*", True),
    ("server.example", "*,other", False),
    ("server.example", " *", False),
    ("server.example", "*.example", False),
    ("server.example", "server.example", True),
    ("server.example", "SERVER.Example", True),
    ("Server.EXAMPLE", "server.example", True),
    ("server.example", "example", True),
    ("server.example", ".example", True),
    ("server.example", "..example", False),
    ("server.example", ".server.example", True),
    ("server.example", "example.", True),
    ("server.example.", "example", True),
    ("server.example.", "server.example.", True),
    ("server.example", "erver.example", False),
    ("server.example", "xserver.example", False),
    ("server.example", "a.server.example", False),
    ("server.example", "server", False),
    ("server.example", "server.example:443", False),
    ("server.example", "server.example/", False),
    ("server.example", "other, server.example", True),
    ("server.example", "other,server.example,", True),
    ("server.example", ",,,server.example", True),
    ("server.example", "other server.example", True),
    ("server.example", "\tserver.example\t", True),
    ("server.example", ".", False),
    ("localhost", "127.0.0.1", False),
    ("localhost", "localhost", True),
    ("10.1.2.3", "10.1.2.3", True),
    ("10.1.2.3", "10.1.2", False),
    ("10.1.2.3", ".2.3", False),
    ("10.1.2.3", "10.0.0.0/8", True),
    ("10.1.2.3", "10.1.2.255/24", True),
    ("10.1.2.3", "10.1.3.0/24", False),
    ("10.1.2.3", "10.1.2.3/32", True),
    ("10.1.2.3", "10.1.2.2/31", True),
    ("10.1.2.3", "10.0.0.0/33", False),
    ("10.1.2.3", "0.0.0.0/0", False),
    ("10.1.2.3", "10.1.2.3/0", True),
    ("10.1.2.3", "10.1.2.3/", True),
    ("10.1.2.3", "10.1.2.3:443", False),
    ("10.1.2.3", "10.0.0.0/-1", False),
    ("10.1.2.3", "10.0.0.0/8x", True),
    ("10.1.2.3", "::/0", False),
    ("10.1.2.3", "*", True),
    ("2001:db8::1", "2001:db8::1", True),
    ("2001:db8::1", "2001:db9::/32", False),
    ("2001:db8::1", "2001:db8::1/129", False),
    ("2001:db8::1", "db8::1", False),
    ("2001:db8::1", "10.0.0.0/8", False),
]

# What curl's manual says, and its versions up to 7.88 at least do not do: they take an address in brackets for a name.
IPV6 = [
    ("2001:db8::1", "2001:DB8:0::1", True),
    ("2001:db8::1", "2001:db8::/32", True),
    ("2001:db8::1", "2001:db8::3/126", True),
    ("2001:db8::1", "::/0", False),
    ("fe80::1%eth0", "fe80::/10", True),
]


def at_the_proxy(host: str, no_proxy: str) -> bool:
    """Whether curl asks a proxy for this host. Without one it finds it at a port where nobody listens."""
    asked: list[bytes] = []

    def record(sock: socket.socket) -> None:
        asked.append(sock.recv(4_096))

    where = f"[{host}]" if ":" in host else host
    with Plain(record) as proxy:
        env = {"https_proxy": f"http://127.0.0.1:{proxy.port}", "no_proxy": no_proxy}
        words = ["-sS", "--max-time", "10", "--connect-to", "::127.0.0.1:1", f"https://{where}/"]
        env = environment(Path(os.devnull)) | env
        subprocess.run([tool("curl"), *words], env=env, capture_output=True, timeout=30, check=False)
    return bool(asked)


@pytest.mark.parametrize(("host", "no_proxy", "directly"), CASES)
def test_as_curl_does(host: str, no_proxy: str, directly: bool) -> None:
    assert goes_directly(host, no_proxy) is directly
    assert at_the_proxy(host, no_proxy) is not directly, "curl does otherwise"


@pytest.mark.parametrize(("host", "no_proxy", "directly"), IPV6)
def test_addresses_of_ipv6(host: str, no_proxy: str, directly: bool) -> None:
    assert goes_directly(host, no_proxy) is directly
