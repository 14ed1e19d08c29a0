# SPDX-License-Identifier: Apache-2.0
"""Measure the [nvm] table of a virtual board: the firmware's FRAM driver reads and writes blocks while cycles are counted.

    python tests/studies/fit_nvm.py --board virtual_m4 [--model kws.jlt]

Reading and writing are a line through two block sizes: cycles a byte, and cycles of a call. A record is one write of its
bytes and the CRC over them. Booting is from the reset until the board waits for its line, with the model known from before.
"""

from __future__ import annotations

import argparse
import struct
import sys
from pathlib import Path
from typing import Any

import numpy as np

from joulet.emulator.board import VirtualBoard

_SMALL, _LARGE = 64, 2048  # bytes of a block
_WFI = struct.pack("<HH", 0xBF30, 0xE7FD)  # wfi; b back to it
_STOP_AT = 0x3_F000  # flash that holds nothing


def symbols(board: VirtualBoard) -> dict[str, int]:
    """Return the firmware's symbols."""
    from elftools.elf.elffile import ELFFile

    with board.firmware.elf.open("rb") as file:
        table: Any = ELFFile(file).get_section_by_name(".symtab")
        return {symbol.name: int(symbol["st_value"]) for symbol in table.iter_symbols() if symbol.name}


def call(board: VirtualBoard, address: int, *arguments: int) -> tuple[int, int]:
    """Call a function of the firmware; return (r0, cycles)."""
    core, arm = board.core, board.core._arm
    registers = (arm.UC_ARM_REG_R0, arm.UC_ARM_REG_R1, arm.UC_ARM_REG_R2, arm.UC_ARM_REG_R3)
    for register, value in zip(registers, arguments, strict=False):
        core._uc.reg_write(register, value)
    core._uc.reg_write(arm.UC_ARM_REG_LR, _STOP_AT | 1)
    core._pc = address & ~1
    before = core.cycles
    core.run()
    return int(core._uc.reg_read(arm.UC_ARM_REG_R0)), core.cycles - before


def boot_cycles(board: VirtualBoard, model: bytes) -> int:
    """Return cycles of the second start with a model."""
    board.load(board.facts.slots["model"].address, model)
    for _ in range(2):
        board.power_on()
        before = board.core.cycles
        state = board.run()
        if state != "idle":
            raise SystemExit(f"the board does not come to rest: {state}")
        cycles = board.core.cycles - before
        board.cut()
    return cycles


def main() -> int:
    """Measure; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--board", default="virtual_m4")
    parser.add_argument("--model", type=Path, help="container to boot with")
    parser.add_argument("--record-bytes", type=int, default=64)
    args = parser.parse_args()
    board = VirtualBoard(args.board)
    if args.model is not None:
        print(f"boot_cycles = {boot_cycles(board, args.model.read_bytes()):_}")
    board.load(_STOP_AT, _WFI)
    board.power_on()
    board.run()
    names = symbols(board)
    description = bytes(board.core.flash[names["jlt_board"] : names["jlt_board"] + 1024])
    at = next(at for at in range(0, 1024, 4) if struct.unpack_from("<I", description, at)[0] == names["jlt_nvm_fram"])
    nvm = names["jlt_board"] + at
    _, read, write, _ = struct.unpack("<4I", bytes(board.core.flash[names["jlt_nvm_fram"] :][:16]))
    buffer = board.core.ram_base + len(board.core.ram) // 2
    content = (np.arange(_LARGE) % 251).astype(np.uint8)
    board.core.ram[len(board.core.ram) // 2 :][:_LARGE] = content
    for name, function in (("write", write), ("read", read)):
        cycles = {}
        for size in (_SMALL, _LARGE, args.record_bytes):
            done, cycles[size] = call(board, function, nvm, 1024, buffer, size)
            if done != 1:
                raise SystemExit(f"{name} of {size} bytes fails")
        each = (cycles[_LARGE] - cycles[_SMALL]) / (_LARGE - _SMALL)
        print(f"{name}_cycles_per_byte = {each:.1f}  # and {cycles[_SMALL] - each * _SMALL:.0f} a call")
        if name == "write":
            _, sum_cycles = call(board, names["jlt_crc32"], 0, buffer, args.record_bytes)
            print(
                f"record_cycles = {cycles[args.record_bytes] + sum_cycles:_}  # {args.record_bytes} bytes and their CRC"
            )
    if bytes(board.fram.data[1024 : 1024 + _LARGE]) != content.tobytes():
        raise SystemExit("what was written is not there")
    return 0


if __name__ == "__main__":
    sys.exit(main())
