# SPDX-License-Identifier: Apache-2.0
"""The same firmware under QEMU: a second opinion, and the only one on a Cortex-M55.

With ``-icount shift=10`` an instruction takes 1.024 us of virtual time, several ticks of every timer there is: the
board's own clock counts instructions exactly. The firmware reads it when an inference starts and after every op; QEMU can
note what it read, which counts single ops.
"""

from __future__ import annotations

import contextlib
import re
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path

from joulet.emulator.cycle_model import CYCLES_PER_INSTRUCTION
from joulet.errors import EngineError, LinkError, MissingDependencyError
from joulet.firmware.board_files import emulated_facts
from joulet.firmware.build import build_firmware

_SHIFT = 10
_START_S = 10.0
# by timer driver: what QEMU calls a reading of its registers, and the offsets of the clock's halves, the high one read first
_CLOCK_READS = {"jlt_timer_sse": ("sse_counter_control_read", 0xC, 0x8)}


def tells_clock(driver: str) -> bool:
    """Tell whether QEMU says what a timer driver reads, so that a board with it can have its ops counted."""
    return driver in _CLOCK_READS


class SocketPort:
    """A serial line through a local socket."""

    def __init__(self, path: Path, end_s: float) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        while True:
            try:
                self._socket.connect(str(path))
                return
            except OSError:
                if time.monotonic() > end_s:
                    self._socket.close()
                    raise LinkError("QEMU did not open its serial line in time") from None
                time.sleep(0.01)

    def write(self, data: bytes) -> None:
        try:
            self._socket.settimeout(30.0)
            self._socket.sendall(data)
        except OSError as error:
            raise LinkError(f"QEMU takes no bytes: {error}") from error

    def read(self, n_bytes: int, timeout_s: float) -> bytes:
        self._socket.settimeout(max(timeout_s, 1e-3))
        try:
            data = self._socket.recv(n_bytes)
        except TimeoutError:
            return b""
        except OSError as error:
            raise LinkError(f"QEMU's line is gone: {error}") from error
        if not data:
            raise LinkError("QEMU has ended")
        return data

    def close(self) -> None:
        self._socket.close()


class QemuBoard:
    """A QEMU process that runs a board's firmware. Use it as a context, or close it.

    Parameters
    ----------
    name : str
        Board with a [qemu] table.
    slots : mapping
        Content of slots by name, put into memory before power-up; a model is a container.
    note_clock : bool
        Keep what the firmware reads from its clock, for :meth:`clock_ticks`.

    Attributes
    ----------
    port
        The board's serial line.

    Raises
    ------
    EngineError
        If QEMU does not start, or tells nothing of this board's clock.
    """

    def __init__(self, name: str, slots: dict[str, bytes] | None = None, *, note_clock: bool = False) -> None:
        facts = emulated_facts("qemu", name)
        cpu = facts.architecture
        program = shutil.which(cpu.qemu)
        if program is None:
            raise MissingDependencyError(
                f"{cpu.qemu} is not installed (Debian, Ubuntu: apt install {cpu.qemu_package})"
            )
        self.facts = facts
        driver = str(facts.table["firmware"]["timer"]["driver"])
        if note_clock and not tells_clock(driver):
            raise EngineError(f"QEMU does not tell what {name} reads from its clock ({driver})")
        self.firmware = build_firmware(name)
        self._folder = tempfile.TemporaryDirectory(prefix="joulet-qemu-")
        folder = Path(self._folder.name)
        command = [program, "-M", str(facts.table["qemu"]["machine"]), "-nographic", "-monitor", "none"]
        command += [*cpu.qemu_options, "-icount", f"shift={_SHIFT}", "-kernel", str(self.firmware.elf)]
        for slot, content in (slots or {}).items():
            path = folder / f"{slot}.bin"
            path.write_bytes(content)
            command += ["-device", f"loader,file={path},addr=0x{facts.slots[slot].address:x},force-raw=on"]
        line = folder / "uart"
        if note_clock:
            command += ["-trace", _CLOCK_READS[driver][0]]
        command += ["-chardev", f"socket,id=uart,path={line},server=on,wait=on", "-serial", "chardev:uart"]
        self._log = (folder / "log").open("w+b")
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=self._log, stderr=self._log)
        try:
            self.port = SocketPort(line, time.monotonic() + _START_S)
        except LinkError as error:
            self._log.seek(0)
            said = self._log.read().decode("utf-8", "replace").strip()
            self.close()
            raise EngineError(f"QEMU does not start: {said or error}") from error

    def instructions(self, ticks: int) -> int:
        """Return the instructions that make so many ticks of the board's clock."""
        tick_hz = int(self.facts.table["firmware"]["timer"]["tick_hz"])
        return round(ticks / (tick_hz * (1 << _SHIFT) * 1e-9))

    def clock_ticks(self) -> list[int]:
        """Return all that the firmware has read from its clock so far."""
        event, high, low = _CLOCK_READS[str(self.facts.table["firmware"]["timer"]["driver"])]
        reading = re.compile(rf"{event} .*offset 0x([0-9a-f]+) data 0x([0-9a-f]+)".encode())
        above, found = 0, []
        for match in reading.finditer(Path(self._log.name).read_bytes()):
            offset, value = int(match[1], 16), int(match[2], 16)
            if offset == high:
                above = value
            elif offset == low:
                found.append(above << 32 | value)
        return found

    def cycles(self, instructions: int) -> int:
        """Return the cycles that so many instructions take by the mean of the core's model."""
        return round(instructions * CYCLES_PER_INSTRUCTION[self.facts.core])

    def close(self) -> None:
        """End the process and remove its files."""
        if hasattr(self, "port"):
            self.port.close()
        self._process.terminate()
        try:
            self._process.wait(5.0)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._log.close()
        with contextlib.suppress(OSError):
            self._folder.cleanup()

    def __enter__(self) -> QemuBoard:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
