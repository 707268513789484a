"""Compares the heads that we write with those of a real Chromium and a real nginx, and prints what differs.

    python tests/long/browser.py [--chromium PROGRAM] [--nginx PROGRAM] [--write]

Chromium, without a window, loads a page from a TLS server of this script that speaks HTTP/1.1 only. The page's script
asks by fetch, with a body of octets, with an empty one, with two cookies; and for a WebSocket. nginx stands before an
application that answers as our server does. Names, letters, order and values are compared; not the host, the system,
the date, the keys, and the brand, which is Chromium's own. `--write` makes tests/vectors/browser.json anew, which
tests/protocol/test_heads.py and tests/attack/passive.py hold us to where no browser is. Exits 1 where something differs
that is not known (WS1: no extension is offered). Debian: chromium, nginx.
"""

import argparse
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[2]), str(Path(__file__).resolve().parents[1] / "support")]

import browsing  # noqa: E402

KNOWN = ["upgrade: Sec-WebSocket-Extensions is missing"]
_ABOUT = (
    "Heads as real programs write them, captured by tests/long/browser.py: requests of Chromium over HTTP/1.1 in TLS, "
    "for fetch and WebSocket of a page's script; answers of nginx before an application that answers as ours does. "
    "cache is a request with cache: no-store and no field of the script's own."
)


def version(program: str, word: str) -> str:
    done = subprocess.run([program, word], capture_output=True, text=True, check=True)
    found = re.search(r"\d+(\.\d+)+", done.stdout + done.stderr)
    assert found, done
    return found[0]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--chromium", default=shutil.which("chromium") or "/usr/bin/chromium")
    parser.add_argument("--nginx", default=shutil.which("nginx") or "/usr/sbin/nginx")
    parser.add_argument("--write", action="store_true", help="keep what was captured")
    options = parser.parse_args()
    versions = {"chromium": version(options.chromium, "--version"), "nginx": version(options.nginx, "-v")}
    heads = browsing.chromium(options.chromium) | browsing.nginx(options.nginx)
    print(", ".join(f"{name} {each}" for name, each in versions.items()))
    if options.write:
        kept = {"about": _ABOUT, "versions": versions, "heads": heads}
        browsing.KEPT.write_text(json.dumps(kept, indent=1) + "\n")
    made = browsing.ours()
    theirs = {name: browsing.common(head) for name, head in heads.items() if name in made}
    found = browsing.differences(theirs, made)
    for line in found:
        print(line + (" (known)" if line in KNOWN else ""))
    print(f"{len(theirs)} heads compared, {len(found)} differences")
    return int(found != KNOWN)


if __name__ == "__main__":
    sys.exit(main())
