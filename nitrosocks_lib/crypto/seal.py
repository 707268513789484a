"""Sealer and Opener: one direction of frames each, into buffers of the caller (protocol 4)."""

from __future__ import annotations

from struct import Struct

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher, CipherContext
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR

from ..facts import wire
from ..facts.errors import BadFrame
from ..facts.limits import KEY_BYTES, KEY_FRAMES
from .schedule import CLIENT_TO_SERVER, FrameKeys, frame_keys
from .secret import Secret

_BATCH = 256  # masks drawn at once: 768 bytes, a whole number of AES blocks
_ZEROS = bytes(wire.LENGTH * _BATCH)
_MASK = Struct(">BH")  # one of three bytes
_NONCE = 12
_NOTHING = bytes(4096)  # long enough for the code that seals bulk


class _Direction:
    """Counter, nonce and masks that Sealer and Opener share. Their methods are the hot path: few calls, few slices."""

    __slots__ = ("_aead", "_iv", "_keystream", "_masks", "count", "volume")

    def __init__(self, keys: FrameKeys) -> None:
        self.rekey(keys)

    def rekey(self, keys: FrameKeys) -> None:
        """Starts anew under these keys (protocol 5, Refresh)."""
        self._aead = AESGCM(keys.key)
        self._iv = int.from_bytes(keys.iv, "big")
        self._keystream: CipherContext = Cipher(AES(keys.mask), CTR(bytes(16))).encryptor()
        self.count = 0  # frames under this key
        self.volume = 0  # plaintext bytes under this key
        self._draw_masks()

    def forget(self) -> None:
        """Drops the keys, which OpenSSL clears; `count` and `volume` stay. Nothing is sealed or opened any more."""
        del self._aead, self._keystream
        self._iv = 0
        self._masks.clear()

    def _draw_masks(self) -> None:
        """The masks of the frames from `count` on, which is a multiple of the batch."""
        self._masks: list[int] = [high << 16 | low for high, low in _MASK.iter_unpack(self._keystream.update(_ZEROS))]

    def _used(self, size: int) -> None:
        self.volume += size
        self.count += 1
        if self.count % _BATCH == 0:
            self._draw_masks()

    def _check_wear(self, size: int) -> None:
        """Raises BadFrame when the key may not be used for this frame; the reconnection brings a new one."""
        if self.count >= KEY_FRAMES or self.volume + size > KEY_BYTES:
            raise BadFrame("the frame key is worn out")


class Sealer(_Direction):
    """Owned by the outbound thread."""

    __slots__ = ()

    def seal(self, plain: bytes | bytearray | memoryview, out: memoryview) -> int:
        """Writes the frame of `plain` (type ‖ payload) into `out`; returns its size. BadFrame for a worn-out key."""
        size, count = len(plain), self.count
        assert 1 <= size <= wire.PLAIN_MAX, "outbound makes no other frames"
        self._check_wear(size)
        out[: wire.LENGTH] = (size ^ self._masks[count % _BATCH]).to_bytes(wire.LENGTH, "big")
        end, nonce = wire.FRAME_OVERHEAD + size, (self._iv ^ count).to_bytes(_NONCE, "big")
        self._aead.encrypt_into(nonce, plain, size.to_bytes(wire.LENGTH, "big"), out[wire.LENGTH : end])
        self._used(size)
        return end


class Opener(_Direction):
    """Owned by the inbound thread. A frame that does not open ends the connection, and the use of this object."""

    __slots__ = ()

    def frame_size(self, head: bytes | bytearray | memoryview) -> int:
        """Bytes of the whole frame that begins with these three; raises BadFrame when the length is out of range."""
        size: int = int.from_bytes(head, "big") ^ self._masks[self.count % _BATCH]
        if not 1 <= size <= wire.PLAIN_MAX:
            raise BadFrame("a frame's length is out of range")
        return size + wire.FRAME_OVERHEAD

    def open(self, frame: memoryview, out: memoryview) -> int:
        """Opens one whole frame into `out`; returns the size of type ‖ payload. After BadFrame `out` holds rubbish."""
        size = len(frame) - wire.FRAME_OVERHEAD
        assert 1 <= size <= wire.PLAIN_MAX, "the caller asked frame_size"
        self._check_wear(size)
        nonce = (self._iv ^ self.count).to_bytes(_NONCE, "big")
        try:
            self._aead.decrypt_into(nonce, frame[wire.LENGTH :], size.to_bytes(wire.LENGTH, "big"), out[:size])
        except InvalidTag:
            raise BadFrame("a frame does not open") from None
        self._used(size)
        return size


def overwrite_used() -> None:
    """Does once with worthless keys what this thread did with secret ones: at its end, or behind a key of another.

    The processor's registers still hold round keys then, and the last calls of a thread save them on its stack, which
    stays as it is until another thread gets it. Takes 50 µs.
    """
    sealer = Sealer(frame_keys(Secret(wire.HASH), CLIENT_TO_SERVER, wire.EncryptType.AES_256_GCM))
    sealer.seal(_NOTHING, memoryview(bytearray(len(_NOTHING) + wire.FRAME_OVERHEAD)))
