# SPDX-License-Identifier: Apache-2.0
"""Boards: one ``board.toml`` each, the one source of figures for Python and C.

Boards come with the package (``firmware/boards/<name>/board.toml``); a path to a file of the same form is taken too.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from joulet.errors import UsageError
from joulet.measured import MeasuredCosts, measured_from
from joulet.records import BandPrices, LoadFigures

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

if TYPE_CHECKING:
    if sys.version_info >= (3, 11):
        from importlib.resources.abc import Traversable
    else:
        from importlib.abc import Traversable

DEFAULT_BOARD = "nucleo_l4r5zi"


@dataclass(frozen=True, slots=True, kw_only=True)
class CoreRates:
    """The best that a core does, which no kernel can beat; see ``[roof]`` of a board.toml.

    MACs and bytes moved in a cycle, and cycles of one requantisation.
    """

    macs_per_cycle: float
    bytes_per_cycle: float
    requantise_cycles: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CycleModel:
    """What kernels cost on a core: cycles for each unit of work of :mod:`joulet.plan.work`.

    Attributes
    ----------
    kernels
        Cycles a unit by (set of kernels, class of work), then by how weights are read (``plain`` without), then by the name of the
        count; fitted to counted ops, one file a core: ``firmware/boards/cycles/``.
    f32_per_mac, f32_per_output, f32_per_element_factor
        Of the float kernels; the factor is on the integer reference's ops without weights.
    bands
        What running ops in bands adds; from the same file.
    """

    kernels: Mapping[tuple[str, str], Mapping[str, Mapping[str, float]]]
    bands: BandPrices
    f32_per_mac: float
    f32_per_output: float
    f32_per_element_factor: float

    def has(self, kernels: str, work: str, reading: str) -> bool:
        """Tell whether somebody has counted such ops."""
        return reading in self.kernels.get((kernels, work), {})

    def cycles(self, kernels: str, work: str, reading: str, counts: Mapping[str, float]) -> float:
        """Return the cycles of an op.

        Parameters
        ----------
        kernels
            Set that runs it: REF, or an instruction set as the container format names it.
        work, counts
            As :func:`joulet.plan.work.work_class` and :func:`joulet.plan.work.work_of` return them.
        reading
            ``packed_8``, ``packed_4``, ``shared_8``, ``shared_4``, ``sparse``, ``s8``, ``planes``, ``plane``, or ``plain`` without
            weights.

        Raises
        ------
        UsageError
            If nobody has counted such ops.
        """
        readings = self.kernels.get((kernels, work), {})
        if reading not in readings:
            raise UsageError(
                f"the cycle table has no kernels of {kernels} for {work}, {reading}; fit it: tests/studies/fit_cycles.py"
            )
        return sum(each * counts.get(name, 0.0) for name, each in readings[reading].items())


@dataclass(frozen=True, slots=True, kw_only=True)
class NvmFigures:
    """Non-volatile memory for what outlives a power cut; see ``[nvm]`` of a board.toml.

    Attributes
    ----------
    kind
        ``fram`` (written byte by byte, no erase) or ``flash`` (erased by pages, then programmed once).
    bytes
        What a plan may take of it; the rest is for records and the journal.
    page_bytes, granule_bytes
        Bytes that are erased, and programmed, at once; 1 in FRAM.
    read_cycles_per_byte, write_cycles_per_byte
        Of long blocks [core cycles]; in flash, programming alone.
    erase_cycles_per_byte
        Of a page, divided by its bytes; 0 in FRAM. Pages are erased ahead.
    record_bytes, record_cycles
        One progress record: its size, and what committing it costs.
    boot_cycles
        From the reset to the first instruction of an inference that goes on.
    endurance_writes
        Of one byte; of one page in flash.
    provenance
        Where the figures come from.
    """

    kind: str
    bytes: int
    page_bytes: int
    granule_bytes: int
    read_cycles_per_byte: float
    write_cycles_per_byte: float
    erase_cycles_per_byte: float
    record_bytes: int
    record_cycles: int
    boot_cycles: int
    endurance_writes: float
    provenance: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RefitFigures:
    """What fitting a head again takes on a board [core cycles]; see ``[refit]`` of a board.toml.

    Of one sample with m = features + 1: ``per_square`` · m² + ``per_weight`` · classes · m + ``per_feature`` · m, and
    ``keep_per_byte`` for each byte of the state, whenever that is kept.
    """

    per_square: float
    per_weight: float
    per_feature: float
    keep_per_byte: float
    provenance: str

    def cycles(self, n_features: int, n_classes: int, *, keep_every: int = 1) -> float:
        """Return the mean cycles of one sample; ``keep_every``: samples between two states that are kept, 0 for none."""
        m = n_features + 1
        learned = self.per_square * m * m + self.per_weight * n_classes * m + self.per_feature * m
        kept = self.keep_per_byte * 4 * (m * (m + 1) // 2 + n_classes * m + 64)
        return learned + (kept / keep_every if keep_every else 0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class SlowMemory:
    """A second memory for tensors that lets the core wait; see ``[memory.slow]`` of a board.toml.

    Attributes
    ----------
    address, bytes
        Where it lies, and its size [bytes].
    fast_arena_bytes
        What the firmware leaves to an arena in the fast memory, at the least [bytes].
    read_wait_cycles, write_wait_cycles
        Of one access by an instruction, whatever its width [core cycles].
    accesses
        What kernels of the core read and write, by a table in ``firmware/boards/accesses``.
    provenance
        Where the figures come from.
    """

    address: int
    bytes: int
    fast_arena_bytes: int
    read_wait_cycles: float
    write_wait_cycles: float
    accesses: AccessModel
    provenance: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessModel:
    """How often kernels of a core access tensors, for each unit of work of :mod:`joulet.plan.accesses`.

    ``reads`` of inputs and ``writes`` of the output, by (set of kernels, class of work), then by the name of the count; fitted to
    counted ops by ``tests/studies/fit_accesses.py``.
    """

    reads: Mapping[tuple[str, str], Mapping[str, float]]
    writes: Mapping[tuple[str, str], Mapping[str, float]]
    provenance: str


# by core, as csrc/kernels/variants.h tells them apart by what the compiler says of them
_ISAS = {
    "cortex-m0": "ARMV6M",
    "cortex-m0plus": "ARMV6M",
    "cortex-m3": "ARMV6M",
    "cortex-m4": "ARMV7EM",
    "cortex-m7": "ARMV7EM",
    "cortex-m33": "ARMV7EM",
    "cortex-m55": "MVE",
    "cortex-m85": "MVE",
    "rv32imc": "ARMV6M",  # named after the first of the cores without SIMD
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Board:
    """One board: what it is, what it draws, what its cycles cost.

    ``seen`` is ``silicon`` where figures were taken on the board by this project, else ``simulated``. ``flash_bytes`` and
    ``ram_bytes`` are the largest memory of each kind [bytes]. ``provenance`` maps each figure to its source. ``nvm`` is
    the memory that the firmware drives, None where nothing is kept over a power cut; ``fram`` is what could be attached.
    ``reference_kernels`` says that the firmware has no others, for want of flash. ``model_bytes`` is the slot of the model, None on
    a board without firmware. ``refit`` is what fitting a head again takes, None where nobody has said. ``measured`` are cost
    tables of models that ``joulet profile --write-board`` left in the file. ``slow`` is a second memory for tensors.
    """

    name: str
    title: str
    core: str
    seen: str
    flash_bytes: int
    ram_bytes: int
    load: LoadFigures
    cycles: CycleModel
    roof: CoreRates
    provenance: Mapping[str, str]
    nvm: NvmFigures | None = None
    fram: NvmFigures | None = None
    reference_kernels: bool = False
    model_bytes: int | None = None
    refit: RefitFigures | None = None
    measured: tuple[MeasuredCosts, ...] = ()
    slow: SlowMemory | None = None

    @property
    def isa(self) -> str:
        """Instruction set whose kernels the firmware has, as the container format names it; REF for none."""
        return "REF" if self.reference_kernels else _ISAS.get(self.core, "REF")


def board_names() -> tuple[str, ...]:
    """Return the names of the boards that come with the package, sorted."""
    folder = _folder()
    if not folder.is_dir():
        return ()
    return tuple(sorted(entry.name for entry in folder.iterdir() if (entry / "board.toml").is_file()))


def load_board(name: str | Path = DEFAULT_BOARD) -> Board:
    """Read a board by name, or from a path that ends in ``.toml``.

    Raises
    ------
    UsageError
        If there is no such board, or its file lacks a figure or holds an impossible one.
    """
    table = board_table(name)
    try:
        return _board(table)
    except (KeyError, TypeError, AttributeError) as error:
        raise UsageError(f"board '{name}': lacks or misplaces {error}; see firmware/boards/{DEFAULT_BOARD}") from error
    except ValueError as error:
        raise UsageError(f"board '{name}': {error}") from error


def board_table(name: str | Path = DEFAULT_BOARD, *, bare: bool = False) -> dict[str, Any]:
    """Return the whole table of a board's file, unchecked, by name or from a path that ends in ``.toml``.

    A file with ``like = "other"`` holds only what differs from that board; ``bare`` returns just that.

    Raises
    ------
    UsageError
        If there is no such board, or its file is no TOML.
    """
    if str(name).endswith(".toml"):
        try:
            text = Path(name).read_text(encoding="utf-8")
        except OSError as error:
            raise UsageError(f"board file '{name}' cannot be read: {error.strerror}") from error
    else:
        if str(name) not in board_names():
            raise UsageError(
                f"no board '{name}'; there are: {', '.join(board_names()) or 'none'}, or give a .toml file"
            )
        text = (_folder() / str(name) / "board.toml").read_text(encoding="utf-8")
    try:
        table: dict[str, Any] = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"board '{name}': not TOML ({error})") from error
    if "like" in table and not bare:
        if str(table["like"]) == str(name):
            raise UsageError(f"board '{name}': is like itself")
        return _merged(board_table(str(table["like"])), table)
    return table


def _merged(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    table = dict(under)
    for key, value in over.items():
        both = isinstance(value, Mapping) and isinstance(table.get(key), Mapping)
        table[key] = _merged(table[key], value) if both else value
    return table


def firmware_source() -> Traversable:
    """Return the folder of the firmware's sources, in a checkout or in an installed wheel."""
    return _source("firmware")


