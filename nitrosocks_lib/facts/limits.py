"""Every number that bounds something, with its reason; seconds, bytes or counts as the name says."""

from __future__ import annotations

from typing import Final

from . import wire

# Handshake (protocol 3).
PAD_MAX: Final = 1024
WINDOW_MIN: Final = 64 * 1024
WINDOW_MAX: Final = 64 * 1024 * 1024
WINDOW: Final = 256 * 1024  # what a stream begins with; it grows with use
RESUME_MAX: Final = 86_400
RESUME: Final = 120
HEARTBEAT_MIN: Final = 5
HEARTBEAT_MAX: Final = 300
HEARTBEAT: Final = 20  # three silent periods stay below the 60 s after which common proxies cut idle connections
HEARTBEAT_HTTP: Final = 50  # there each costs requests, and polls find a dead way sooner
ADDRESS_MAX: Final = 255
NONCES_PER_HOUR: Final = 1 << 20  # 16 MiB; beyond it greetings are served, and their nonces not stored
FULL_SAID: Final = 60.0  # how often the log says so
TOTP_STEP: Final = 30
DATE_FIRST: Final = 1_577_836_800 // 3600  # hours of a web server's Date that are believed: from 2020 …
DATE_LAST: Final = 4_102_444_799 // 3600  # … to 2099; any other is ignored, as if there were none
CLOCK_SKEW: Final = 30  # more is worth a line to the user
HANDSHAKE: Final = 10.0  # TLS and authentication together, total deadline at the server
DIAL: Final = 10.0  # at the client: TCP and TLS, all addresses of a name together; and again the handshake
FIRST_FRAME: Final = 10.0
LATE: Final = 30  # the late close is LATE + (0 to 60) s after accept, fixed per server
TARPIT: Final = 1024  # connections that wait for their late close; the one whose time is next goes
LINGER_REFUSED: Final = 1.0  # one that was refused has that long to read it
ASKING: Final = 30.0  # an application at -D has that long to say where it wants to go
APPLICATIONS: Final = 256  # so many may be about to ask; the one that came first gives way to the next
ASKED_HEAD: Final = 128 << 10  # bytes of a request to it: a ticket of Kerberos has up to 64 KiB, in base64 a third more
FIRST_READ: Final = 16_384  # one TLS record

# Admission: connections before authentication, by how far they came (server.admission). When a rank is full, one of it
# gives way to the newcomer. Fewer, in proportion, where the process may not have twice as many descriptors.
PLACES_SILENT: Final = 8192  # a descriptor each: at 5,000 bare connects a second one stays for a second and a half
PLACES_TLS: Final = 1024  # 40 KiB each, like the next ones; a second's handshakes of the one thread that makes them
PLACES_UNPROVEN: Final = 1024  # TLS is done, and no greeting came yet
PLACES_GREETING: Final = 256  # a greeting's first Enc opened, and the rest of it has not come
PLACES_RESUME: Final = 256  # the same of a RESUME
PLACES_HEARD: Final = 32  # a thread each, like the next ones; these wait for a core, so the next one waits for a place
PLACES_NAMED: Final = 64  # of clients that are authorised, until they have their session
PLACES_RESUMING: Final = 128  # many come at once when a network is back; with the server's own, threads stay below 320
PLACES_VISITS: Final = 512  # HTTP, or what the decoy serves: two descriptors and 128 KiB each, and nginx has as many
AHEAD: Final = 128  # connections to the decoy for who is not known yet: then the oldest is closed, and at as many
# who wait, the next ones get theirs only when their TLS has its turn
PLACES_SHARES: Final = 16  # a source that has more than such a part of a full rank gives way first
PLACES_PICKED: Final = 4  # so many at random are compared
SAID: Final = 60.0  # how often the log says that places are scarce, or that the decoy cannot be reached
ACCEPTED_AT_ONCE: Final = 4096  # connections taken from the kernel before anything else is done: all that wait there
BEHIND: Final = 0.3  # seconds: whoever waits for longer to go on waits behind newer ones, which still are in time
STALE: Final = 0.5  # whoever waits for so long is closed: a client tries again, and fares better
READ_MOST: Final = 0.02  # seconds of a core for one read of a stranger, or in the tarpit: then it is broken off
READ_LOOK: Final = 0.05  # how often that is looked at
GOODBYE: Final = 1.0  # seconds that close_notify may take: beyond it the connection is broken off
TURN: Final = 0.01  # seconds of a core for handshakes before the kernel is asked for connections again

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

