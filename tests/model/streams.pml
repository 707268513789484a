/* Streams x limits x reconnection x loss x duplication (docs/protocol.md, sections 3.5 and 5).
 *
 * Two peers, CLIENT and SERVER, one session, two streams: number 0 is opened by the client (OPEN), number 1 by the
 * server (ACCEPTED). On each the peers send some bytes, one in a DATA frame, then END. Instead, the answer may be
 * REFUSED, and a RESET may come at any time. In the end the client releases the session.
 *
 * A connection is a pair of queues of ROOM frames. At any time the client may leave it for the next one, in doubt or
 * because it was lost: what is under way to the client is gone. What is under way to the server can still be read,
 * until the server accepts a later RESUME: then the rest is gone. So any number of the last frames may be lost on either
 * side, a RESUME may arrive late, and a RESUME, a RECOVERED or the first ACK may be lost. What the server would write
 * to a connection that the client has left is as good as unread, and is not written. Once the client has sent
 * DISCONNECT, a cut may take what is under way, and nothing is resumed.
 *
 * No step can be undone, so every run ends. What must hold where nothing moves any more is in `init`, at the end of this
 * file; what must hold on the way are the assertions. Runs and their sizes, and the macros that break one rule each,
 * are in tests/long/model.py.
 */

/* Bytes of DATA that client and server send on stream 0 and on stream 1. */
#ifndef C0
#define C0 2
#endif
#ifndef S0
#define S0 2
#endif
#ifndef C1
#define C1 2
#endif
#ifndef S1
#define S1 2
#endif
#define UNITS(p, s) ((p) == CLIENT -> ((s) == 0 -> C0 : C1) : ((s) == 0 -> S0 : S1))
#ifndef TRIES
#define TRIES 2 /* attempts to reconnect */
#endif
#ifndef ROOM
#define ROOM 2 /* frames under way in each direction of a connection */
#endif
#ifndef RESETS
#define RESETS 1 /* at most so many, of both sides and streams together */
#endif
#ifndef REFUSALS
#define REFUSALS 1
#endif

#define KEPT 4 /* AK4: frames that a peer keeps; at this bound it does not read its local sockets */
#define WINDOW 1 /* FC2 */
#define WIDEST 2 /* FC4: what w may grow to */
#define FRAMES 12 /* numbered frames of one peer at most: an opening or an answer, DATA, END, RESET */
#define LINKS (TRIES + 1)

#define CLIENT 0
#define SERVER 1

/* A numbered frame is one byte: type, stream, and the number of the byte of DATA (of END: how many there were). */
#define CODE(type, stream, value) ((type) * 16 + (stream) * 8 + (value))
#define OPEN 1 /* or ACCEPTED */
#define OPENED 2
#define REFUSED 3
#define DATA 4
#define END 5
#define RESET 6

/* What else travels. */
#define NUMBERED 1   /* code */
#define ACK 2        /* received; limits of streams 0 and 1 (0: not stated) */
#define RESUME 3     /* received */
#define RECOVERED 4  /* received */
#define DISCONNECT 5

/* States of a stream at one peer. */
#define NONE 0
#define OPENING 1 /* we opened it; the answer is owed to us */
#define OWED 2    /* the other side opened it; we owe the answer */
#define FLOWING 3
#define OVER 4

chan link[2 * LINKS] = [ROOM] of { byte, byte, byte, byte };
#define OUT(p, at) link[(p) * LINKS + (at)]
#define IN(p, at) link[(1 - (p)) * LINKS + (at)]

byte tries;          /* the j of the client's last attempt; it has a connection of its own */
byte accepted;       /* the highest j that the server accepted */
byte stated;         /* `received` of the RESUME that it accepted */
bool moving;         /* RECOVERED went out; the first frame has not opened */
byte resets;
byte refusals;
bool calm;           /* from now on nothing is cut or reset: what stands still now would do so for ever */
bool torn[2];        /* streams that were refused or reset: they need not be whole */