def core_source() -> Traversable:
    """Return the folder of the C core's sources, in a checkout or in an installed wheel."""
    return _source("csrc")


def _source(name: str) -> Traversable:
    packaged = resources.files("joulet._src") / name
    # in a checkout that is not installed the folder lies beside runtime/
    return packaged if packaged.is_dir() else Path(__file__).resolve().parents[1] / name


def _folder() -> Traversable:
    return firmware_source() / "boards"


def _board(table: Mapping[str, Any]) -> Board:
    energy, store, cycles = table["energy"], table["store"], table["cycles"]
    if table["seen"] not in ("silicon", "simulated"):
        raise ValueError(f"seen is '{table['seen']}'; it is 'silicon' or 'simulated'")
    load = LoadFigures(
        clock_hz=int(_number(table, "clock_hz")),
        energy_pj_per_cycle=int(_number(energy, "pj_per_cycle")),
        sleep_w=_number(energy, "sleep_w", zero=True),
        sensing_j=_number(energy, "sensing_j", zero=True),
        wake_cycles=int(_number(energy, "wake_cycles", zero=True)),
        decision_cycles=int(_number(energy, "decision_cycles", zero=True)),
        max_v=_number(store, "v_max"),
        on_v=_number(store, "v_on"),
        off_v=_number(store, "v_off"),
        read_j=_number(energy, "read_j", zero=True) if "read_j" in energy else 0.0,
    )
    if not load.off_v < load.on_v <= load.max_v:
        raise ValueError(f"store voltages must rise: v_off {load.off_v}, v_on {load.on_v}, v_max {load.max_v}")
    provenance = {
        key.removesuffix("_provenance"): value
        for part in (energy, store)
        for key, value in part.items()
        if key.endswith("_provenance")
    }
    fitted = fitted_table("cycles", str(cycles["kernels"]))
    provenance["cycles"] = f"{fitted['provenance']}; {cycles['provenance']}"
    provenance["f32"] = cycles["f32"]["provenance"]
    provenance["roof"] = table["roof"]["provenance"]
    nvm, fram = (nvm_figures(table[key]) if key in table else None for key in ("nvm", "fram"))
    if fram is not None and table.get("firmware", {}).get("nvm", {}).get("driver") == "jlt_nvm_fram":
        nvm = nvm if nvm is not None and nvm.kind == "fram" else fram
    if not table.get("firmware", {}).get("nvm", True):
        nvm = None
    if nvm is not None:
        provenance["nvm"] = nvm.provenance
    refit = _refit(table["refit"]) if "refit" in table else None
    if refit is not None:
        provenance["refit_cycles"] = refit.provenance
    memory = table["memory"]
    slow = _slow(memory["slow"]) if "slow" in memory else None
    if slow is not None:
        provenance["waits"] = slow.provenance
    return Board(
        name=table["name"],
        title=table["title"],
        core=table["core"],
        seen=table["seen"],
        flash_bytes=max(int(part["bytes"]) for name, part in memory.items() if name.startswith("flash")),
        ram_bytes=max(int(part["bytes"]) for name, part in memory.items() if name.startswith("sram")),
        load=load,
        cycles=_cycles(cycles, fitted),
        roof=CoreRates(
            macs_per_cycle=_number(table["roof"], "macs_per_cycle"),
            bytes_per_cycle=_number(table["roof"], "bytes_per_cycle"),
            requantise_cycles=_number(table["roof"], "requantise_cycles", zero=True),
        ),
        provenance=provenance,
        nvm=nvm,
        fram=fram,
        reference_kernels=bool(table.get("firmware", {}).get("reference_kernels", False)),
        model_bytes=int(table["slots"]["model"]["bytes"]) if "model" in table.get("slots", {}) else None,
        refit=refit,
        measured=tuple(measured_from(each) for each in table.get("measured", ())),
        slow=slow,
    )


