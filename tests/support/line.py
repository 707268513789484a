#!/usr/bin/env python3
"""A line of any length and speed, for kernels without netem or tbf: packets go in, and come out later.

    line.py [--delay SECONDS] [--bits RATE] [--queue BYTES] DEVICE...

Makes a tun device for each direction, prints "ready", and gives back to it each packet that it gets, after `delay`
and no faster than `bits` a second; what finds the queue full is lost. One thread a direction. Ends with its stdin.
Where there is no rate to keep, the kernel hands over up to 64 KiB of a flow as one packet, as a network card takes it:
so Python is no limit to the speed.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import select
import struct
import sys
import threading
import time
from collections import deque
from contextlib import suppress

_TUNSETIFF, _TUNSETOFFLOAD = 0x400454CA, 0x400454D0
_TUN, _NO_PACKET_INFO, _VNET_HEADER = 0x0001, 0x1000, 0x4000
_CSUM, _TSO4, _TSO6 = 1, 2, 4
_HEADER = 10  # bytes before each packet: how far checksum and segments are still to be made
_LARGEST = 1 << 17  # bytes of a packet
_LONG_QUEUE = 64 << 20  # bytes under way where there is no rate: 640 MB/s at 0.1 s
_READS = 64  # packets taken before those that are due leave


class Way:
    """One direction; a thread of its own runs it."""

    def __init__(self, device: str, delay: float, bits: int, queue: int) -> None:
        """Makes the device; raises OSError where that cannot be."""
        self._delay, self._bits, self._queue = delay, bits, queue if bits else _LONG_QUEUE
        self._fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
        flags = _TUN | _NO_PACKET_INFO | _VNET_HEADER
        fcntl.ioctl(self._fd, _TUNSETIFF, struct.pack("=16sH14x", device.encode(), flags))
        fcntl.ioctl(self._fd, _TUNSETOFFLOAD, 0 if bits else _CSUM | _TSO4 | _TSO6)
        self._under_way: deque[tuple[float, bytes]] = deque()  # when it is there, packet
        self._waiting = 0  # bytes of the packets under way
        self._free = 0.0  # when the line has sent what it was given

    def run(self) -> None:
        """For ever."""
        while True:
            wait = max(0.0, self._under_way[0][0] - time.monotonic()) if self._under_way else None
            if select.select([self._fd], [], [], wait)[0]:
                self._take()
            self._give()

    def _take(self) -> None:
        with suppress(BlockingIOError):
            for _ in range(_READS):
                packet = os.read(self._fd, _LARGEST)
                if self._waiting + len(packet) <= self._queue:
                    self._waiting += len(packet)
                    self._under_way.append((self._due(len(packet) - _HEADER), packet))

    def _due(self, size: int) -> float:
        """When a packet that comes now is at the other end."""
        self._free = max(self._free, time.monotonic())
        if self._bits:
            self._free += 8 * size / self._bits
        return self._free + self._delay

    def _give(self) -> None:
        now = time.monotonic()
        while self._under_way and self._under_way[0][0] <= now:
            _, packet = self._under_way.popleft()
            self._waiting -= len(packet)
            with suppress(OSError):  # a packet may be lost
                os.write(self._fd, packet)


def main() -> None:
    """Runs until stdin ends."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--delay", type=float, default=0.0)
    parser.add_argument("--bits", type=int, default=0)
    parser.add_argument("--queue", type=int, default=16 << 10)
    parser.add_argument("devices", nargs="+")
    words = parser.parse_args()
    for device in words.devices:
        way = Way(device, words.delay, words.bits, words.queue)
        threading.Thread(target=way.run, daemon=True).start()
    print("ready", flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