# What a peer can make this side hold or run, and what happens at each bound (docs/security.md shows it as a table, with
# the test that goes there). Of a session, at client and server:
STREAMS: Final = 1024  # with ones that are over and not delivered, and look-ups given up: REFUSED 1
KEPT_BYTES: Final = 16 << 20  # numbered frames not acknowledged: no local socket is read; at twice as much ABORT 5
KEPT_FRAMES: Final = 65_536  # the same, counted
WINDOW_GROWN: Final = 16 << 20  # of a stream, what may come unasked: no more (160 MB/s at 100 ms); beyond it ABORT 5
PROMISES: Final = 64 << 20  # by so much the windows of a session grow together: then they grow no more
LINGER: Final = 60.0  # what a stream that is over still has to deliver makes no progress: then its socket is reset
LINGER_MOST: Final = 3600.0  # and what makes progress is delivered for so long behind the end of its session
LOOKUPS_PER_SESSION: Final = 64  # names being looked up, at a server; a browser asks for a dozen at once: REFUSED 1
LISTENERS: Final = 256  # at a server: LISTENING 1
RACING: Final = 8  # sockets of one dial; the oldest, which had 2 s by then, gives way to the next
# Of a client, over its sessions at a server. It gets less where it would hold more than what is free (session.shares):
SESSIONS_PER_CLIENT: Final = 64  # the one longest without a connection ends; with none, refusal 3
DELIVERING: Final = 64  # its sessions that are over and still deliver, each in a thread: the oldest delivers no more
# In all, at a server:
SESSIONS_IN_ALL: Final = 4096  # or a 20th of the descriptors; as SESSIONS_PER_CLIENT. Each takes two threads
STREAMS_IN_ALL: Final = 65_536  # or half of the descriptors: REFUSED 1. The last quarter of these is not for dials
LISTENERS_IN_ALL: Final = 1024  # or a 16th of the descriptors: LISTENING 1. Each takes a descriptor, or two
RESOLVERS: Final = 32  # threads that look names up; further names wait for one
LOOKUPS: Final = 1024  # names being looked up or waiting for it: REFUSED 1
CARRIED: Final = 256 << 20  # bytes of bodies held, of all carriers: beyond it only what is next of each is read
REQUESTS: Final = 16  # of one carrier, each way, not answered: three times what is under way; beyond it 403
IDS_WAITING: Final = 256  # ids whose up 0 has not come, in all: further requests go to the decoy
CARRIERS: Final = 8192  # with those that are over and answer repeats: further ones go to the decoy
HELD: Final = 2 << 30  # bytes held: the largest session of the client that holds most gets ABORT 5
HELD_LOOK: Final = 0.5  # how often that is looked at
KEPT_COST: Final = 100  # of these for each frame kept, and
STREAM_COST: Final = 2048  # for each stream: what Python takes for them
WARNINGS: Final = 20  # log lines a second, warnings or worse, behind WARNINGS_AT_ONCE: the others are only counted
WARNINGS_AT_ONCE: Final = 200
FAILING: Final = 1024  # sources of failed logins that are told apart; each takes some 200 bytes
FAILURES_COUNTED: Final = 60.0  # s within which further failed logins of a source are counted, and told in one line

# Streams and acknowledgements (protocol 5).
ACK_BYTES: Final = 1 << 20
ACK_FRAMES: Final = 64
ACK_DELAY: Final = 0.1
ACK_RIDES: Final = 16  # so many numbered frames received make an ACK ride with what leaves anyhow
ACK_ROWS: Final = 5_000  # limits in one ACK; it must fit a frame
DATAGRAMS_IDLE: Final = 60.0  # without a datagram either way a stream of them ends (UD4)
DATAGRAMS_LINGER: Final = 5.0  # behind the end of stdin `connect udp:` waits so long for further answers
ASSOCIATIONS: Final = 64  # of applications at -D, for datagrams: further ones are told so
FLOWS: Final = 512  # of datagrams, at whoever opens streams for them, half of STREAMS: the one silent longest ends
DATAGRAMS_HELD: Final = 64  # of a stream, while its target is dialled; the others are dropped
DIAL_TARGET: Final = 20.0  # per target, all its addresses together: then REFUSED 6
NAME_MAX: Final = 255  # bytes of a host name in OPEN
SOCKET_MODE: Final = 0o600  # of the unix sockets that `forward` makes, as ssh has it
PATH_MAX: Final = 107  # bytes of a path in OPEN: what a unix address takes
SOCKS_LOGIN: Final = 255  # bytes of a user, and of a password, in SOCKS5 (RFC 1929, 2)
TEXT_MAX: Final = 1024  # bytes of a text for people
ROUND_TRIP: Final = 0.02  # seconds that one takes until it was measured, and at least for the growth of windows

