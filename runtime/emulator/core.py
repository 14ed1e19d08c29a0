# SPDX-License-Identifier: Apache-2.0
"""A Cortex-M in this process: Unicorn, with instructions and cycles counted in C at every block."""

from __future__ import annotations

import ctypes
import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from joulet._core import ffi, lib
from joulet.emulator.cycle_model import cycle_classes
from joulet.errors import EngineError, MissingDependencyError

_FOREVER = 1 << 62
_NEVER = 0xFFFF_FFFE  # an address that is not reached


@dataclass(frozen=True, slots=True, kw_only=True)
class SlowRam:
    """A memory whose accesses take longer: where it lies [bytes], and what the core waits for each [cycles]."""

    address: int
    bytes: int
    read_wait_cycles: int
    write_wait_cycles: int


class Core:
    """Processor, flash and RAM; devices are functions that answer register reads and writes.

    Parameters
    ----------
    name : str
        ``cortex-m0plus``, ``cortex-m3``, ``cortex-m4`` or ``cortex-m33``.
    flash, ram : tuple of int
        (address, bytes).
    slow : SlowRam, optional
        A second memory, which lets the core wait.

    Attributes
    ----------
    flash, ram, slow
        Content, uint8; writing to the arrays writes memory. ``slow`` is empty without such a memory.
    """

    def __init__(self, name: str, flash: tuple[int, int], ram: tuple[int, int], slow: SlowRam | None = None) -> None:
        try:
            unicorn: Any = importlib.import_module("unicorn")
            arm_const: Any = importlib.import_module("unicorn.arm_const")
        except ImportError as error:
            raise MissingDependencyError("the virtual board needs Unicorn: pip install joulet[emulator]") from error
        model = {
            "cortex-m0plus": arm_const.UC_CPU_ARM_CORTEX_M0,
            "cortex-m3": arm_const.UC_CPU_ARM_CORTEX_M3,
            "cortex-m4": arm_const.UC_CPU_ARM_CORTEX_M4,
            "cortex-m33": arm_const.UC_CPU_ARM_CORTEX_M33,
        }.get(name)
        if model is None:
            raise EngineError(f"no virtual {name}; QEMU may have one (--engine qemu:BOARD)")
        self._arm, self._error, self._block_hook = arm_const, unicorn.UcError, unicorn.UC_HOOK_BLOCK
        self._library: Any = importlib.import_module("unicorn.unicorn_py3.unicorn").uclib
        self._access_hook = unicorn.UC_HOOK_MEM_READ | unicorn.UC_HOOK_MEM_WRITE
        self._uc = unicorn.Uc(unicorn.UC_ARCH_ARM, unicorn.UC_MODE_THUMB | unicorn.UC_MODE_MCLASS)
        self._uc.ctl_set_cpu_model(model)
        self._has_fpu = name in ("cortex-m4", "cortex-m33")
        readable, writable, runnable = unicorn.UC_PROT_READ, unicorn.UC_PROT_WRITE, unicorn.UC_PROT_EXEC
        self.flash_base, self.ram_base = flash[0], ram[0]
        self.flash = self._map(flash, readable | runnable)
        self.ram = self._map(ram, readable | writable | runnable)
        self._fresh = self._uc.context_save()
        self._counter = self._count(name)
        self._accesses = ffi.new("jlt_slow_memory_t *")
        self.slow = np.zeros(0, np.uint8)
        if slow is not None:
            self.slow = self._map((slow.address, slow.bytes), readable | writable)
            self._count_accesses(slow)

    def _map(self, region: tuple[int, int], rights: int) -> npt.NDArray[np.uint8]:
        address, n_bytes = region
        raw = np.zeros(n_bytes + 4096, np.uint8)
        start = -raw.ctypes.data % 4096
        content = raw[start : start + n_bytes]
        self._uc.mem_map_ptr(address, n_bytes, rights, content.ctypes.data)
        return content

    def _count(self, name: str) -> Any:
        """Hook the block counter of the C core into the emulator: Python is not asked at every block."""
        self._blocks = ffi.new("jlt_block_t[]", len(self.flash) // 2)
        counter = ffi.new("jlt_block_counter_t *")
        counter.code = ffi.cast("uint8_t *", self.flash.ctypes.data)
        counter.code_base, counter.code_bytes, counter.blocks = self.flash_base, len(self.flash), self._blocks
        for field, cycles in cycle_classes(name).items():
            setattr(counter.classes, field, cycles)
        counter.stop = _pointer("void (*)(void *)", self._library.uc_emu_stop)
        counter.most_instructions = counter.most_cycles = _FOREVER
        self._hook(self._block_hook, "jlt_count_block", counter, (1, 0))  # wherever it runs
        return counter

    def _count_accesses(self, slow: SlowRam) -> None:
        """Hook the counter of accesses in: of this memory alone, so that others are as they were."""
        counter = self._accesses
        counter.cycles = self.cycles_address
        counter.read_wait, counter.write_wait = slow.read_wait_cycles, slow.write_wait_cycles
        counter.xpsr = self._arm.UC_ARM_REG_XPSR
        counter.read_register = _pointer("int (*)(void *, int, void *)", self._library.uc_reg_read)
        counter.write_register = _pointer("int (*)(void *, int, const void *)", self._library.uc_reg_write)
        self._hook(self._access_hook, "jlt_count_access", counter, (slow.address, slow.address + slow.bytes - 1))

    def _hook(self, kind: int, function: str, user: Any, addresses: tuple[int, int]) -> None:
        """Have the emulator call a function of the C core."""
        callback = int(ffi.cast("uintptr_t", ffi.addressof(lib, function)))
        handle = ctypes.c_size_t()
        status = self._library.uc_hook_add(
            self._uc._uch,
            ctypes.byref(handle),
            kind,
            ctypes.c_void_p(callback),
            ctypes.c_void_p(int(ffi.cast("uintptr_t", user))),
            ctypes.c_uint64(addresses[0]),
            ctypes.c_uint64(addresses[1]),
        )
        if status:
            raise EngineError(f"the emulator takes no hook for {function} (status {status})")

    @property
    def cycles_address(self) -> Any:
        """Pointer to the count of cycles, for devices in C."""
        return ffi.addressof(self._counter, "cycles")

    def map_native(self, address: int, n_bytes: int, read: Any, write: Any, user: Any) -> None:
        """Map registers that functions in C answer, with ``user`` as their last argument."""
        pointers = [ctypes.c_void_p(int(ffi.cast("uintptr_t", each))) for each in (read, user, write, user)]
        status = self._library.uc_mmio_map(self._uc._uch, ctypes.c_uint64(address), ctypes.c_size_t(n_bytes), *pointers)
        if status:
            raise EngineError(f"the emulator maps no registers at 0x{address:08x} (status {status})")

    def map_devices(
        self, address: int, n_bytes: int, read: Callable[[int], int], write: Callable[[int, int], None]
    ) -> None:
        """Map registers; ``read(offset)`` and ``write(offset, value)`` are called for each access."""
        self._uc.mmio_map(
            address,
            n_bytes,
            lambda _uc, offset, _size, _data: read(offset),
            None,
            lambda _uc, offset, _size, value, _data: write(offset, value),
            None,
        )

    def reset(self) -> None:
        """Start over at the vector table; memory is left as it is."""
        arm = self._arm
        self._uc.context_restore(self._fresh)
        stack, entry = self.flash[:8].view("<u4")
        self._uc.reg_write(arm.UC_ARM_REG_SP, int(stack))
        self._uc.reg_write(arm.UC_ARM_REG_LR, 0xFFFF_FFFF)
        self._pc = int(entry)
        self._counter.block_end = 0
        if self._has_fpu:
            self._uc.reg_write(arm.UC_ARM_REG_FPEXC, 0x4000_0000)

    @property
    def instructions(self) -> int:
        """Instructions executed since the beginning."""
        return int(self._counter.instructions)

    @property
    def cycles(self) -> int:
        """Cycles since the beginning, those added by :meth:`stall` among them."""
        return int(self._counter.cycles)

    @property
    def slow_accesses(self) -> tuple[int, int]:
        """How often the slow memory has been read and written by instructions since the beginning."""
        return int(self._accesses.reads), int(self._accesses.writes)

    def save(self) -> tuple[Any, ...]:
        """Return registers, RAM and counts, for :meth:`restore`."""
        counter = self._counter
        counts = (counter.instructions, counter.cycles, counter.block_at, counter.block_end)
        return self._uc.context_save(), (self.ram.tobytes(), self.slow.tobytes()), self._pc, counts

    def restore(self, state: tuple[Any, ...]) -> None:
        """Go back to what :meth:`save` returned; flash is left as it is."""
        context, (ram, slow), self._pc, counts = state
        self._uc.context_restore(context)
        self.ram[:] = np.frombuffer(ram, np.uint8)
        self.slow[:] = np.frombuffer(slow, np.uint8)
        counter = self._counter
        counter.instructions, counter.cycles, counter.block_at, counter.block_end = counts

    def counts_here(self) -> tuple[int, int]:
        """Return (instructions, cycles) up to the instruction that is asking; for devices.

        The counter is ahead by the rest of the block.
        """
        counter = self._counter
        pc = int(self._uc.reg_read(self._arm.UC_ARM_REG_PC)) & ~1
        if not counter.block_at <= pc < counter.block_end:
            return self.instructions, self.cycles
        rest = ffi.new("jlt_block_t *")
        lib.jlt_weigh_block(counter, pc, counter.block_end - pc, rest)
        return self.instructions - int(rest.instructions), self.cycles - int(rest.cycles)

    def stall(self, cycles: int) -> None:
        """Let cycles pass in which the core waits for a device."""
        self._counter.cycles += cycles

    def stop(self) -> None:
        """End :meth:`run` at the instruction that is running; for devices."""
        self._uc.emu_stop()

    def run(self, *, until_instructions: int | None = None, until_cycles: int | None = None) -> bool:
        """Run until a count would be passed, a ``wfi`` or :meth:`stop`; True when it was the count.

        Both counts are of all since the beginning. That of instructions is met exactly; that of cycles by the last block
        that does not pass it.

        Raises
        ------
        EngineError
            If the core faults.
        """
        counter = self._counter
        counter.most_instructions = _FOREVER if until_instructions is None else until_instructions
        counter.most_cycles = _FOREVER if until_cycles is None else until_cycles
        counter.stopped = counter.strayed = False
        self._emulate(_NEVER)
        if counter.strayed:
            raise EngineError(f"the firmware left its code at 0x{self._pc:08x}")
        if counter.stopped and until_instructions is not None:
            left = until_instructions - counter.instructions
            if left > 0 and counter.cycles < counter.most_cycles:
                # within straight code the address of an instruction is enough to stop at it
                counter.most_instructions = _FOREVER
                until = self._after(left)
                # translated again, so that it ends there; and once more, so that it does not from then on
                start = self._pc
                self._uc.ctl_remove_cache(start, until)
                self._emulate(until)
                self._uc.ctl_remove_cache(start, until)
        return bool(counter.stopped)

    def run_to(self, address: int) -> None:
        """Run until the instruction at an address is next, one that code jumps to or returns to; or until a ``wfi``.

        Raises
        ------
        EngineError
            If the core faults.
        """
        self._counter.most_instructions = self._counter.most_cycles = _FOREVER
        self._counter.stopped = self._counter.strayed = False
        until = address & ~1
        # translated again, so that it ends there; and once more, so that it does not from then on
        self._uc.ctl_remove_cache(until, until + 2)
        self._emulate(until)
        self._uc.ctl_remove_cache(until, until + 2)

    def register(self, name: str) -> int:
        """Return a register by its name, such as ``R0`` or ``LR``."""
        return int(self._uc.reg_read(getattr(self._arm, f"UC_ARM_REG_{name}")))

    def enter(self, function: int, *arguments: int) -> None:
        """Go to the beginning of a function with up to four words, as if the next instruction had called it."""
        arm = self._arm
        registers = (arm.UC_ARM_REG_R0, arm.UC_ARM_REG_R1, arm.UC_ARM_REG_R2, arm.UC_ARM_REG_R3)
        for register, value in zip(registers, arguments, strict=False):
            self._uc.reg_write(register, value)
        self._uc.reg_write(arm.UC_ARM_REG_LR, self._pc | 1)
        self._pc = function

    def _after(self, count: int) -> int:
        """Return the address behind ``count`` instructions from the next one on."""
        at = self._pc - self.flash_base
        for _ in range(count):
            at += 4 if int(self.flash[at + 1]) >> 3 >= 0x1D else 2
        return self.flash_base + at

    def _emulate(self, until: int) -> None:
        try:
            self._uc.emu_start(self._pc | 1, until)
        except self._error as error:
            pc = self._uc.reg_read(self._arm.UC_ARM_REG_PC)
            raise EngineError(f"the firmware faulted at 0x{pc:08x}: {error}") from error
        self._pc = int(self._uc.reg_read(self._arm.UC_ARM_REG_PC))

    @property
    def pc(self) -> int:
        """Address of the next instruction."""
        return self._pc


def _pointer(kind: str, function: Any) -> Any:
    """Return a function of the emulator's library for C."""
    return ffi.cast(kind, ctypes.cast(function, ctypes.c_void_p).value)
