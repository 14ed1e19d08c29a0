# SPDX-License-Identifier: Apache-2.0
"""The name-flood test: commands pasted at once must all be answered.

Firmware that reads its UART without a buffer passes every test typed by hand and loses commands as soon as a program sends
them, so three ``name%`` are sent in one piece and three answers are counted.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from joulet.flash.an3155 import Port
from joulet.flash.surroundings import BAUD, Surroundings

COMMAND = b"name%"
TIMES = 3
_NAME = re.compile(rb"^m-name-dut-\[[^\]\r\n]+\]\r?$", re.MULTILINE)
_READY = re.compile(rb"^m-ready\r?$", re.MULTILINE)
_KEPT_BYTES = 4096
_QUIET_S = 1.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Flood:
    """What came back: whether the test is passed, how many names and readies, and what to do about it if not."""

    ok: bool
    names: int
    readies: int
    heard: str
    remedy: str


def name_flood(port: Port, around: Surroundings, *, within_s: float = 5.0) -> Flood:
    """Paste three commands at once and judge the answers.

    Parameters
    ----------
    port
        Open serial port.
    around
        Gives the time.
    within_s
        How long to listen [s]; once something came, until nothing did for 1.5 s.
    """
    port.timeout = 0.1
    ends_s = around.clock() + _QUIET_S
    while port.read(_KEPT_BYTES) and around.clock() < ends_s:  # what was said before does not count
        pass
    port.write(COMMAND * TIMES)
    heard, ends_s, latest_s = b"", around.clock() + within_s, around.clock() + 3 * within_s
    while len(heard) < _KEPT_BYTES and around.clock() < min(ends_s, latest_s):
        more = port.read(256)
        heard += more
        if more:
            ends_s = around.clock() + _QUIET_S
        if len(_NAME.findall(heard)) >= TIMES and len(_READY.findall(heard)) >= TIMES:
            break
    names, readies = len(_NAME.findall(heard)), len(_READY.findall(heard))
    ok = names == TIMES and readies == TIMES
    return Flood(
        ok=ok,
        names=names,
        readies=readies,
        heard=heard[:200].decode("ascii", errors="backslashreplace"),
        remedy="" if ok else _remedy(heard, names),
    )


def _remedy(heard: bytes, names: int) -> str:
    if not heard:
        return (
            f"nothing answers at {BAUD} baud: is it the right port (joulet devices), is the firmware flashed (joulet flash), "
            "does the board have power?"
        )
    strange = sum(byte >= 0x80 or (byte < 0x20 and byte not in b"\r\n\t\0") for byte in heard)
    if strange * 4 > len(heard):
        return (
            f"the answer is no text: the baud rate is wrong; the board must run at {BAUD} (energy mode of MLPerf: 9600)"
        )
    if heard.startswith(COMMAND):
        return "the port echoes what is sent: RX and TX are joined, or a program such as a shell runs there"
    if b"e-[" in heard:
        return "the board answers with errors: its firmware does not speak the runner's protocol; flash it with joulet flash"
    if 0 < names < TIMES:
        return (
            f"only {names} of {TIMES} commands were answered: the firmware loses bytes that arrive while it answers; its UART "
            "needs an interrupt and a buffer"
        )
    if names == TIMES:
        return "answers lack their line m-ready: the runner will wait for it in vain"
    return "something answers, but not with m-name-dut-[…]: another firmware runs there; flash it with joulet flash"
