# SPDX-License-Identifier: Apache-2.0
"""The host's side of the frame mode: requests that are answered once however often the line loses something."""

from __future__ import annotations

import hashlib
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from joulet.errors import LinkError
from joulet.link import signing, wire
from joulet.link.frames import Frame, FrameReader, encode
from joulet.link.ops import ops_lacking
from joulet.link.port import Port, open_port
from joulet.link.recovery import ask_for_frames, recover

_M = wire.CODES["Message"]
_AGAIN_S = 1.0  # a request is sent again after this long without an answer
_TRIES = 6
_COMPUTE_S = 120.0  # longest that a board may compute, or erase flash, before it answers
_STALE_S = 0.8e-6 * wire.SILENCE_US  # after this long the board may be back in ASCII
_LAST_SEQUENCE = 0xF000
_MOST_BYTES = 16_384  # that may come without an answer among them before a request is sent again
_STATUS = {
    -1: "an argument is out of range, or it does not fit the board's memory",
    -6: "a checksum does not match",
    -20: "the path needs a section that is not on the board, or is a float path (boards run integers), or this board's firmware "
    "has no front end for sound",
    -21: "nothing is loaded, or the order of requests is wrong",
    -22: "the other path differs in what has already run",
    -23: "no policy that fits the model",
    -24: "the bytes are not those that their digest was made of",
    -25: "this firmware takes updates only when they are signed with its key",
    -26: "this firmware was built for another model and lacks an op, or the kernel for one; joulet build MODEL and joulet "
    "flash bring both, and joulet build --kernels all makes a firmware that takes any model",
    -27: "ops that run in bands do not follow each other, or hold too few rows",
    -29: "a sparse copy of weights leaves its bounds, or no kernel reads it",
    -30: "the border between two memories lies inside a tensor or scratch, or beyond the arena",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Hello:
    """Who answers: fields of HelloReply, PROTOCOL.md §4.

    ``model_side`` and ``policy_side`` are A or B; ``model_other`` and ``policy_other`` say whether :meth:`Board.rollback`
    would find something that runs. ``ops`` has a bit for each OpCode that the firmware has kernels for; 0 where it does not say.
    """

    build_id: bytes
    model_hash: str
    board: str
    clock_hz: int
    tick_hz: int
    caps: frozenset[str]
    work_bytes: int
    arena_bytes: int
    model_status: int
    policy_status: int
    resets: int
    window: int
    model_side: str
    model_other: bool
    policy_side: str
    policy_other: bool
    ops: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Reached:
    """An exit that a board has reached; counts are since START, ``cycles`` 0 where the core has no counter."""

    exit: int
    path: int
    confidence_q15: int
    margin: int
    macs: int
    cycles: int
    ticks: int


class Board:
    """A board in frame mode. Make one with :func:`connect`.

    Attributes
    ----------
    hello
        What it said when it was greeted.
    events
        Called with each frame that nobody asked for.
    resent
        Requests that had to be sent again.
    """

    def __init__(self, port: Port) -> None:
        self._port = port
        self._reader = FrameReader()
        self._frames: list[Frame] = []
        self._sequence = 0
        self._conversation = time.time_ns() & 0xFFFF_FFFF | 1
        self._answered_s = time.monotonic()
        self.resent = 0
        self.events: Callable[[Frame], None] = lambda frame: None
        self.hello = self.greet()

    # requests

    def greet(self) -> Hello:
        """Say HELLO; return who answers."""
        hello = self._pack("Hello", conversation=self._conversation)
        record = self._record("HelloReply", self.request("HELLO", hello).payload)
        caps = int(record["caps"])
        self.hello = Hello(
            build_id=bytes(record["build_id"]),
            model_hash=bytes(record["model_hash"]).hex(),
            board=bytes(record["board"]).rstrip(b"\0").decode("ascii", "replace"),
            clock_hz=int(record["clock_hz"]),
            tick_hz=int(record["tick_hz"]),
            caps=frozenset(name for name, bit in wire.CODES["Cap"].items() if caps & bit),
            work_bytes=int(record["work_bytes"]),
            arena_bytes=int(record["arena_bytes"]),
            model_status=int(record["model_status"]),
            policy_status=int(record["policy_status"]),
            resets=int(record["resets"]),
            window=max(1, min(int(record["window"]), wire.WINDOW)),
            model_side="AB"[int(record["model_side"]) & 1],
            model_other=bool(record["model_other"]),
            policy_side="AB"[int(record["policy_side"]) & 1],
            policy_other=bool(record["policy_other"]),
            ops=int(record["ops"]),
        )
        return self.hello

    def bye(self) -> None:
        """Send the board back to ASCII.

        Raises
        ------
        LinkError
            If nothing answers any more.
        """
        if time.monotonic() - self._answered_s < _STALE_S:
            sequence = self._send("BYE", b"")
            for _ in range(_TRIES):
                frame = self._next_frame(_AGAIN_S)
                if frame is None:
                    break
                if frame.sequence == sequence and frame.type == _M["BYE"] | wire.REPLY:
                    return
        recover(self._port, _AGAIN_S)  # it may have left: what is in ASCII must get no more frames

    def start(self, path: int, marks: int = 0) -> None:
        """Begin an inference with the input that was uploaded; ``marks`` are Mark bits of the wire."""
        self.request("START", self._pack("Start", path=path, marks=marks))

    def step(self, exit: int) -> Reached:
        """Run to an exit."""
        return self._reached(self.request("STEP", self._pack("Step", exit=exit), _COMPUTE_S))

    def infer(self, path: int, exit: int | None, marks: int = 0) -> Reached:
        """Run one inference to an exit, or with None until its confidence suffices; ``marks`` as for :meth:`start`."""
        payload = self._pack("Infer", path=path, exit=255 if exit is None else exit, marks=marks)
        return self._reached(self.request("INFER", payload, _COMPUTE_S))

    def switch(self, path: int) -> None:
        """Continue along another path."""
        self.request("SWITCH", self._pack("Switch", path=path))

    def answer(self, n_bytes: int | None = None) -> bytes:
        """Return the answer of the exit reached; knowing its size saves a question."""
        return self.read("ANSWER", n_bytes)

    def ledger(self) -> np.void:
        """Return the board's own ledger, a LedgerRecord."""
        record = wire.dtype("LedgerRecord")
        return self._record("LedgerRecord", self.read("LEDGER", record.itemsize))

    def firmware(self) -> tuple[int, int, int, int]:
        """Return (address, bytes, CRC-32) of what lies where the firmware should, and the status of the model, read anew."""
        record = self._record("FirmwareCheck", self.read("FIRMWARE", wire.dtype("FirmwareCheck").itemsize))
        return int(record["address"]), int(record["bytes"]), int(record["crc32"]), int(record["model_status"])

    def sensors(self) -> np.void:
        """Return what the board's sensors say, a Sensors record."""
        record = wire.dtype("Sensors")
        return self._record("Sensors", self.read("SENSORS", record.itemsize))

    def label(self, label: int, event: int = wire.ANY_EVENT) -> None:
        """Tell what an inference should have answered: the last one, or that of an event of the session.

        Raises
        ------
        LinkError
            If the firmware fits no head again, or that inference is over, or did not come by the exit that is fitted.
        """
        self.request("LABEL", self._pack("Label", index=event, label=label), _COMPUTE_S)

    def refit(self) -> tuple[np.void, bytes]:
        """Return (RefitState, the head that runs: bias, multipliers and shifts as i32, weights as i8)."""
        raw = self.read("REFIT")
        size = wire.dtype("RefitState").itemsize
        return self._record("RefitState", raw), raw[size:]

    def price(self, energy_q16: int, spend_q16: int) -> tuple[int, int]:
        """Return (worth, price) of energy in levels of the policy, in right answers times 2^gain_q."""
        reply = self.request("PRICE", self._pack("Price", energy_q16=energy_q16, spend_q16=spend_q16))
        record = self._record("PriceReply", reply.payload)
        return int(record["worth"]), int(record["price"])

    def run(self, go: bool) -> None:
        """Start or stop the autonomous loop."""
        self.request("RUN", self._pack("Run", go=int(go)))

    def pcm(self, samples: npt.NDArray[np.int16], grid: tuple[int, int, int], *, begin: bool) -> bool:
        """Stream 16 kHz PCM; the board makes features of it for its keyword model.

        Parameters
        ----------
        samples : ndarray
            ``(n,)`` int16, any number.
        grid : tuple of int
            (multiplier, shift, zero point) of the model's input; :func:`joulet.front.mfcc.grid_of` makes it.
        begin : bool
            Forget what came before.

        Returns
        -------
        bool
            Whether the input now holds the features of the last second.
        """
        ready = False
        data = np.ascontiguousarray(samples, "<i2")
        multiplier, shift, zero_point = grid
        for start in range(0, len(data), wire.CHUNK_BYTES // 2):
            head = self._pack(
                "Pcm", multiplier=multiplier, shift=shift, zero_point=zero_point, begin=int(begin and start == 0)
            )
            reply = self.request("PCM", head + data[start : start + wire.CHUNK_BYTES // 2].tobytes(), _COMPUTE_S)
            ready = bool(self._record("PcmReply", reply.payload)["ready"])
        return ready

    def read(self, what: str, total: int | None = None) -> bytes:
        """Read something whole; ``total`` is its size where the board wants to hear it [bytes]."""
        out = bytearray()
        code = wire.CODES["Read"][what]
        end = total
        while end is None or len(out) < end:
            n_bytes = 0 if end is None else min(wire.CHUNK_BYTES, end - len(out))
            payload = self._pack("Read", offset=len(out), bytes=n_bytes, what=code)
            reply = self.request("READ", payload).payload
            head = self._record("ReadReply", reply)
            if int(head["offset"]) != len(out) or len(reply) != head.dtype.itemsize + n_bytes:
                raise LinkError("the board answers a READ with another part")
            out += reply[head.dtype.itemsize :]
            end = int(head["total_bytes"])
        return bytes(out)

    def rollback(self, slot: str) -> Hello:
        """Go back to the MODEL or POLICY on the other side of its slot; return who answers from then on.

        Raises
        ------
        LinkError
            If there is no other side, or nothing on it that runs.
        """
        self.request("ROLLBACK", self._pack("Rollback", slot=wire.CODES["Slot"][slot]), _COMPUTE_S)
        return self.greet()

    def upload(
        self,
        slot: str,
        data: bytes,
        progress: Callable[[int, int], None] | None = None,
        *,
        sign: bytes | None = None,
    ) -> None:
        """Send bytes into a slot, go on where an earlier attempt stopped, and have them checked.

        A model or policy is used from then on; up to then, and when it is refused, the old one is, on boards with two sides.

        Parameters
        ----------
        slot : str
            INPUT, MODEL, POLICY, SAMPLES or SESSION.
        sign : bytes, optional
            Secret key, for firmware that was built with its public half.

        Raises
        ------
        LinkError
            If the slot does not take them, or the board finds them wrong; if its firmware lacks ops of a model, before anything
            is sent.
        """
        lacking = ops_lacking(data, self.hello.ops) if slot == "MODEL" else ()
        if lacking:
            raise LinkError(
                f"the firmware of board {self.hello.board} was built for another model and lacks the ops {', '.join(lacking)}; "
                f"joulet build MODEL --board {self.hello.board} and joulet flash bring both, and joulet build --kernels all "
                "makes a firmware that takes any model"
            )
        code = wire.CODES["Slot"][slot]
        begin = self._pack("Begin", bytes=len(data), crc32=zlib.crc32(data), slot=code)
        signature = signing.sign(sign, slot, data) if sign is not None else bytes(64)
        commit = hashlib.sha256(data).digest() + signature if slot != "INPUT" else b""
        done = self._progress(self.request("BEGIN", begin), slot)
        for _ in range(_TRIES):
            done = self._send_chunks(code, slot, data, done, progress)
            if done < len(data):  # it has gone silent: it may have been away
                done = self._progress(self.request("BEGIN", begin), slot)
                continue
            reply = self._record("Progress", self.request("COMMIT", commit, _COMPUTE_S).payload)
            if int(reply["status"]) == 0:
                return
            if int(reply["next"]) == len(data) or int(reply["status"]) != -21:
                break
            done = self._progress(self.request("BEGIN", begin), slot)
        else:
            raise LinkError(f"the {slot.lower()} has arrived up to byte {done:,} of {len(data):,}: the line is too bad")
        raise LinkError(f"the board does not take the {slot.lower()}: {_reason(int(reply['status']))}")

    def _send_chunks(
        self, code: int, slot: str, data: bytes, done: int, progress: Callable[[int, int], None] | None
    ) -> int:
        """Keep a window of chunks on their way, going back where one is lost; return how far it got before silence."""
        sent, silent = done, 0
        waiting: dict[int, int] = {}
        while done < len(data) and silent <= _TRIES:
            while sent < len(data) and len(waiting) < self.hello.window:
                chunk = data[sent : sent + wire.CHUNK_BYTES]
                sequence = self._send("CHUNK", self._pack("Chunk", offset=sent, slot=code) + chunk)
                sent += len(chunk)
                waiting[sequence] = sent
            frame = self._next_frame(_AGAIN_S)
            if frame is None:
                silent += 1
                self.resent += len(waiting)
                sent = done
                waiting.clear()
                continue
            if frame.type != _M["CHUNK"] | wire.REPLY or frame.sequence not in waiting:
                continue
            del waiting[frame.sequence]
            before, done = done, max(done, self._progress(frame, slot))
            silent = 0 if done > before else silent
            if progress is not None:
                progress(done, len(data))
            if not waiting and done < sent:
                sent, silent = done, silent + 1  # one was lost on the way, and all after it were out of order
        return done

    # machinery

    def request(self, name: str, payload: bytes = b"", timeout_s: float | None = None) -> Frame:
        """Send a request until it is answered; return the answer.

        Raises
        ------
        LinkError
            If no answer comes, or the board refuses.
        """
        if name != "HELLO" and time.monotonic() - self._answered_s > _STALE_S:
            self._reopen()
        if name != "HELLO" and self._sequence > _LAST_SEQUENCE:
            # numbers begin anew: what the board remembers must not be taken for one of them
            self._conversation = self._conversation % 0xFFFF_FFFF + 1
            self.greet()
            self._sequence = 0
        sequence = self._send(name, payload)
        raw = encode(Frame(_M[name], sequence, payload))
        frame = self._wait(name, sequence, raw, timeout_s)
        if frame is None and name != "HELLO":
            self._reopen()
            self._port.write(raw)
            frame = self._wait(name, sequence, raw, None)
        if frame is None:
            raise LinkError(f"the board does not answer {name} within {timeout_s or _AGAIN_S * _TRIES:g} s")
        if frame.type == _M["NACK"] | wire.REPLY:
            status = int(self._record("Nack", frame.payload)["status"])
            raise LinkError(f"the board refuses {name}: {_reason(status)}")
        return frame

    def _wait(self, name: str, sequence: int, raw: bytes, timeout_s: float | None) -> Frame | None:
        """Wait for the answer to a request, sending it again after silence; None when none comes."""
        end_s = time.monotonic() + (timeout_s or _AGAIN_S * _TRIES) - 0.5 * _AGAIN_S
        most = 4 * _TRIES + (timeout_s or 0)  # a virtual board is silent at once, a real one after a second
        silent = 0
        while True:
            frame = self._next_frame(_AGAIN_S)
            if frame is None:
                silent += 1
                if (silent >= _TRIES and time.monotonic() > end_s) or silent > most:
                    return None
                self.resent += 1
                self._port.write(raw)
            elif frame.sequence == sequence and frame.type in (_M[name] | wire.REPLY, _M["NACK"] | wire.REPLY):
                self._answered_s = time.monotonic()
                return frame

    def _reopen(self) -> None:
        """Bring the board back to frames: it may have returned to ASCII. What it remembers of requests stays."""
        ask_for_frames(self._port, 5.0)
        self._reader.clear()
        self._frames.clear()
        self.greet()

    def _send(self, name: str, payload: bytes) -> int:
        self._sequence = self._sequence % 0xFFFF + 1
        self._port.write(encode(Frame(_M[name], self._sequence, payload)))
        return self._sequence

    def _next_frame(self, timeout_s: float) -> Frame | None:
        """Return the next frame that answers something; None after silence."""
        end_s, n_bytes = time.monotonic() + timeout_s, 0
        while True:
            while self._frames:
                frame = self._frames.pop(0)
                if frame.type & wire.REPLY:
                    return frame
                self.events(frame)
            left_s = end_s - time.monotonic()
            if n_bytes > _MOST_BYTES or (n_bytes > 0 and left_s <= 0.0):
                return None
            data = self._port.read(4096, max(0.0, left_s))
            if not data:
                return None
            n_bytes += len(data)
            self._frames += self._reader.feed(data)

    def pump(self, timeout_s: float) -> bool:
        """Hear what the board tells of itself, for a while; False after silence."""
        data = self._port.read(4096, timeout_s)
        self._frames += self._reader.feed(data)
        while self._frames:
            self.events(self._frames.pop(0))
        return bool(data)

    def _pack(self, name: str, **values: int) -> bytes:
        record = np.zeros((), wire.dtype(name))
        for field, value in values.items():
            record[field] = value
        return record.tobytes()

    def _record(self, name: str, payload: bytes) -> np.void:
        dtype = wire.dtype(name)
        if len(payload) < dtype.itemsize:
            raise LinkError(f"the board answers with {len(payload)} bytes; a {name} has {dtype.itemsize}")
        record: np.void = np.frombuffer(payload, dtype, 1)[0]
        return record

    def _progress(self, frame: Frame, slot: str) -> int:
        record = self._record("Progress", frame.payload)
        if int(record["status"]):
            raise LinkError(f"slot {slot} does not take these bytes: {_reason(int(record['status']))}")
        return int(record["next"])

    def _reached(self, frame: Frame) -> Reached:
        record: Any = self._record("Reached", frame.payload)
        fields = ("exit", "path", "confidence_q15", "margin", "macs", "cycles", "ticks")
        return Reached(**{field: int(record[field]) for field in fields})


def _reason(status: int) -> str:
    return f"{_STATUS.get(status, 'the bytes do not pass its checks')} (status {status})"


def greet(port: Port, timeout_s: float = 5.0) -> Board:
    """Bring a board to frame mode.

    Raises
    ------
    LinkError
        If nothing answers, or the firmware is another one.
    """
    end_s = time.monotonic() + timeout_s
    for attempt in range(_TRIES):
        ask_for_frames(port, timeout_s)
        try:
            return Board(port)
        except LinkError:
            if attempt == _TRIES - 1 or time.monotonic() > end_s:
                raise
    raise AssertionError("unreachable")


@contextmanager
def connect(port: str | Port, *, baud: int = 115_200, timeout_s: float = 5.0) -> Iterator[Board]:
    """Open a line to a board, switch it to frames, and back to ASCII at the end.

    Parameters
    ----------
    port : str or Port
        A device or URL for pyserial, or an open line.

    Raises
    ------
    LinkError
        If the port cannot be opened or nothing of ours answers.
    """
    line = open_port(port, baud) if isinstance(port, str) else port
    try:
        board = greet(line, timeout_s)
        try:
            yield board
        finally:
            with suppress(LinkError):  # it is gone, or will be back in ASCII by itself after ten silent seconds
                board.bye()
    finally:
        if isinstance(port, str):
            line.close()
