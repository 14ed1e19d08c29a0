# SPDX-License-Identifier: Apache-2.0
"""What an engine weighs that runs one model: what is linked behind its calls, as other engines are measured.

The objects of a firmware are linked again without start-up code, drivers, link protocol and application: what remains is what the
calls of an application reach, kernels, C library and compiler's library included. Containers are data and not counted.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from joulet.errors import DataError
from joulet.firmware.board_files import firmware_facts
from joulet.firmware.build import Firmware
from joulet.firmware.linked import Linked, Section

# what an application calls to run a model: check or open the container, step through it, take the answer
INFERENCE = (
    "jlt_container_check", "jlt_container_reopen", "jlt_engine_init", "jlt_engine_start", "jlt_engine_write",
    "jlt_engine_step", "jlt_engine_read",
)  # fmt: skip
_CORE, _KERNELS, _LIBC = "csrc_core_", "csrc_kernels_", "firmware_libc_"
_NOT_ADAPTIVE = ("csrc_core_sha256",)  # of updates over the link


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeSize:
    """Code and constants [bytes].

    ``check``, ``engine`` and ``kernels`` are csrc/core/check_*.c with what else the check needs, the rest of the engine, and the
    kernels with their tables; ``library`` is memcpy and its like, and the compiler's own functions. ``inference`` is their sum.
    ``adaptive`` is what governor, ledger and survival of power cuts add to it: others have nothing like it.
    """

    check: int
    engine: int
    kernels: int
    library: int
    adaptive: int

    @property
    def inference(self) -> int:
        """All that runs a model."""
        return self.check + self.engine + self.kernels + self.library

    def as_dict(self) -> dict[str, int]:
        """Return all of it, for JSON."""
        return {**asdict(self), "inference": self.inference, "with_adaptive": self.inference + self.adaptive}


_CHECK = tuple(_CORE + name for name in ("check_", "container", "overlap", "crc32", "bytes"))


def code_size(firmware: Firmware) -> CodeSize:
    """Measure the engine of a firmware that GCC built.

    Raises
    ------
    DataError
        If a function of :data:`INFERENCE` is not in its objects.
    """
    linked = Linked(firmware)
    core = {s.address for s in linked.sections if s.unit.startswith(_CORE) and not s.unit.startswith(_NOT_ADAPTIVE)}
    adaptive = [name for name, symbol in linked.symbols.items() if symbol.address in core]
    alone = _linked_alone(firmware, INFERENCE)
    return CodeSize(
        check=_sum(alone, _CHECK),
        engine=_sum(alone, (_CORE,)) - _sum(alone, _CHECK),
        kernels=_sum(alone, (_KERNELS,)),
        library=_sum(alone, ("",)) - _sum(alone, (_CORE, _KERNELS)),
        adaptive=_sum(_linked_alone(firmware, (*INFERENCE, *adaptive)), ("",)) - _sum(alone, ("",)),
    )


def _sum(sections: Iterable[Section], units: tuple[str, ...]) -> int:
    return sum(section.size for section in sections if section.unit.startswith(units))


def _linked_alone(firmware: Firmware, roots: Iterable[str]) -> tuple[Section, ...]:
    """Link the objects of csrc with nothing but what the roots reach; return what that takes."""
    objects = [p for p in sorted(firmware.folder.glob("*.o")) if p.name.startswith((_CORE, _KERNELS, _LIBC))]
    toolchain, facts = firmware.toolchain, firmware_facts(firmware.board)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        elf = folder / "alone.elf"
        keep = [f"-Wl,-u,{root}" for root in roots]
        options = ["-nostdlib", "-Wl,--gc-sections", f"-Wl,-e,{INFERENCE[0]}", f"-Wl,-Map={folder / 'firmware.map'}"]
        libraries = [f"-l{library}" for library in toolchain.libraries]
        toolchain.run(
            [*facts.flags, *facts.architecture.flags, *options, *keep, *map(str, objects), *libraries, "-o", str(elf)]
        )
        linked = Linked(replace(firmware, elf=elf, folder=folder))
        missing = [root for root in roots if root not in linked.symbols]
        if missing:
            raise DataError(f"the objects of {firmware.board} have no {missing[0]}: csrc and code_size.py disagree")
        return linked.sections