/* Of each peer. */
byte at[2];          /* its connection */
bool up[2] = true;   /* frames may go and come on it */
bool first[2];       /* the first ACK of this connection is still to be sent */
bool released[2];
byte sent[2];        /* numbered frames, over all connections */
byte next[2];        /* the one to be sent next; below `sent`: sent again */
byte acked[2];       /* those that the other side acknowledged */
byte received[2];
byte told[2];        /* the last `received` that was sent in an ACK */
byte kept[2 * FRAMES];

/* Of each peer and stream. */
#define OF(p, stream) ((p) * 2 + (stream))
byte state[4];
bool ended[4];       /* our END was sent */
bool ending[4];      /* the other side's END came */
byte put[4];         /* bytes sent */
byte got[4];         /* bytes received */
byte took[4];        /* bytes that the local socket took */
byte limit[4];       /* how many we may send */
byte given[4];       /* how many the other side may send */
byte width[4];       /* w */
bool raised[4];      /* `given` is to be sent */

/* What a step computes and uses at once: no part of the state. */
hidden byte what, a, b, c, limit0, limit1, type, which, value, x;

#define CAN_WRITE(p) (at[p] == at[CLIENT] && len(OUT(p, at[p])) < ROOM)
#define CAN_NUMBER(p) (up[p] && !first[p] && !released[p] && next[p] == sent[p] && CAN_WRITE(p))
#define CAN_KEEP(p) (sent[p] - acked[p] < KEPT)
#define MAY_SEND(y) ((state[y] == FLOWING || state[y] == OPENING) && !ended[y])
#define MAY_SEND_DATA(p, s) (MAY_SEND(OF(p, s)) && put[OF(p, s)] < UNITS(p, s) && put[OF(p, s)] < limit[OF(p, s)])
#define MAY_RESET(y) ((state[y] == OPENING || state[y] == FLOWING) && !calm && resets < RESETS)
#define IDLE(p, s) (state[OF(p, s)] == OVER || state[OF(p, s)] == NONE)

inline write(p, frame, u, v, w) {
	OUT(p, at[p])!frame, u, v, w
}

inline number(p, code) {
	assert(sent[p] < FRAMES);
	kept[(p) * FRAMES + sent[p]] = code;
	write(p, NUMBERED, code, 0, 0);
	sent[p]++;
	next[p]++
}

inline begin(y, how) {
	state[y] = how;
	limit[y] = WINDOW;
	given[y] = WINDOW;
	width[y] = WINDOW
}

inline over(y) {
	state[y] = OVER;
	put[y] = 0;
	ended[y] = false;
	ending[y] = false;
	limit[y] = 0;
	given[y] = 0;
	width[y] = 0;
	raised[y] = false
}

inline free_kept(p, count) { /* by ACK, and by `received` of RESUME and RECOVERED (J9, J10, AK3) */
	assert(acked[p] <= count && count <= sent[p]);
	do
	:: acked[p] < count -> kept[(p) * FRAMES + acked[p]] = 0; acked[p]++
	:: else -> break
	od
}

inline drain(queue) {
	do
	:: len(queue) > 0 -> queue?_, _, _, _
	:: else -> break
	od;
	skip /* a d_step must not end with a jump */
}

/* The limits of an ACK: those that rose, and in the first one of a connection every one above the window (FC8). */
#ifdef LIMITS_NOT_RESTATED
#define STATED(p, x) (raised[x] -> given[x] : 0)
#else
#ifdef LIMITS_OF_ALL
#define STATED(p, x) ((raised[x] || first[p]) -> given[x] : 0)
#else
#define STATED(p, x) ((raised[x] || (first[p] && given[x] > WINDOW)) -> given[x] : 0)
#endif
#endif

inline acknowledge(p) {
	limit0 = STATED(p, OF(p, 0));
	limit1 = STATED(p, OF(p, 1));
	write(p, ACK, received[p], limit0, limit1);
	told[p] = received[p];
	raised[OF(p, 0)] = false;
	raised[OF(p, 1)] = false;
	first[p] = false
}