# Fairness (protocol 5): on a slow line frames are small, and little waits unsent in the kernel.
PACE_FIRST: Final = 8 * 1024  # before anything was measured
PACE_LEAST: Final = 1024
PACE_MOST: Final = 64 << 20  # more is no bound: nothing is so long unsent

# Rates of a client, in its file.
RATE_LEAST: Final = 1 << 10  # bytes a second; on less, people would think that nothing works
RATE_MOST: Final = 1 << 40  # more than any line has
RATE_SAVED: Final = 1.0  # seconds of a rate that was not used, which may pass at once: a page comes whole, or
RATE_SAVED_LEAST: Final = 64 << 10  # bytes, where that is more: a full frame
RATE_TURN: Final = 1 / 64  # seconds of a rate that one stream may use before others have their turn, or
RATE_TURN_LEAST: Final = 1 << 10  # bytes, where that is more
RATE_LITTLE: Final = 128  # bytes that a stream which sends little is thought to have, as a keystroke and its echo
RATE_PAUSE: Final = 0.002  # seconds between two looks at who may go on

# Liveness and release (protocol 5).
HEARTBEAT_JITTER: Final = 0.3
SILENT_PERIODS: Final = 3
FRAME_TIME: Final = 120.0  # that one frame may take: a line of 4.4 kbit/s moves the largest so
FRAME_WHOLE: Final = 5.0  # one that is not whole by then, and came more slowly than FRAME_RATE, has a wrong length
FRAME_RATE: Final = 6_500  # bytes a second: a line of 64 kbit/s, less what TCP and TLS add
FRAME_SILENCE: Final = 4.0  # without a byte, within a frame: the server ends the connection; a client doubts after D
FRAME_DOUBLED: Final = 3600.0  # all three double with each time that they were over, for so long: a line may be slower
RELEASE: Final = 5.0
FAREWELL: Final = 0.5  # behind RELEASE: an ABORT 4 has that long to leave
DRAIN: Final = 30
SILENT: Final = 1.5  # heartbeats without a byte: the connection did not end just now, but then
TRIED: Final = 30.0  # seconds that a client tries to reconnect at least, however long the silence was
OUTAGE_TOLD: Final = 2.0  # seconds behind which people are told that a connection is lost
BACKOFF_FIRST: Final = 0.1
BACKOFF_MAX: Final = 10.0
LIVED: Final = 1.0  # seconds: a connection that was of use for none of them is not replaced at once, but within these

# Doubt (protocol 5): D lies between these; a frame that is under way for longer than the latter is none on a slow line.
DOUBT_LEAST: Final = 1.0
DOUBT_MOST: Final = 120.0
DOUBT_MARKS: Final = 256

# Sessions (one program).
SESSIONS: Final = 4  # of one client program, unless --sessions says otherwise
SESSIONS_MAX: Final = 16
STREAMS_EACH: Final = 128  # a session that carries as many has the next one made, ahead of need
BULK: Final = 1 << 20  # bytes a second from which on a session moves bulk: others get the new streams
BULK_LOOK: Final = 1.0  # how often that is looked at
REVOKED: Final = 4.0  # how often a server looks at all of clients.d: who is revoked there has 5 s with the look itself
LISTED_AGAIN: Final = 0.5  # a file or directory, changed so recently, is looked at again: clocks of stamps are late
DESCRIPTORS: Final = 256  # of a program that carries streams; with fewer it warns: a session has 5, each stream one
RENEWING: Final = 8.0  # a certificate and its key that cannot be used for so long are told: both were written by then
SEEN_AGAIN: Final = 60.0  # after this time it is written down again that a client is there
EXPIRES_SOON: Final = 14 * 86_400.0  # before a certificate expires it is warned of
EXPIRES_SAID: Final = 86_400.0  # and how often
IDLE: Final = 300.0  # all sessions without a stream for so long but one are released
GREET_AGAIN: Final = 5.0  # a new local connection waits that long for greetings that are cut, a few attempts

