#!/usr/bin/env python3
"""QUIC through `forward -L udp:`, beside direct: handshakes, a download, an upload. Needs aioquic.

    tests/long/quic.py [--size 10000000] [--handshakes 50] [--cut]

`--cut` cuts the session's connection five times within each transfer. Exits with 1 where something does not come
through whole. aioquic speaks to a server of its own; QUIC finds out by itself what is lost, and how fast it may send.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import os
import ssl
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "support")]

from aioquic.asyncio import connect, serve  # noqa: E402
from aioquic.quic.configuration import QuicConfiguration  # noqa: E402
from faultproxy import FaultProxy  # noqa: E402
from loopback import pem  # noqa: E402
from program import Site  # noqa: E402

LOOPBACK = "127.0.0.1"


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """`SIZE\\n` is answered by so many random bytes and their SHA-256; what comes behind it, by its SHA-256."""
    size = int(await reader.readline())
    data = os.urandom(size)
    writer.write(data + hashlib.sha256(data).digest() if size else hashlib.sha256(await reader.read()).digest())
    writer.write_eof()


async def down(port: int, size: int) -> bool:
    """Whether it comes whole."""
    async with connect(LOOPBACK, port, configuration=configured()) as client:
        reader, writer = await client.create_stream()
        writer.write(b"%d\n" % size)
        data = await reader.read()
        return len(data) == size + 32 and hashlib.sha256(data[:-32]).digest() == data[-32:]


async def up(port: int, size: int) -> bool:
    """The same the other way."""
    data = os.urandom(size)
    async with connect(LOOPBACK, port, configuration=configured()) as client:
        reader, writer = await client.create_stream()
        writer.write(b"0\n" + data)
        writer.write_eof()
        return await reader.read() == hashlib.sha256(data).digest()


async def hands(port: int, count: int) -> bool:
    """Handshakes, one after another."""
    for _ in range(count):
        async with connect(LOOPBACK, port, configuration=configured()) as client:
            await client.ping()
    return True


def configured() -> QuicConfiguration:
    """Of a client that trusts anybody."""
    return QuicConfiguration(is_client=True, alpn_protocols=["x"], verify_mode=ssl.CERT_NONE)


async def cuts(faults: FaultProxy, over: asyncio.Event) -> None:
    """Five, a fifth of a second apart."""
    for _ in range(5):
        await asyncio.sleep(0.2)
        if over.is_set():
            return
        faults.cut()


async def run(words: argparse.Namespace, site: Site) -> bool:
    """Prints a line for each; whether all came whole."""
    served = QuicConfiguration(is_client=False, alpn_protocols=["x"])
    served.load_cert_chain(*map(str, pem("server")))
    tasks = set[asyncio.Task[None]]()

    def begun(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.add(asyncio.get_running_loop().create_task(answer(reader, writer)))

    server = await serve(LOOPBACK, 0, configuration=served, stream_handler=begun)
    target = server._transport.get_extra_info("sockname")[1]
    whole = True
    with FaultProxy((LOOPBACK, site.serve().port)) as faults:
        port = site.forward(site.profile("quic", faults.port, "udp:127.0.0.1:*"), f"udp:0:{LOOPBACK}:{target}").port
        for way, at in (("direct", target), ("-L udp:", port)):
            for what, work, amount in (
                ("handshakes", hands, words.handshakes), ("bytes down", down, words.size), ("bytes up", up, words.size),
            ):  # fmt: skip
                began, over = time.monotonic(), asyncio.Event()
                cutting = asyncio.create_task(cuts(faults, over)) if words.cut and way != "direct" else None
                good = await work(at, amount)
                seconds = time.monotonic() - began
                over.set()
                if cutting is not None:
                    await cutting
                whole &= good
                print(f"{way}: {amount:,} {what} in {seconds:.2f} s{'' if good else ': NOT WHOLE'}", flush=True)
    server.close()
    return whole


def main() -> int:
    """Everything; 0 where it is well."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--size", type=int, default=10_000_000, help="bytes of each transfer; 10,000,000 by default")
    parser.add_argument("--handshakes", type=int, default=50, help="50 by default")
    parser.add_argument("--cut", action="store_true", help="cut the session's connection within transfers")
    words = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="quic-") as place, Site(Path(place)) as site:
        return 0 if asyncio.run(run(words, site)) else 1


if __name__ == "__main__":
    sys.exit(main())