inline take_limit(y, to) {
	if
	:: to > 0 ->
		assert(state[y] != NONE); /* FC6: a limit of a stream that was never opened */
		if
		:: state[y] != OVER && to > limit[y] -> limit[y] = to
		:: else
		fi
	:: else
	fi
}

inline take_ack(p, count, on0, on1) {
	free_kept(p, count);
	take_limit(OF(p, 0), on0);
	take_limit(OF(p, 1), on1)
}

#ifdef ONE /* stream only */
#define OPENS(s) ((s) == 0)
#else
#define OPENS(s) true
#endif

#ifdef STUCK /* the server's local socket of stream 0 takes nothing, for ever */
#define TAKES(p, s) (!((p) == SERVER && (s) == 0))
#else
#define TAKES(p, s) true
#endif

inline take(y) { /* the local socket takes a byte: FC3, FC4 */
	took[y]++;
	if
	:: state[y] != OVER && !ending[y] && given[y] - took[y] <= width[y] / 2 ->
		width[y] = WIDEST;
		given[y] = took[y] + width[y];
		raised[y] = true
	:: else
	fi
}

/* A numbered frame arrives; what must not stand here is a violation (ST10). */
inline arrive(p, code) {
	type = (code) / 16;
	which = ((code) / 8) % 2;
	value = (code) % 8;
	x = OF(p, which);
#ifdef OVER_NOT_COUNTED
	if
	:: state[x] == OVER
	:: else -> received[p]++
	fi;
#else
	received[p]++;
#endif
	if
#ifdef OVER_NOT_IGNORED
	:: state[x] == OVER -> assert(false)
#else
	:: state[x] == OVER /* ST7 */
#endif
	:: else ->
		if
		:: type == OPEN ->
			assert(state[x] == NONE && which != p);
			begin(x, OWED)
		:: type == OPENED ->
			assert(state[x] == OPENING);
			state[x] = FLOWING
		:: type == REFUSED ->
			assert(state[x] == OPENING);
			over(x)
		:: type == DATA ->
			assert((state[x] == OWED || state[x] == FLOWING) && !ending[x]);
			assert(value == got[x]);     /* nothing lost, doubled or reordered */
			assert(got[x] < given[x]);   /* no limit passed */
			got[x]++;
#ifdef PROMPT /* the local socket takes it at once */
			if
			:: TAKES(p, which) -> take(x)
			:: else
			fi
#endif
		:: type == END ->
			assert((state[x] == OWED || state[x] == FLOWING) && !ending[x]);
			assert(value == got[x]);
			ending[x] = true;
			if
			:: ended[x] -> over(x)
			:: else -> raised[x] = false
			fi
		:: type == RESET ->
			assert(state[x] == OWED || state[x] == FLOWING);
			over(x)
		:: else -> assert(false)
		fi
	fi
}

/* What both peers do on a stream, each step at any time. */
inline stream_step(p, s) {
	if
	:: d_step { s == p && OPENS(s) && state[OF(p, s)] == NONE && CAN_NUMBER(p) ->
		begin(OF(p, s), OPENING);
		number(p, CODE(OPEN, s, 0)) }
	:: d_step { state[OF(p, s)] == OWED && CAN_NUMBER(p) ->
		state[OF(p, s)] = FLOWING;
		number(p, CODE(OPENED, s, 0)) }
	:: d_step { state[OF(p, s)] == OWED && CAN_NUMBER(p) && refusals < REFUSALS ->
		refusals++;
		torn[s] = true;
		over(OF(p, s));
		number(p, CODE(REFUSED, s, 0)) }
	:: d_step { MAY_SEND_DATA(p, s) && CAN_KEEP(p) && CAN_NUMBER(p) ->
		number(p, CODE(DATA, s, put[OF(p, s)]));
		put[OF(p, s)]++ }
	:: d_step { MAY_SEND(OF(p, s)) && put[OF(p, s)] == UNITS(p, s) && CAN_NUMBER(p) ->
		number(p, CODE(END, s, put[OF(p, s)]));
		if
		:: ending[OF(p, s)] -> over(OF(p, s))
		:: else -> ended[OF(p, s)] = true
		fi }
	:: d_step { MAY_RESET(OF(p, s)) && CAN_NUMBER(p) ->
		resets++;
		torn[s] = true;
		over(OF(p, s));
		number(p, CODE(RESET, s, 0)) }
	:: d_step { TAKES(p, s) && took[OF(p, s)] < got[OF(p, s)] -> take(OF(p, s)) }
	fi
}