# Files (protocol 7). What is larger or deeper is no key file: it is refused before it is parsed.
FILE: Final = 16 << 10  # bytes; a client file has 4.4 KB and its rules, of which some hundreds fit
FILE_NESTED: Final = 2  # brackets in brackets, as in [[table]]; key files have one

# Buffers. 65,512 bytes of DATA make a frame of 65,536: four full TLS records, no fifth one of 20 bytes.
SLOT: Final = wire.PLAIN_MAX
FRAME_FULL: Final = 65_536
DATA_SIZE: Final = FRAME_FULL - wire.FRAME_OVERHEAD - wire.DATA_HEAD
CONTROL_ROOM: Final = 4096  # in front of a turn's full frames
BATCH: Final = 4  # full frames that one turn of a loop seals or opens; eight are no faster
COPY_BELOW: Final = 32 * 1024  # smaller payloads are kept as copies of their size, so buffers take twice that at most
SLOTS_IDLE: Final = 64  # free buffers kept for reuse in one process: 4 MiB
PIPE: Final = 256 << 10  # what a pipe between a session and its carrier holds, each way: a full turn fits
DRAIN_BYTES: Final = 4 << 20  # read at most before a close, so that the kernel sends FIN and not RST

# Carriers (protocol 6).
BODY: Final = 512 * 1024  # most bytes of a body (HP1): common boxes refuse more than 1 MiB
BODY_LEAST: Final = 4096  # what is sent at least, however often 413 came (HP7); the first Enc needs 1.2 KB
UPS: Final = 4  # under way (HP3)
DOWNS: Final = 2  # under way (HP6)
PARKED: Final = 20.0  # a down without bytes is answered after that, or (HP5)
PARKED_JITTER: Final = 0.3  # this part more or less: three in a row stay below the 60 s of common proxies
UP_ANSWER: Final = 5.0  # or D, where that is more (HP4)
DOWN_ANSWER: Final = 30.0  # the longest parking is 26 s (HP6)
REPEATED: Final = 3  # times that a request which failed is sent again (HP7)
REPEATS: Final = 45.0  # an ended carrier answers repeats for so long: a down's time-out and half as much (HP8)
CARRIER_IDLE: Final = 130.0  # without a request, a server drops a carrier: four time-outs of a down (HP8)
WAITING: Final = 8  # requests of an id until its handshake is done, also before up 0 (HP9): 2 downs, 4 ups, repeats
WAITING_TIME: Final = 10.0  # seconds that they wait (HP9)
PREFIX: Final = 255  # characters of a path in front of tokens
HEAD: Final = 16 * 1024  # bytes of a request's or an answer's head (D2)
HEAD_TIME: Final = 10.0  # seconds since accept until the first one is whole (D2)
BODY_TIME: Final = 60.0  # seconds without a byte of a body that was announced, to a server: as nginx waits by default
CHUNKS_READ: Final = 4096  # bytes of chunks that are looked at together: 64 to 700 of them, 1 to 10 ms
CHUNKS_SMALL: Final = 64  # so many pieces of chunks in a body may be small: they end with a read, too. Behind them
CHUNK: Final = 64  # bytes each has at least on average; else the framing counts as ambiguous
JUDGED: Final = 0.005  # seconds of a core for what came of one visit before the others have their turn
MESSAGE: Final = 1 << 20  # bytes of a WebSocket message (WS2)
CARRIER_PATIENCE: Final = 3.0  # or four round trips: then a client's `auto` tries the next carrier (CA5)
STRANGLED: Final = 3  # connections in a row that were lost: then it is another carrier's turn
STRANGLED_LIVED: Final = 60.0  # seconds within which each of these was
STRANGLED_BYTES: Final = 2048  # as many were to go over it at least, or were seen of what came
STRANGLED_FRAMES: Final = 4  # and fewer came whole
CARRIER_KNOWN: Final = 86_400.0  # so long what worked is tried first: a better one may have been blocked for an hour
CARRIERS_KNOWN: Final = 64  # servers and networks of which that is remembered, in memory and in its file
MESSAGE_PIECE: Final = 256 * 1024  # what one of ours takes: a turn of full frames, nearly
MESSAGES_EMPTY: Final = 256  # frames without a byte of the stream, one after another: pings of a box, minutes apart
COOKIE: Final = 4096  # bytes of one cookie, and
COOKIES: Final = 50  # cookies of one server: what browsers keep at least (RFC 6265, 6.1), while all of them have
COOKIES_BYTES: Final = 4096  # at most: servers refuse heads that have many times as much
INTERIM: Final = 16  # heads (100 Continue and the like) before an answer: beyond them it is none
EXCHANGES: Final = 4  # connections to a server for ups; each carrier that parks downs has two more, and one is spare
EXCHANGE_IDLE: Final = 50.0  # a connection without a request is closed: below the 60 s of common proxies
EXCHANGE_UNUSED: Final = 8.0  # one that never had any: a server waits for its first for HEAD_TIME, and answers no later
LIVELY: Final = 5.0  # seconds in which two answers with bytes, or one of LIVELY_BYTES, have two downs: else one
LIVELY_BYTES: Final = 16 << 10  # a heartbeat has less; so an idle carrier costs half of the requests

