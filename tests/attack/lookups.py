"""Thousands of clients are looked up while all files are looked at, and strangers greet as clients that are not known.

    python tests/attack/lookups.py [--clients 10000] [--rate 1000] [--seconds 60] [--files 3000] [--greetings 5]

Registry: how long the first look at all files takes and what it holds; then look-ups of known and of unknown clients at
that rate, from eight threads, while another looks at all files every few seconds. The 99th percentile must stay below
5 ms. One file has a fault.
Server: CPU of a real `serve` with so many files, one of them faulty, under unknown greetings by one who knows its key,
beside that of one with a single file: it must not be more than twice that. Exits 1 when something did not hold.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parents[1]), str(HERE.parent / "support")]

from program import Site  # noqa: E402

from nitrosocks_lib.client.dialler import Dialler  # noqa: E402
from nitrosocks_lib.crypto.identity import ClientKey  # noqa: E402
from nitrosocks_lib.facts import limits, wire  # noqa: E402
from nitrosocks_lib.facts.errors import NitroSocksError  # noqa: E402
from nitrosocks_lib.files import profiles  # noqa: E402
from nitrosocks_lib.files.keyfiles import b32, b64  # noqa: E402
from nitrosocks_lib.net.connect import Route  # noqa: E402
from nitrosocks_lib.protocol.greet import Credentials  # noqa: E402
from nitrosocks_lib.server.authorised import Clients  # noqa: E402

THREADS = 8
MOST = 0.005  # seconds
_KEY = ClientKey(bytes(32)).public
_RHO = slice(wire.MLKEM_PUBLIC - 32, wire.MLKEM_PUBLIC)  # of an ML-KEM key: any bytes


def client_file(number: int, *permit: str) -> str:
    """The text of a client's file; its keys are valid, and nobody's. Quicker than keygen."""
    raw = bytearray(_KEY)
    raw[_RHO] = number.to_bytes(32)
    rules = "".join(f'    "{rule}",\n' for rule in permit or ("intranet.example:443",))
    token = b32(os.urandom(32))
    return f'name = "client-{number}"\npublic = "{b64(raw)}"\ntoken = "{token}"\npermit = [\n{rules}]\nlisten = []\n'


def write(path: Path, text: str, mode: int = 0o600) -> None:
    """Whole or not at all."""
    new = path.with_name(f".{path.name}")
    with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "w") as file:
        file.write(text)
    new.replace(path)


def populate(directory: Path, count: int, faulty: int = 1) -> None:
    """So many clients, and so many files with a fault."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    for number in range(count):
        write(directory / f"client-{number}.toml", client_file(number))
    for number in range(faulty):
        write(directory / f"faulty-{number}.toml", client_file(count + number).replace("token", "tokem"))


def resident() -> float:
    """MB of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 1e6


class Asking(threading.Thread):
    """Looks clients up at a rate until `end`, every tenth one unknown; keeps how long each look-up took."""

    def __init__(self, clients: Clients, ids: list[bytes], rate: float, end: float) -> None:
        super().__init__(daemon=True)
        self._clients, self._ids, self._rate, self._end = clients, ids, rate, end
        self.took: list[float] = []
        self.wrong = 0

    def run(self) -> None:
        due = time.perf_counter() + random.random() / self._rate
        while due < self._end:
            time.sleep(max(0.0, due - time.perf_counter()))
            known = random.random() < 0.9
            client_id = random.choice(self._ids) if known else os.urandom(wire.CLIENT_ID)
            began = time.perf_counter()
            found = self._clients.lookup(client_id)
            self.took.append(time.perf_counter() - began)
            self.wrong += (found is not None) != known
            due += random.expovariate(self._rate)


def registry(count: int, rate: float, seconds: float) -> bool:
    """Prints the figures of a registry of so many clients; whether they hold."""
    with tempfile.TemporaryDirectory() as place:
        directory = Path(place, "clients.d")
        populate(directory, count)
        before, began = resident(), time.perf_counter()
        clients = Clients(directory, profiles.load_client)
        clients.look()
        first, held = time.perf_counter() - began, resident() - before
        ids = [profiles.load_client(path).authorised.public.client_id for path in directory.glob("client-*.toml")]
        end = time.perf_counter() + seconds
        asking = [Asking(clients, ids, rate / THREADS, end) for _ in range(THREADS)]
        for thread in asking:
            thread.start()
        looks: list[float] = []
        while (began := time.perf_counter()) < end:
            clients.look()
            looks.append(time.perf_counter() - began)
            time.sleep(max(0.0, min(limits.REVOKED, end - time.perf_counter())))
        for thread in asking:
            thread.join()
    took = sorted(each for thread in asking for each in thread.took)
    wrong, p99 = sum(thread.wrong for thread in asking), took[len(took) * 99 // 100]
    print(f"{count} files: first look {first:.1f} s, {held:.0f} MB; later looks {1e3 * max(looks):.0f} ms at most")
    print(
        f"{len(took)} look-ups in {seconds:.0f} s: p50 {1e3 * took[len(took) // 2]:.3f} ms, p99 {1e3 * p99:.3f} ms,"
        f" longest {1e3 * took[-1]:.1f} ms, {wrong} wrong answers"
    )
    return p99 < MOST and not wrong


def cpu_seconds(pid: int) -> float:
    """What a process has used so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def greeted(count: int, rate: float, seconds: float) -> float:
    """The share of one core that a server with so many files uses under so many unknown greetings a second."""
    with tempfile.TemporaryDirectory() as place, Site(Path(place)) as site:
        populate(site.home / "clients.d", count - 1)
        server = site.serve()
        public = profiles.ensure_server_key(site.home)[0].public
        stranger = Credentials(public, ClientKey(os.urandom(32)), os.urandom(32))
        dialler = Dialler(stranger, (("127.0.0.1", server.port),), Route(), limits.WINDOW)
        began, used, made = time.perf_counter(), cpu_seconds(server.pid), 0
        while time.perf_counter() < began + seconds:
            time.sleep(max(0.0, began + made / rate - time.perf_counter()))
            with suppress(NitroSocksError):
                dialler.greet()
            made += 1
        share = (cpu_seconds(server.pid) - used) / (time.perf_counter() - began)
        print(f"{count} files, {made / seconds:.1f} unknown greetings a second: {share:.1%} of a core")
    return share


def main() -> int:
    """The exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for option, default in (("clients", 10_000), ("rate", 1000), ("seconds", 60), ("files", 3000), ("greetings", 5)):
        parser.add_argument(f"--{option}", type=int, default=default)
    chosen = parser.parse_args()
    good = registry(chosen.clients, chosen.rate, chosen.seconds)
    alone, many = (greeted(count, chosen.greetings, chosen.seconds / 2) for count in (1, chosen.files))
    return 0 if good and many <= 2 * alone else 1


if __name__ == "__main__":
    sys.exit(main())