#ifdef OVER_NOT_RESENT
#define GONE(p) (state[OF(p, (kept[(p) * FRAMES + next[p]] / 8) % 2)] == OVER)
#else
#define GONE(p) false
#endif

inline send_again(p) {
	if
	:: GONE(p)
	:: else -> write(p, NUMBERED, kept[(p) * FRAMES + next[p]], 0, 0)
	fi;
	next[p]++
}

#ifdef RESENT_FROM_ACKED
#define AGAIN_FROM(p, count) acked[p]
#else
#define AGAIN_FROM(p, count) count
#endif

inline attach(p, count) { /* on a new connection: J4, J10 */
	next[p] = AGAIN_FROM(p, count);
	free_kept(p, count);
	up[p] = true;
	first[p] = true
}

/* An ACK is due: the first one of a connection; for a limit; for two frames, and for one when no others leave (AK2). */
#define DUE(p) (first[p] || raised[OF(p, 0)] || raised[OF(p, 1)] || told[p] + 2 <= received[p] || \
	(told[p] < received[p] && IDLE(p, 0) && IDLE(p, 1)))
#define CAN_ACKNOWLEDGE(p) (up[p] && !released[p] && DUE(p) && CAN_WRITE(p))
#define CAN_SEND_AGAIN(p) (up[p] && !first[p] && !released[p] && next[p] < sent[p] && CAN_WRITE(p))

#ifdef RELEASED_UNACKNOWLEDGED
#define ALL_RECEIVED true
#else
#define ALL_RECEIVED (acked[CLIENT] == sent[CLIENT]) /* reading 10.33 */
#endif

#define CAN_RELEASE (state[OF(CLIENT, 0)] == OVER && IDLE(CLIENT, 1))

proctype client() {
end:	do
	:: d_step { CAN_ACKNOWLEDGE(CLIENT) -> acknowledge(CLIENT) }
	:: d_step { CAN_SEND_AGAIN(CLIENT) -> send_again(CLIENT) }
	:: stream_step(CLIENT, 0)
	:: stream_step(CLIENT, 1)
	:: d_step { len(IN(CLIENT, at[CLIENT])) > 0 ->
		IN(CLIENT, at[CLIENT])?what, a, b, c;
		if
		:: released[CLIENT]
		:: else ->
			if
			:: what == NUMBERED -> arrive(CLIENT, a)
			:: what == ACK -> take_ack(CLIENT, a, b, c)
			:: what == RECOVERED -> attach(CLIENT, a)
			:: else -> assert(false)
			fi
		fi }
	:: d_step { released[CLIENT] && len(OUT(CLIENT, at[CLIENT])) > 0 -> /* a cut: nothing is resumed, RL3 */
		drain(OUT(CLIENT, at[CLIENT])) }
	:: d_step { !calm -> calm = true }
	:: d_step { !calm && tries < TRIES && !released[CLIENT] -> /* J7 */
		drain(IN(CLIENT, at[CLIENT]));
		tries++;
		at[CLIENT] = tries;
		up[CLIENT] = false;
		first[CLIENT] = false;
		OUT(CLIENT, tries)!RESUME, received[CLIENT], 0, 0 }
	:: d_step { CAN_RELEASE && ALL_RECEIVED && CAN_NUMBER(CLIENT) -> /* RL1, RL4 */
		write(CLIENT, DISCONNECT, 0, 0, 0);
		released[CLIENT] = true }
	od
}

#ifdef OLDER_TRY_ACCEPTED
#define ACCEPTS(j) (j != accepted)
#else
#define ACCEPTS(j) (j > accepted)
#endif

