# SPDX-License-Identifier: Apache-2.0
"""What the C side knows of a board: board.h and link.ld, made from its board.toml.

::

    [slots]     # regions of flash; a slot is erased by itself, so it holds whole pages
    firmware = { address = 0x0800_0000, bytes = 0x2_0000 }
    model = { address = 0x0810_0000, bytes = 0xC_0000, page_bytes = 4096 }  # at a multiple of 4 KiB
    policy, session, samples, nvm = …       # nvm is for driver jlt_nvm_flash only
    model_b, policy_b = …                   # what comes over the link goes there and back in turns
    activation = …                          # two pages or more, with jlt_nvm_flash: which of the two is used
    progress = …                            # with jlt_nvm_flash: inferences that survive a cut; see firmware/ring.h

    [firmware]
    flags = ["-mcpu=cortex-m4", …]          # GCC's
    reference_kernels = true                # no kernels of the instruction set: they do not fit
    zig = ["-target", …]                    # clang's
    drivers = ["uart_pl011", …]             # files of firmware/drivers; *.c beside board.toml are built too
    init = "jlt_board_init"                 # clocks and pins, run first; left out, the reset state will do
    irqs = 26                               # entries of the vector table behind the core's 16; on RISC-V, sources of interrupts
    plic = 0x0C00_0000                      # RISC-V's interrupt controller, of driver irq_plic
    stack_bytes = 1408                      # at least what make boards proves
    has_cycle_counter = true                # DWT CYCCNT
    front = false                           # no features from sound on the board, where flash is short; left out, true

    [firmware.uart]                         # and .timer; .flash, .nvm, .spi, .i2c, .store, .counter, .marker or false
    driver = "jlt_uart_pl011"               # a struct of firmware/drivers/drivers.h
    base = 0x4003_4000                      # the other keys are members of the description in firmware/port.h
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from joulet.boards import board_names, board_table, firmware_source
from joulet.errors import UsageError
from joulet.firmware.architecture import Architecture, architecture_of

SIGNED_STACK_BYTES = 1_024  # that checking a signature takes beyond all else
_SLOTS = ("model", "model_b", "policy", "policy_b", "samples", "session", "activation", "progress")
# field of the C struct: key of board.toml; descriptions that hold a pointer to a bus name it here
_DESCRIPTIONS: Mapping[str, tuple[str, ...]] = {
    "uart": ("base", "clock_hz", "baud", "irq"),
    "timer": ("base", "tick_hz", "clock_hz", "irq"),
    "flash": ("base", "granule_bytes"),
    "nvm": ("bytes", "device_id"),
    "spi": ("base", "clock_hz", "rate_hz", "select_base", "select_pin", "pins"),
    "i2c": ("base", "clock_pin", "data_pin", "half_period_turns"),
    "store": ("base", "address", "shunt_uohm", "current_lsb_na", "full_scale_mv", "bits", "channel"),
    "counter": ("base", "address", "shunt_uohm", "current_lsb_na", "full_scale_mv", "bits", "channel"),
    "marker": ("base", "first_pin"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """A region of flash: ``address``, ``size`` and the ``page`` that is erased at once [bytes]."""

    address: int
    size: int
    page: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FirmwareFacts:
    """What a build of the firmware needs to know of a board.

    ``flags`` are GCC's and ``zig_flags`` clang's; ``sources`` are paths below ``firmware/``; ``board_sources`` lie beside
    board.toml. ``refit``: with what fits a head again. ``slow`` is a second memory for tensors.
    """

    name: str
    core: str
    flags: tuple[str, ...]
    zig_flags: tuple[str, ...]
    sources: tuple[str, ...]
    board_sources: tuple[str, ...]
    slots: Mapping[str, Slot]
    ram: Slot
    table: Mapping[str, Any]
    slow: Slot | None = None
    refit: bool = False

    @property
    def architecture(self) -> Architecture:
        """Family of the core."""
        return architecture_of(self.core)


def firmware_facts(name: str) -> FirmwareFacts:
    """Return the firmware side of a board.

    Raises
    ------
    UsageError
        If there is no such board, or its file has no [firmware].
    """
    table = board_table(name)
    if "firmware" not in table or "slots" not in table:
        raise UsageError(f"board '{name}' has no firmware: its board.toml lacks [firmware] or [slots]")
    try:
        part = table["firmware"]
        slow = table["memory"].get("slow")
        defines = (
            f"-DJLT_TWO_MEMORIES={int(slow is not None)}",
            *(("-DJLT_REFERENCE_KERNELS",) if part.get("reference_kernels", False) else ()),
        )
        folder = firmware_source() / "boards" / name
        return FirmwareFacts(
            name=str(table["name"]),
            core=str(table["core"]),
            flags=(*part["flags"], *defines),
            zig_flags=(*part.get("zig", ()), *defines),
            sources=tuple(f"drivers/{driver}.c" for driver in part["drivers"]),
            board_sources=tuple(sorted(entry.name for entry in folder.iterdir() if entry.name.endswith(".c"))),
            slots={slot: _slot(fields) for slot, fields in table["slots"].items()},
            ram=_slot(table["memory"]["sram"]),
            table=table,
            slow=None if slow is None else _slot(slow),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise UsageError(f"board '{name}': [firmware] lacks or misplaces {error}") from error


def runs_on(emulator: str, table: Mapping[str, Any]) -> bool:
    """Return whether ``virtual`` or ``qemu`` runs a board's firmware; one board may run on both."""
    if emulator == "qemu":
        return "qemu" in table
    return bool(table.get("firmware", {}).get("timer", {}).get("driver") == "jlt_timer_virtual")


