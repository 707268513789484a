"""Every number that bounds something, with its reason; seconds, bytes or counts as the name says."""

from __future__ import annotations

from typing import Final

from . import wire

# Handshake (protocol 3).
PAD_MAX: Final = 1024
WINDOW_MIN: Final = 64 * 1024
WINDOW_MAX: Final = 64 * 1024 * 1024
WINDOW: Final = 4 * 1024 * 1024  # fills 320 Mbit/s at 100 ms; Teleport keeps 16 MiB, ssh 2 MiB
RESUME_MAX: Final = 86_400
RESUME: Final = 120
HEARTBEAT_MIN: Final = 5
HEARTBEAT_MAX: Final = 300
HEARTBEAT: Final = 20  # three silent periods stay below the 60 s after which common proxies cut idle connections
ADDRESS_MAX: Final = 255
NONCES_PER_HOUR: Final = 1 << 20
TOTP_STEP: Final = 30
CLOCK_SKEW: Final = 30  # more is worth a line to the user
HANDSHAKE: Final = 10.0  # TLS and authentication together, total deadline at the server
DIAL: Final = 10.0  # one attempt of the client: TCP, TLS and handshake, each address of the name
FIRST_FRAME: Final = 10.0
LATE: Final = 30  # the late close is LATE + (0 to 60) s after accept, fixed per server
UNAUTHENTICATED: Final = 256  # connections before authentication; sshd stops at 100
TARPIT: Final = 1024  # connections that wait for their late close; the oldest goes
FIRST_READ: Final = 16_384  # one TLS record

# Frames (protocol 4): a key wears out.
KEY_FRAMES: Final = 1 << 22
KEY_BYTES: Final = 64 << 30
KEY_AGE: Final = 2 * 3600.0

# Refresh (protocol 5).
REFRESH: Final = 30 * 60.0
REFRESH_MAX: Final = 60 * 60.0
REFRESH_BYTES: Final = 4 << 30
REFRESH_FRAMES: Final = 1 << 20
REFRESH_ANSWER: Final = 60.0

# Streams and acknowledgements (protocol 5).
DATA_FRAMES: Final = 1024
ACK_BYTES: Final = 256 * 1024
ACK_FRAMES: Final = 64
ACK_DELAY: Final = 0.1
DIAL_TARGET: Final = 10.0  # per target, all its addresses together
NAME_MAX: Final = 255  # bytes of a host name or path in OPEN
TEXT_MAX: Final = 512  # bytes of a text for people

# Liveness and release (protocol 5).
HEARTBEAT_JITTER: Final = 0.3
SILENT_PERIODS: Final = 3
RELEASE: Final = 5.0
FAREWELL: Final = 0.5  # behind RELEASE: an ABORT 4 has that long to leave
DRAIN: Final = 30
BACKOFF_FIRST: Final = 0.2
BACKOFF_MAX: Final = 10.0

# Sessions (one program).
SESSIONS_PER_CLIENT: Final = 256
BUDGET: Final = 4 << 30  # bytes that all sessions of a server may hold together, both directions
BUDGET_SHARE: Final = 256  # a session gets at most this part of what is left: 256 full windows, 1,300 sessions in all
REVOKED: Final = 5.0  # how often a server looks for sessions of clients that are authorised no more
WARM: Final = 1
WARM_MAX: Final = 64
IDLE: Final = 60.0  # an idle session beyond the warm ones is released after this
WARM_AGE: Final = 900.0  # a warm one is replaced after this, so that it is not found dead when it is needed
OPEN_HEARD: Final = 2.0  # OPEN is acknowledged at once: a pooled session silent for that long behind it is dead
GREET_AGAIN: Final = 5.0  # a new local connection waits that long for greetings that are cut, a few attempts
FRESH: Final = 1.0  # a pooled session heard from within this may carry data right behind OPEN

# Buffers. 65,516 bytes of payload make a frame of 65,536: four full TLS records, no fifth one of 20 bytes.
SLOT: Final = wire.PLAIN_MAX
DATA_SIZE: Final = 65_536 - wire.FRAME_OVERHEAD - 1
COPY_BELOW: Final = 16 * 1024  # smaller payloads are kept as copies of their size: 1,024 of them cost 16 MiB
SLOTS_IDLE: Final = 32  # free buffers kept for reuse in one process: 2 MiB
DRAIN_BYTES: Final = 4 << 20  # read at most before a close, so that the kernel sends FIN and not RST