inline accept(j) {
	OUT(CLIENT, j)?_, a, _, _;
	if
	:: ACCEPTS(j) && !released[SERVER] ->
		assert(acked[SERVER] <= a && a <= sent[SERVER]); /* J9 */
		if
		:: moving -> drain(OUT(CLIENT, accepted)) /* an attempt with a smaller j is dropped */
		:: else
		fi;
		accepted = j;
		stated = a;
		moving = true;
#ifndef OLD_CONNECTION_READ_ON
		up[SERVER] = false; /* J8 */
		first[SERVER] = false;
		drain(OUT(CLIENT, at[SERVER]));
#endif
		if
		:: j == at[CLIENT] -> OUT(SERVER, j)!RECOVERED, received[SERVER], 0, 0
		:: else
		fi
	:: else /* U8 */
	fi
}

inline reset_unanswered(s) { /* RL5 */
	if
	:: state[OF(SERVER, s)] == OPENING && s == SERVER -> torn[s] = true; over(OF(SERVER, s))
	:: else -> assert(state[OF(SERVER, s)] == OVER || (state[OF(SERVER, s)] == NONE && s == SERVER))
	fi
}

proctype server() {
end:	do
	:: d_step { CAN_ACKNOWLEDGE(SERVER) -> acknowledge(SERVER) }
	:: d_step { CAN_SEND_AGAIN(SERVER) -> send_again(SERVER) }
	:: stream_step(SERVER, 0)
	:: stream_step(SERVER, 1)
	:: d_step { up[SERVER] && len(IN(SERVER, at[SERVER])) > 0 ->
		IN(SERVER, at[SERVER])?what, a, b, c;
		if
		:: what == NUMBERED -> arrive(SERVER, a)
		:: what == ACK -> take_ack(SERVER, a, b, c)
		:: what == DISCONNECT -> reset_unanswered(0); reset_unanswered(1); released[SERVER] = true
		:: else -> assert(false)
		fi }
	:: d_step { OUT(CLIENT, 1)?[RESUME, _, _, _] -> accept(1) }
#if TRIES > 1
	:: d_step { OUT(CLIENT, 2)?[RESUME, _, _, _] -> accept(2) }
#endif
#if TRIES > 2
	:: d_step { OUT(CLIENT, 3)?[RESUME, _, _, _] -> accept(3) }
#endif
	:: d_step { moving && len(OUT(CLIENT, accepted)) > 0 -> /* the move: J1, J2 */
		OUT(CLIENT, accepted)?what, a, b, c;
		assert(what == ACK);
		moving = false;
		drain(OUT(CLIENT, at[SERVER]));
		at[SERVER] = accepted;
		attach(SERVER, stated);
		stated = 0;
		take_ack(SERVER, a, b, c) }
	od
}

/* Nothing moves any more: the network has stayed up long enough. */
inline whole(p, s) {
	assert(took[OF(p, s)] == got[OF(p, s)]); /* ST9: what came was delivered, torn or not */
	assert(torn[s] || got[OF(p, s)] == UNITS(1 - p, s));
	assert(torn[s] || state[OF(p, s)] == OVER)
}

init {
	atomic { run client(); run server() }
	timeout;
#ifdef STUCK
	assert(torn[0] || got[OF(SERVER, 0)] == (C0 < WINDOW -> C0 : WINDOW));
	assert(torn[0] || got[OF(CLIENT, 0)] == S0);
	assert(took[OF(CLIENT, 0)] == got[OF(CLIENT, 0)]);
	whole(CLIENT, 1);
	whole(SERVER, 1);
	assert(received[SERVER] == sent[CLIENT] && received[CLIENT] == sent[SERVER])
#else
	assert(released[CLIENT]);
	assert(received[SERVER] == sent[CLIENT]);
	whole(CLIENT, 0);
	whole(SERVER, 0);
	if
	:: state[OF(CLIENT, 1)] == NONE
	:: else -> whole(CLIENT, 1); whole(SERVER, 1)
	fi
#endif
}