# Carriers at a server.
GATHER: Final = 0.005  # seconds that an answer may wait for more bytes (HP5), and
GATHER_FROM: Final = 16 << 10  # it does so only behind one of so many: a keystroke does not wait

# The decoy (protocol 3.6): connections that are HTTP, or that it serves since they are not ours.
DECOY_DIAL: Final = 3.0  # seconds until it has to be connected; beyond them it is as if there were none
PATIENCE: Final = 60.0  # with a decoy: until TLS is done, as nginx waits by default
QUIET: Final = 0.005  # who said nothing so long behind TLS goes to the web thread, which sees when the decoy ends that
RELAYED: Final = 64 * 1024  # bytes that wait in each direction: beyond them no more is read
HELD_OPEN: Final = 60.0  # an end of the decoy's is passed on, and the rest of the connection kept so long
TIMED_OUT: Final = 0.5  # a web server that closes later than this amid a request has waited in vain: without a word
NUDGED: Final = (0.02, 0.2)  # seconds behind a byte that came too late, when its reset is looked for
KEPT_ALIVE: Final = 75.0  # without a request a connection is closed then, as common servers do

# Dialling, at the client and at the server (RFC 8305).
STAGGER: Final = 0.25  # an address without an answer for that long gets company by the next one (RFC 8305, section 5)
STAGGER_TLS: Final = 2.0  # the same for an address that connected and whose TLS is not done: slow lines need a second
REMEMBERED: Final = 1024  # names whose working address is remembered; the one not used for longest is forgotten
REMEMBERED_AGE: Final = 600.0  # after that the first address of a name gets its chance again
BUSY_AGAIN: Final = 0.05  # a unix socket whose backlog is full is tried again after that, until DIAL_TARGET
RESOLVERS_IDLE: Final = 10.0  # a thread without a name to look up ends after that

# What a proxy on the way may answer before it opens the way.
PROXY_HEAD: Final = 16_384  # bytes of one head
PROXY_BODY: Final = 65_536  # what it says beside it; longer ones are not read, and a new connection is made
PROXY_ASKED: Final = 8  # requests of one dial: Negotiate takes up to four, a stale nonce one more

# Doctor (one program): each thing that it looks at has DIAL, or these.
COMPANY: Final = 1.0  # other addresses of a name have that long behind the first; and so has the end of a session
ASKED: Final = 5  # questions for the round trip, of which the shortest counts
POURED: Final = 3.0  # seconds of bytes for --speed
ECHO_FIRST: Final = 3.0  # what is said to echo has so long for its first bytes
DAY: Final = 86_400  # seconds of --drain, --redial, --idle and --age, at most

# Words of others in our lines (facts.words): what is longer is cut, and ends with "…".
WORDS: Final = 400  # characters of what a peer or a file says: a host name, which has 255 at most, and a reason
QUOTED: Final = 80  # of what is said again between quotes: a word that is none here, the issuer of a certificate
LINE: Final = 2048  # of a whole line, whoever wrote it; a pipe takes it in one piece, so that lines are not mixed