def _slow(table: Mapping[str, Any]) -> SlowMemory:
    size, fast = int(_number(table, "bytes")), int(_number(table, "fast_arena_bytes"))
    if int(table["address"]) % 16 or size % 16 or fast % 16:
        raise ValueError("memory.slow: address, bytes and fast_arena_bytes are multiples of 16")
    return SlowMemory(
        address=int(table["address"]),
        bytes=size,
        fast_arena_bytes=fast,
        read_wait_cycles=_number(table, "read_wait_cycles", zero=True),
        write_wait_cycles=_number(table, "write_wait_cycles", zero=True),
        accesses=_accesses(fitted_table("accesses", str(table["accesses"]))),
        provenance=table["provenance"],
    )


def _accesses(table: Mapping[str, Any]) -> AccessModel:
    found: dict[str, dict[tuple[str, str], dict[str, float]]] = {"reads": {}, "writes": {}}
    for kernels, works in table.items():
        for work, kinds in works.items() if isinstance(works, Mapping) else ():
            for kind, units in kinds.items():
                found[kind][kernels, work] = {name: _number(units, name, zero=True) for name in units}
    return AccessModel(reads=found["reads"], writes=found["writes"], provenance=table["provenance"])


def _refit(table: Mapping[str, Any]) -> RefitFigures:
    names = ("per_square", "per_weight", "per_feature", "keep_per_byte")
    return RefitFigures(**{name: _number(table, name) for name in names}, provenance=table["provenance"])


