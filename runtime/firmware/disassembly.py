# SPDX-License-Identifier: Apache-2.0
"""The functions of a linked firmware as objdump shows them: whom they call, and what their instructions take off the stack."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field

from joulet.firmware.linked import Linked

_HEAD = re.compile(r"^([0-9a-f]{8}) <(.+)>:$")
_INSTRUCTION = re.compile(r"^\s*[0-9a-f]+:\t(\S+)(?:\t([^@;]*))?")
_BRANCH = re.compile(r"^(?:blx?|b(?:eq|ne|cs|cc|mi|pl|vs|vc|hi|ls|ge|lt|gt|le)?)(?:\.[nw])?$")
_TARGET = re.compile(r"^([0-9a-f]+) <")
_RISCV_INSTRUCTION = re.compile(r"^\s*[0-9a-f]+:\t(\S+)(?:\t([^#]*))?")
_LAST_TARGET = re.compile(r"(?:^|,)([0-9a-f]+) <[^<>]+>$")


@dataclass(slots=True)
class Function:
    """A function of the image: its frame, what its instructions take off the stack [bytes], and whom it calls."""

    name: str
    address: int
    frame: int | None = None  # of GCC's; None: taken from the instructions
    taken: int = 0
    calls: set[int] = field(default_factory=set)
    jumps: bool = False  # through a register, elsewhere than back
    explained: bool = False  # GCC says where such calls stand
    rom: bool = False


def disassembled(linked: Linked) -> Iterator[Function]:
    """Give every function with its direct calls, and with what its instructions take off the stack."""
    text = subprocess.run(
        [linked.tool("objdump"), "-d", "--no-show-raw-insn", str(linked.elf)],
        capture_output=True, text=True, check=True, timeout=60.0,
    ).stdout  # fmt: skip
    instruction_of, take = _ARCHITECTURES[linked.architecture.name]
    function: Function | None = None
    for line in text.splitlines():
        head = _HEAD.match(line)
        if head:
            if function is not None:
                yield function
            function = Function(name=head[2], address=int(head[1], 16))
            continue
        instruction = instruction_of.match(line)
        if instruction and function is not None:
            take(function, instruction[1], (instruction[2] or "").strip(), linked)
    if function is not None:
        yield function


def _call(function: Function, address: int, linked: Linked) -> None:
    """Add a jump to an address, unless it stays in the function."""
    callee = linked.start_of(address)
    if callee is not None and callee != function.address:
        function.calls.add(callee)


def _take_arm(function: Function, name: str, operands: str, linked: Linked) -> None:
    if _BRANCH.match(name):
        target = _TARGET.match(operands)
        if target:
            _call(function, int(target[1], 16), linked)
        elif not operands.startswith("lr"):
            function.jumps = True
    elif name.startswith("bx"):
        function.jumps = function.jumps or not operands.startswith("lr")
    else:
        function.taken += _taken(name, operands)


def _taken(name: str, operands: str) -> int:
    """Return what one instruction takes off the stack [bytes]."""
    base = name.split(".")[0]
    if base in ("push", "vpush") or (base in ("stmdb", "vstmdb") and operands.startswith("sp!")):
        each = 8 if base.startswith("v") and "{d" in operands else 4
        return each * _registers(operands[operands.index("{") + 1 : operands.index("}")])
    if base in ("sub", "subw"):
        fixed = re.match(r"sp(?:, sp)?, #(\d+)", operands)
        return int(fixed[1]) if fixed else 0
    if base in ("str", "strd"):
        moved = re.search(r"\[sp, #-(\d+)\]!", operands)
        return int(moved[1]) if moved else 0
    return 0


def _registers(text: str) -> int:
    count = 0
    for item in text.split(","):
        ends = [int(digits) for digits in re.findall(r"\d+", item)]
        count += ends[1] - ends[0] + 1 if len(ends) == 2 else 1
    return count


def _take_riscv(function: Function, name: str, operands: str, linked: Linked) -> None:
    target = _LAST_TARGET.search(operands)
    if target and (name in ("j", "jal") or name.startswith("b")):
        _call(function, int(target[1], 16), linked)
    elif name in ("jr", "jalr"):
        # the compiler's library calls nothing through a pointer: its jumps are through tables
        function.jumps = function.jumps or not any(function.address in code for code in linked.of_compiler)
    elif name in ("add", "addi"):  # objdump says add of both
        fixed = re.fullmatch(r"sp,sp,-(\d+)", operands)
        function.taken += int(fixed[1]) if fixed else 0


_ARCHITECTURES = {"arm": (_INSTRUCTION, _take_arm), "riscv": (_RISCV_INSTRUCTION, _take_riscv)}
