"""Records a run over `raw` and one over `http` between two independent peers, in the form of vectors/ns1.json.

Keys, times and all random bytes of the peers are fixed; Seals, ML-DSA signatures and what threads do first are not, so
a run can be replayed on the receiving side only. Run it again to make vectors/carriers.json anew:

    python tests/support/record.py > tests/vectors/carriers.json
"""

import json
import random
import sys
import threading
from contextlib import ExitStack
from pathlib import Path
from unittest.mock import patch

import peer
import peer_judge
from recording import HOUR, NOW, Drawn, Http, Kept, Raw, Steps, Tap

KEPT = Path(__file__).parents[1] / "vectors" / "carriers.json"
SEED, CLIENT_SEED, TOKEN, CERTIFICATE = bytes([1]) * 32, bytes([17]) * 32, bytes([33]) * 32, bytes(range(32))
ADDRESS, WINDOW = "node3.example.org:8443", 65_536
UPS, DOWNS = (random.Random(seed).randbytes(9000) for seed in (1, 2))  # half before a reconnection, half behind it
ABOUT = """Recorded runs of NitroSocks/1 over the carriers raw and http, in the form of runs[] of ns1.json. One session:
a stream, a refresh, a frame that is lost with its carrier, RESUME over a new one, the release, the end of the carrier.
connections = of each carrier: stream = all bytes of a side, frames = what the other side read behind the handshake, in
order. Of http also requests and answers (status), in order, as each side saw them: an answer stands where the server
began to write it, and where the client had all of it; failed = the connection ended instead. what: 1 up, 2 down."""


class Client(Kept, peer_judge.Client): ...


class Server(Kept, peer_judge.Server): ...


class Run:
    """Both sides of it; `end` gives the record."""

    def __init__(self, encrypt_type: int, kind: type):
        self.encrypt_type, self.drawn, self.record = encrypt_type, Drawn(), {}
        self.S = peer.Server(None, SEED, {}).S
        self.carrier = kind(self.S)
        self.taps: dict[str, list[Tap]] = {"client": [], "server": []}
        self.sessions: dict = {}

    def tap(self, side: str, sock) -> Tap:
        self.taps[side].append(Tap(sock))
        return self.taps[side][-1]

    def client(self) -> None:
        first = self.tap("client", self.carrier.dial(0))
        client = Client(first, self.S, CLIENT_SEED, TOKEN, now=lambda: NOW, client_window=WINDOW)
        client.greet()
        self._began(client)
        number = client.open(7, "192.0.2.1")
        client.data(number, UPS[:4500])
        client.answered(number)
        assert client.gather(number, 4500) == DOWNS[:4500]
        client.read(lambda: client.epoch == 1)
        self.record["refresh"] = {"epoch_before": 0, "RK": client.rk.hex()}
        self.carrier.drop(first.sock)
        client.resume(self.tap("client", self.carrier.dial(1)))
        self._recovered(client)
        client.data(number, UPS[4500:])
        client.end(number)
        assert client.gather(number, 4500) == DOWNS[4500:]
        client.closed(number)
        client.read(lambda: not client.kept)
        client.release()
        self.carrier.end(client.sock.sock)
        assert client.sock.recv(1) == b""

    def server(self) -> None:
        first = self._arrival(0)
        first.accept()
        first.read(lambda: 1 in first.streams)
        first.opened(1, 7, "192.0.2.1")
        self.carrier.idle()
        first.data(1, DOWNS[:4500])
        assert first.gather(1, 4500) == UPS[:4500]
        first.read(lambda: not first.kept)
        first.refresh()
        first.read(lambda: first.epoch == 1)
        first.lose()
        first.data(1, DOWNS[4500:6000])
        second = self._arrival(1)
        second.accept()
        second.data(1, DOWNS[6000:])
        assert second.gather(1, 4500) == UPS[4500:]
        second.read(lambda: peer.C2S in second.streams[1].ended)
        second.end(1)
        second.read(lambda: second.over)
        assert second.sock.recv(1) == b""
        second.sock.close()

    def _arrival(self, number: int) -> Server:
        client = peer.Client(None, self.S, CLIENT_SEED, TOKEN)
        options = {"encrypt_type": self.encrypt_type, "address": ADDRESS, "certificate_hash": CERTIFICATE}
        return Server(
            self.tap("server", self.carrier.arrive(number)), SEED, {client.client_id: (client.public, TOKEN)},
            sessions=self.sessions, now=lambda: NOW, server_window=WINDOW, **options,
        )  # fmt: skip

    def _began(self, client: Client) -> None:
        e, following = self.drawn.kems()[:2]
        steps = client.t.steps
        texts = {"server_seed": SEED, "server_public": self.S, "client_seed": CLIENT_SEED, "token": TOKEN}
        texts |= {"client_public": client.public, "client_id": client.client_id, "knock": client.knock}
        texts |= {"R1": bytes.fromhex(steps[9]["input"])[:32], "proof": client.signed, "certificate_hash": CERTIFICATE}
        texts |= {"session_id": client.session_id, "hs": client.hs, "RK": client.rk, "RS": client.rs}
        self.record |= {"encryptType": client.encrypt_type, "hour": HOUR, **{k: v.hex() for k, v in texts.items()}}
        self.record |= {"ephemeral_raw": e, "next_ephemeral_raw": following, "server_ms": client.server_ms}
        stated = [client.server_window, client.resume_seconds, client.heartbeat]
        self.record |= {"address": client.address, "window_resume_heartbeat": stated, "steps": steps}

    def _recovered(self, client: Client) -> None:
        stated = {"j": client.j, "client_received": client.received, "server_received": client.stated}
        texts = {"hs": client.hs.hex(), "RK": client.rk.hex(), "ephemeral_raw": self.drawn.kems()[-2]}
        self.record["recovery"] = {**stated, **texts, "steps": client.t.steps}

    def end(self) -> dict:
        ups, downs = self.taps["client"], self.taps["server"]
        greeted = ups[0].messages("GREETING", "RESPONSE"), downs[0].messages("CHALLENGE", "SESSION")
        order = "GREETING", "CHALLENGE", "RESPONSE", "SESSION"
        self.record["messages"] = {name: (greeted[0] | greeted[1])[name] for name in order}
        self.record["recovery"]["messages"] = ups[1].messages("RESUME") | downs[1].messages("RECOVERED")
        connections = [
            {
                "client_stream": b"".join(up.said).hex(), "server_stream": b"".join(down.said).hex(),
                "client_frames": down.frames, "server_frames": up.frames, **self.carrier.events(number),
            }
            for number, (up, down) in enumerate(zip(ups, downs, strict=True))
        ]  # fmt: skip
        return {"carrier": self.carrier.name, **self.record, "connections": connections}


def record(encrypt_type: int, kind: type) -> dict:
    run = Run(encrypt_type, kind)
    with ExitStack() as stack:
        stack.callback(run.carrier.stop)
        for name, value in (("urandom", run.drawn), ("randbelow", run.drawn.below), ("Symmetric", Steps)):
            stack.enter_context(patch.object(peer, name, value))
        threads = [threading.Thread(target=each, name=each.__name__) for each in (run.client, run.server)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return run.end()


def records() -> dict:
    return {"about": ABOUT.replace("\n", " "), "runs": [record(1, Raw), record(2, Http)]}


if __name__ == "__main__":
    json.dump(records(), sys.stdout, indent=1)
    sys.stdout.write("\n")