def nvm_figures(table: Mapping[str, Any]) -> NvmFigures:
    """Return the figures of a table such as ``[nvm]``.

    Raises
    ------
    ValueError
        For a figure that cannot be.
    KeyError
        For one that is missing.
    """
    if table["kind"] not in ("fram", "flash"):
        raise ValueError(f"nvm.kind is '{table['kind']}'; it is 'fram' or 'flash'")
    is_flash = table["kind"] == "flash"
    return NvmFigures(
        kind=table["kind"],
        bytes=int(_number(table, "bytes")),
        page_bytes=int(_number(table, "page_bytes")) if is_flash else 1,
        granule_bytes=int(_number(table, "granule_bytes")) if is_flash else 1,
        read_cycles_per_byte=_number(table, "read_cycles_per_byte", zero=True),
        write_cycles_per_byte=_number(table, "write_cycles_per_byte"),
        erase_cycles_per_byte=_number(table, "erase_cycles_per_byte") if is_flash else 0.0,
        record_bytes=int(_number(table, "record_bytes")),
        record_cycles=int(_number(table, "record_cycles")),
        boot_cycles=int(_number(table, "boot_cycles", zero=True)),
        endurance_writes=_number(table, "endurance_writes"),
        provenance=table["provenance"],
    )


_FITTED = {"cycles": "[cycles] kernels", "accesses": "[memory.slow] accesses"}  # what names a table of each folder


def fitted_table(folder: str, name: str) -> dict[str, Any]:
    """Return what a study has fitted for a core, such as ``cortex_m4``, unchecked.

    Parameters
    ----------
    folder : str
        Of ``firmware/boards``: ``cycles`` (``tests/studies/fit_cycles.py``) or ``accesses`` (``fit_accesses.py``).
    name : str
        The core's.

    Raises
    ------
    ValueError
        If there is no such table, or its file is no TOML.
    """
    entry = _folder() / folder / f"{name}.toml"
    if not entry.is_file():
        raise ValueError(f"{_FITTED[folder]} is '{name}'; firmware/boards/{folder} has no such table")
    try:
        table: dict[str, Any] = tomllib.loads(entry.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{folder}/{name}.toml: not TOML ({error})") from error
    return table


def _cycles(table: Mapping[str, Any], fitted: Mapping[str, Any]) -> CycleModel:
    kernels = {
        (kernel_set, work): {
            reading: {count: _number(units, count, zero=True) for count in units} for reading, units in readings.items()
        }
        for kernel_set, works in fitted.items()
        if isinstance(works, Mapping) and kernel_set != "bands"
        for work, readings in works.items()
    }
    return CycleModel(
        kernels=kernels,
        bands=BandPrices(
            call_cycles=_number(fitted["bands"], "call_cycles", zero=True),
            moved_byte_cycles=_number(fitted["bands"], "moved_byte_cycles", zero=True),
        ),
        f32_per_mac=_number(table["f32"], "per_mac"),
        f32_per_output=_number(table["f32"], "per_output"),
        f32_per_element_factor=_number(table["f32"], "per_element_factor"),
    )


def _number(table: Mapping[str, Any], key: str, *, zero: bool = False) -> float:
    value = table[key]
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise ValueError(f"{key} is {value!r}; it must be a number")
    if value < 0 or (value == 0 and not zero):
        raise ValueError(f"{key} is {value}; it must be {'zero or ' if zero else ''}more than zero")
    return float(value)
