# SPDX-License-Identifier: Apache-2.0
"""ST's LPM01A as a program (UM2243), behind a pseudo terminal: prompt, acknowledgements, samples in ASCII and binary."""

from __future__ import annotations

import contextlib
import os
import re
import select
import threading
import time
import tty
from collections.abc import Callable, Iterator

COMMANDS = (
    "htc", "hrc", "lcd", "pwr", "acqtime", "acqmode", "trigdelay", "trigsrc", "eventsrc", "output", "format", "freq", "volt",
    "start", "stop",
)  # fmt: skip


def ascii_sample(amperes: float) -> str:
    """Return four digits and an exponent, as the shield prints them."""
    if amperes <= 0.0:
        return "0000-00"
    exponent = 0
    while round(amperes * 10**exponent) < 1000 and exponent < 12:
        exponent += 1
    return f"{round(amperes * 10**exponent):04d}-{exponent:02d}"


def binary_sample(amperes: float) -> bytes:
    """Return a word m·16⁻ᵉ with as many bits of m as fit."""
    exponent = 0
    while exponent < 14 and amperes * 16 ** (exponent + 1) < 4095.5:
        exponent += 1
    return (exponent << 12 | min(4095, round(amperes * 16**exponent))).to_bytes(2, "big")


class Shield:
    """The shield: takes lines, gives bytes. ``signal`` tells (current [A], level of D7) of a sample.

    ``drop`` are samples (first, how many) that are lost; the time stamps go on.
    """

    def __init__(self, signal: Callable[[int], tuple[float, int]], drop: tuple[int, int] = (0, 0)) -> None:
        self._signal, self._drop = signal, drop
        self.settings: dict[str, str] = {}
        self.measuring = False
        self.sent = 0
        self.level = 0
        self._line = b""

    @property
    def rate_hz(self) -> int:
        text = self.settings.get("freq", "100")
        return int(text[:-1]) * 1000 if text.endswith("k") else int(text)

    def take(self, data: bytes) -> bytes:
        """Hear bytes; return what is answered."""
        *lines, self._line = (self._line + data).split(b"\n")
        return b"".join(self._answer(line.decode().strip()) for line in lines)

    def _answer(self, line: str) -> bytes:
        word, _, rest = line.partition(" ")
        if word not in COMMANDS or (word == "volt" and not re.fullmatch(r"\d{4}m", rest)):
            return f"PowerShield > error: {line}\r\n".encode()
        self.settings[word] = rest
        if word in ("start", "stop"):
            self.measuring, self.sent = word == "start", 0
        return f"PowerShield > ack {line}\r\n".encode()

    def produce(self, count: int) -> bytes:
        """Return the next samples, with a time stamp before each tenth of a second."""
        if not self.measuring:
            return b""
        binary = self.settings["format"] == "bin_hexa"
        every = max(1, self.rate_hz // 10)
        out = b""
        for index in range(self.sent, self.sent + max(0, count)):
            if index % every == 0:
                out += self._stamp(round(1000 * index / self.rate_hz), binary)
            if self._drop[0] <= index < sum(self._drop):
                continue
            amperes, level = self._signal(index)
            if level != self.level and not binary:
                out += f"event {index} {'ris' if level else 'fal'}\r\n".encode()
            self.level = level
            out += binary_sample(amperes) if binary else f"{ascii_sample(amperes)}\r\n".encode()
        self.sent += max(0, count)
        return out

    def _stamp(self, ms: int, binary: bool) -> bytes:
        if binary:
            return b"\xf0\xf3" + ms.to_bytes(4, "big") + b"\x00\xff\xff"
        return f"TimeStamp: {ms // 1000:03d}s {ms % 1000:03d}ms, buff 00%\r\n".encode()


@contextlib.contextmanager
def on_pty(shield: Shield, limit: int | None = None) -> Iterator[str]:
    """Serve a shield in real time; yield the port's name."""
    master, slave = os.openpty()
    tty.setraw(master)
    tty.setraw(slave)
    os.set_blocking(master, False)
    stop = threading.Event()

    def serve() -> None:
        out, began_s = bytearray(), time.monotonic()
        with contextlib.suppress(OSError):
            while not stop.is_set():
                if select.select([master], [], [], 0.002)[0]:
                    was = shield.measuring
                    out.extend(shield.take(os.read(master, 4096)))
                    if shield.measuring and not was:
                        began_s = time.monotonic()
                due = int((time.monotonic() - began_s) * shield.rate_hz)
                out.extend(shield.produce((due if limit is None else min(due, limit)) - shield.sent))
                with contextlib.suppress(BlockingIOError):
                    del out[: os.write(master, out[:4096])]

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield os.ttyname(slave)
    finally:
        stop.set()
        thread.join(5.0)
        os.close(master)
        os.close(slave)