def emulated_facts(emulator: str, name: str) -> FirmwareFacts:
    """Return the firmware side of a board that ``virtual`` or ``qemu`` runs.

    Raises
    ------
    UsageError
        If there is no such board, or none of that kind.
    """
    facts = firmware_facts(name)
    if not runs_on(emulator, facts.table):
        there = ", ".join(board for board in board_names() if runs_on(emulator, board_table(board)))
        raise UsageError(f"'{name}' is no {emulator} board; there are {there}")
    return facts


_ENERGY_MODE_BAUD = 9600  # MLPerf Tiny's runner, through its interface board


def _slot(fields: Mapping[str, Any]) -> Slot:
    return Slot(address=int(fields["address"]), size=int(fields["bytes"]), page=int(fields.get("page_bytes", 0)))


def board_header(
    facts: FirmwareFacts,
    build_id: bytes,
    *,
    energy_mode: bool = False,
    key: bytes | None = None,
    broken_commit: bool = False,
) -> str:
    """Return the text of board.h; ``key`` is the public one whose updates alone are taken."""
    part = facts.table["firmware"]
    lines = [
        f"// Made from boards/{facts.name}/board.toml; do not edit.",
        "#ifndef JLT_FIRMWARE_BOARD_H",
        "#define JLT_FIRMWARE_BOARD_H",
        f'#define BOARD_NAME "{facts.name}"',
        f"#define BOARD_BUILD_ID {_bytes(build_id)}",
        f"#define BOARD_CLOCK_HZ {int(facts.table['clock_hz'])}u",
        f"#define BOARD_IRQS {int(part['irqs'])}",
        f"#define BOARD_UART_IRQ {int(part['uart'].get('irq', -1))}",
        f"#define BOARD_HAS_CYCLE_COUNTER {int(bool(part.get('has_cycle_counter', False)))}",
        f"#define BOARD_HAS_FRONT {int(bool(part.get('front', True)))}",
        f"#define BOARD_ENERGY_MODE {int(energy_mode)}",
        f"#define BOARD_SIGNED {int(key is not None)}",
        f"#define BOARD_BROKEN_COMMIT {int(broken_commit)}",
        f"#define BOARD_KEEPS_IN_FLASH {int((part.get('nvm') or {}).get('driver') == 'jlt_nvm_flash')}",
        f"#define BOARD_INIT {part.get('init', '0')}",
    ]
    if "plic" in part:
        lines.append(f"#define BOARD_PLIC {_number(int(part['plic']))}")
    if "init" in part:
        lines.append(f"void {part['init']}(void);")
    if key is not None:
        lines.append(f"#define BOARD_PUBLIC_KEY {_bytes(key)}")
    for name in ("spi", "i2c"):
        if part.get(name):
            lines.append(f"#define BOARD_{name.upper()}_DRIVER {part[name]['driver']}")
    for name, keys in _DESCRIPTIONS.items():
        table = part.get(name)
        if name == "uart" and energy_mode:
            table = {**table, "baud": _ENERGY_MODE_BAUD}
        if table or name not in ("spi", "i2c"):
            lines.append(f"#define BOARD_{name.upper()} {_initialiser(facts, name, table, keys)}")
    for slot in _SLOTS:
        region = facts.slots.get(slot, Slot(address=0, size=0, page=0))
        lines.append(f"#define BOARD_SLOT_{slot.upper()} {_region(region)}")
    return "\n".join([*lines, "#endif", ""])


def _initialiser(facts: FirmwareFacts, name: str, table: Any, keys: tuple[str, ...]) -> str:
    if not table:
        return "{ 0 }"
    fields = [f".driver = &{table['driver']}"]
    for key in keys:
        if key in table:
            value = table[key]
            text = f"{{ {', '.join(f'{item}u' for item in value)} }}" if isinstance(value, list) else _number(value)
            fields.append(f".{key} = {text}")
    part = facts.table["firmware"]
    if name == "nvm" and part.get("spi"):
        fields.append(".spi = &spi")
    if name == "nvm" and "nvm" in facts.slots:
        fields.append(f".region = {_region(facts.slots['nvm'])}")
    if name in ("store", "counter") and part.get("i2c"):
        fields.append(".i2c = &i2c")
    return f"{{ {', '.join(fields)} }}"


def _number(value: int) -> str:
    return f"0x{value:X}u" if value >= 0 else str(value)


def _bytes(content: bytes) -> str:
    return f"{{ {', '.join(f'0x{byte:02X}' for byte in content)} }}"


def _region(slot: Slot) -> str:
    return f"{{ 0x{slot.address:X}u, 0x{slot.size:X}u, 0x{slot.page:X}u }}"


def linker_script(facts: FirmwareFacts, *, signed: bool = False) -> str:
    """Return the text of link.ld."""
    firmware, part = facts.slots["firmware"], facts.table["firmware"]
    vectors = 4 * (16 + int(part["irqs"]))
    text = (firmware_source() / "cpu" / facts.architecture.name / "link.ld.in").read_text(encoding="utf-8")
    for name, value in {
        "FLASH_ADDRESS": f"0x{firmware.address:X}",
        "FLASH_BYTES": f"0x{firmware.size:X}",
        "RAM_ADDRESS": f"0x{facts.ram.address:X}",
        "RAM_BYTES": f"0x{facts.ram.size:X}",
        # VTOR wants the table aligned to its size rounded up to a power of two
        "VECTORS_ALIGN": str(max(128, 1 << (vectors - 1).bit_length())),
        "STACK_BYTES": str(int(part["stack_bytes"]) + (SIGNED_STACK_BYTES if signed else 0)),
    }.items():
        text = text.replace(f"@{name}@", value)
    if facts.slow is not None:
        end = facts.slow.address + facts.slow.size
        text += f"jlt_slow_start = 0x{facts.slow.address:X};\njlt_slow_end = 0x{end:X};\n"
    return text
