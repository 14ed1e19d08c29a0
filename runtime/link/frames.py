# SPDX-License-Identifier: Apache-2.0
"""Frames of the link: COBS(version, type, sequence, length, payload, CRC-16) and a zero byte. PROTOCOL.md §3.

Twin of csrc/link/frame.c. COBS: S. Cheshire and M. Baker, "Consistent overhead byte stuffing", IEEE/ACM Trans. Networking
7(2), 1999. The CRC is CRC-16/CCITT-FALSE, which is what :func:`binascii.crc_hqx` computes from 0xFFFF.
"""

from __future__ import annotations

import binascii
import struct
from dataclasses import dataclass

from joulet.errors import LinkError
from joulet.link import wire

_HEAD = struct.Struct("<BBHH")
_BODY_BYTES = wire.MAX_PAYLOAD + wire.FRAME_OVERHEAD
_STUFFED_BYTES = _BODY_BYTES + _BODY_BYTES // 254 + 1


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame: ``type`` is a Message code, with REPLY in answers; ``sequence`` is that of the request, 0 in events."""

    type: int
    sequence: int
    payload: bytes


def encode(frame: Frame) -> bytes:
    """Return a frame as it goes over the wire, its zero included.

    Raises
    ------
    LinkError
        If the payload is longer than a frame may be.
    """
    if len(frame.payload) > wire.MAX_PAYLOAD:
        raise LinkError(f"a frame holds {wire.MAX_PAYLOAD} bytes, not {len(frame.payload)}")
    body = _HEAD.pack(wire.VERSION, frame.type, frame.sequence, len(frame.payload)) + frame.payload
    return stuff(body + struct.pack("<H", binascii.crc_hqx(body, 0xFFFF))) + b"\0"


def stuff(data: bytes) -> bytes:
    """Return data without zero bytes (COBS)."""
    out = bytearray()
    runs = data.split(b"\0")
    for run in runs[:-1]:
        out += _blocks(run, last=False)
    return bytes(out + _blocks(runs[-1], last=True))


def _blocks(run: bytes, last: bool) -> bytes:
    """Return the blocks of a run without zeros; full ones stand for no zero, so a short one follows unless all ends."""
    whole = len(run) // 254 * 254
    out = b"".join(b"\xff" + run[at : at + 254] for at in range(0, whole, 254))
    if last and whole == len(run) > 0:
        return out
    return out + bytes([len(run) - whole + 1]) + run[whole:]


def unstuff(data: bytes) -> bytes | None:
    """Return what was stuffed; None when it was not."""
    out, at = bytearray(), 0
    while at < len(data):
        code = data[at]
        run = data[at + 1 : at + code]
        if code == 0 or len(run) != code - 1 or 0 in run:
            return None
        out += run
        at += code
        if code < 0xFF and at < len(data):
            out.append(0)
    return bytes(out)


def decode(stuffed: bytes) -> Frame | None:
    """Return the frame between two zeros; None when version, length or CRC are wrong."""
    body = unstuff(stuffed)
    if body is None or len(body) < wire.FRAME_OVERHEAD:
        return None
    version, type, sequence, length = _HEAD.unpack_from(body)
    payload = body[_HEAD.size : -2]
    if version != wire.VERSION or length != len(payload) or length > wire.MAX_PAYLOAD:
        return None
    if binascii.crc_hqx(body[:-2], 0xFFFF) != int.from_bytes(body[-2:], "little"):
        return None
    return Frame(type, sequence, payload)


class FrameReader:
    """Finds frames in a stream of bytes; what is between and broken is counted and dropped.

    Attributes
    ----------
    bad_frames
        Frames that were not whole or not right.
    """

    def __init__(self) -> None:
        self._held = bytearray()
        self.bad_frames = 0

    def feed(self, data: bytes) -> list[Frame]:
        """Take bytes; return the frames that they complete."""
        frames = []
        *ends, rest = data.split(b"\0")
        for end in ends:
            self._hold(end)
            frame = decode(bytes(self._held))
            if frame is not None:
                frames.append(frame)
            self.bad_frames += bool(self._held) and frame is None
            self.clear()
        self._hold(rest)
        return frames

    def _hold(self, part: bytes) -> None:
        self._held += part[: _STUFFED_BYTES + 1 - len(self._held)]  # one byte too long stays too long

    def clear(self) -> None:
        """Forget a frame that has begun."""
        self._held.clear()
