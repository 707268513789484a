#!/usr/bin/env python3
"""A page in Chromium: direct, through `ssh -D`, and through `nitrosocks forward -D`, in one run; prints a table.

    bench/browser.py [--rounds 9] [--cipher NAME] [--words "--sessions 1"]

The page has sixty resources, 0.9 MB, and a WebSocket; nginx serves it in HTTP/2 over TLS, and in plain HTTP/1.1. The
browser measures it: from the start of the navigation to the end of `load`, and until a WebSocket that begins then has
echoed its first message. Each time is that of a new browser, with nothing in its cache, that had a second to start. All
ways stand at once and take turns, in another order each round; figures are medians in ms. Debian: chromium, nginx.
"""

from __future__ import annotations

import argparse
import shlex
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "support")]

import servers  # noqa: E402
from browsed import RESOURCES, Page, through  # noqa: E402
from figures import head, median, ratio, row  # noqa: E402
from program import Site  # noqa: E402
from servers import LOOPBACK  # noqa: E402

PAUSE = 1.0  # seconds for a browser to start
SSH, OURS = "ssh -D", "nitrosocks"
PROTOCOLS = {"h2": True, "http/1.1": False}  # and whether in TLS


def ways(site: Site, words: argparse.Namespace) -> dict[str, tuple[str, ...]]:
    """What Chromium is told, by the name of the way."""
    (ssh,) = servers.ssh(site, [], words.cipher, proxy=True)
    profile = site.profile("browser", site.serve().port)
    ours = site.proxy(profile, *shlex.split(words.words)).port
    return {
        "direct": ("--no-proxy-server",),
        SSH: through(f"socks5://{LOOPBACK}:{ssh}"),
        OURS: through(f"socks5://{LOOPBACK}:{ours}"),
        f"{OURS}, as HTTP proxy": through(f"http://{LOOPBACK}:{ours}"),
    }


def main() -> int:
    """Prints one table at the end."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=9, help="9 by default")
    parser.add_argument("--cipher", default="aes128-gcm@openssh.com", help="of ssh; aes128-gcm@openssh.com by default")
    parser.add_argument("--words", default="", help="more options of forward, in one word")
    words = parser.parse_args()
    measured: dict[tuple[str, str], list[float]] = defaultdict(list)
    with tempfile.TemporaryDirectory(prefix="browser-") as place, Site(Path(place)) as site, Page(site) as page:
        told = list(ways(site, words).items())
        for number in range(-1, words.rounds):  # the first one fills caches
            first = number % len(told)
            for protocol, secure in PROTOCOLS.items():
                for way, options in told[first:] + told[:first]:
                    came = page.load(*options, secure=secure, pause=PAUSE)
                    assert [each["protocol"] for each in came["resources"]] == [protocol] * RESOURCES, came
                    if number >= 0:
                        measured[f"{protocol}, load", way].append(came["loaded"])
                        measured[f"{protocol}, load and echo", way].append(came["done"])
    names = [way for way, _ in told]
    print(head(["ms", *names, "to ssh -D"]))
    for what in dict.fromkeys(what for what, _ in measured):
        cells = [median(measured[what, way]) for way in names]
        print(row([what, *cells, ratio(measured[what, OURS], measured[what, SSH])]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
