# SPDX-License-Identifier: Apache-2.0
"""The BQ25570 of Texas Instruments: a boost charger from harvester to store and a buck from store to load.

Figures marked ``datasheet`` are typical values of its table of electrical characteristics; efficiencies are ``modelled``
after the shape of its curves for a source near 1 V and are good to a few points. Where a buck converter was measured,
:func:`load_buck_tables` takes the measurement in place of the model.
"""

from __future__ import annotations

import io
import tokenize
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from joulet.energy.banded import BandedConverter, ConverterBand, OutputBand, with_output_stage
from joulet.energy.converter import EfficiencyTable
from joulet.errors import DataError

QUIESCENT_A = 488e-9  # datasheet: full operating mode, VSTOR 2.1 V, 25 °C, typical
COLD_START_BELOW_V = 1.73  # datasheet: VSTOR at which the main charger takes over, typical (1.6 to 1.9)
COLD_START_W = 15e-6  # datasheet: least input power of cold start, typical; needs about 600 mV at the input
COLD_START_EFFICIENCY = 0.05  # modelled: the datasheet gives no figure; reports of users say 5 to 10 %
MIN_INPUT_W = 5e-6  # datasheet: lower end of the input power range of the main charger

_INPUT_W = (5e-6, 1e-5, 5e-5, 1e-4, 1e-3, 1e-2, 1e-1)
# modelled: per band of VSTOR, efficiency of the boost at _INPUT_W
_INPUT = (
    (COLD_START_BELOW_V, (0.55, 0.66, 0.78, 0.82, 0.87, 0.89, 0.88)),
    (2.5, (0.53, 0.65, 0.78, 0.82, 0.88, 0.91, 0.90)),
    (3.5, (0.50, 0.62, 0.76, 0.81, 0.88, 0.91, 0.91)),
)
_LOAD_W = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1)
# modelled: per band of VSTOR, efficiency of the buck at _LOAD_W for an output of 1.8 V
_BUCK = (
    (0.0, (0.60, 0.80, 0.89, 0.92, 0.92, 0.90)),
    (2.4, (0.55, 0.78, 0.87, 0.89, 0.88, 0.85)),
    (3.0, (0.50, 0.75, 0.86, 0.87, 0.87, 0.87)),
)
PROVENANCE = (
    "datasheet: BQ25570, quiescent 488 nA, cold start below 1.73 V from 15 µW; modelled: boost efficiency 0.50-0.91 after "
    "the shape of its curves near 1 V of input, cold start 5 %"
)
_BUCK_PROVENANCE = "modelled: buck efficiency 0.50-0.92 after the shape of its curves at 1.8 V, a guess below 0.1 mW"

_FOLDER = "Converters/converter_data/BQ25570"
_MAX_BYTES = 1 << 20  # a table of a real converter is some kilobytes
_MAX_ROWS = 10_000
# what zipfile, zlib and numpy raise on bytes that are not what their headers say
_UNREADABLE = (
    OSError,
    EOFError,
    MemoryError,
    NotImplementedError,
    OverflowError,
    RuntimeError,
    SyntaxError,
    ValueError,
    tokenize.TokenError,
    zipfile.BadZipFile,
    zlib.error,
)


def bq25570(
    *,
    buck: Sequence[OutputBand] | None = (),
    on_v: float | None = None,
    off_v: float | None = None,
    buck_provenance: str = "",
) -> BandedConverter:
    """Return a BQ25570.

    Parameters
    ----------
    buck : sequence of OutputBand, optional
        The output stage: empty for the modelled one, what :func:`load_buck_tables` returns for a measured one, None
        where the load hangs on the store itself.
    on_v, off_v : float, optional
        VBAT_OK, which resistors set; see :func:`joulet.energy.banded.with_power_good` [V].
    buck_provenance : str
        Where a given output stage comes from.
    """
    edges_v = (0.0, *(from_v for from_v, _ in _INPUT))
    middles_v = [(low + high) / 2.0 for low, high in zip(edges_v, (*edges_v[1:], 5.0), strict=True)]
    bands: Sequence[ConverterBand] = [
        ConverterBand(
            from_v=0.0,
            input=EfficiencyTable((COLD_START_W,), (COLD_START_EFFICIENCY,)),
            quiescent_w=QUIESCENT_A * middles_v[0],
            min_input_w=COLD_START_W,
        ),
        *(
            ConverterBand(
                from_v=from_v,
                input=EfficiencyTable(_INPUT_W, efficiency),
                quiescent_w=QUIESCENT_A * middle_v,
                min_input_w=MIN_INPUT_W,
            )
            for (from_v, efficiency), middle_v in zip(_INPUT, middles_v[1:], strict=True)
        ),
    ]
    provenance = PROVENANCE
    if buck is not None:
        stage = buck or [OutputBand(from_v, EfficiencyTable(_LOAD_W, efficiency)) for from_v, efficiency in _BUCK]
        bands = with_output_stage(bands, stage)
        provenance += "; " + ((buck_provenance or "measured: buck efficiency as given") if buck else _BUCK_PROVENANCE)
    return BandedConverter(bands, on_v=on_v, off_v=off_v, provenance=provenance)


def load_buck_tables(path: str | Path, vout_v: float) -> tuple[OutputBand, ...]:
    """Read the measured buck converter of an archive of component data.

    Rows are (input voltage [V], load current [A], efficiency). The load's power is ``vout_v`` × current; below ``vout_v``
    the converter passes its input through, so that the power is overstated there by the drop. Rows whose efficiency is not
    more than 0 and at most 1 are measurement artefacts (bursts that the meter missed) and are rejected. Input voltages
    are taken to the nearest quarter volt; each is the middle of a band, the lowest one's reaching down to 0 V. The part's own
    quiescent current was in the measurement, so that it is counted twice at loads of some microwatts.

    Parameters
    ----------
    path : str or Path
        A zip with ``Converters/converter_data/BQ25570/buckConverterData_vout=*.npy``.
    vout_v : float
        Output voltage, one of those measured [V].

    Raises
    ------
    DataError
        If the archive lacks the table or holds something else in its place.
    """
    member = f"{_FOLDER}/buckConverterData_vout={vout_v:.1f}.npy"
    rows = read_table(path, member, 3)
    with np.errstate(invalid="ignore"):
        rows = rows[np.isfinite(rows).all(axis=1) & (rows > 0.0).all(axis=1) & (rows[:, 2] <= 1.0)]
    steps = np.round(rows[:, 0] * 4.0) / 4.0
    grid_v = np.unique(steps)
    if grid_v.size == 0:
        raise DataError(f"{Path(path).name}: {member} has no row with an efficiency in 0..1; give measured tables")
    bands = []
    for index, middle_v in enumerate(grid_v.tolist()):
        part = rows[steps == middle_v]
        currents_a, first = np.unique(part[:, 1], return_index=True)
        table = EfficiencyTable(tuple((currents_a * vout_v).tolist()), tuple(part[first, 2].tolist()))
        bands.append(OutputBand(0.0 if index == 0 else (float(grid_v[index - 1]) + middle_v) / 2.0, table))
    return tuple(bands)


def load_quiescent_a(path: str | Path, *, active: bool = True) -> npt.NDArray[np.float64]:
    """Read the measured quiescent current.

    Parameters
    ----------
    path : str or Path
        As for :func:`load_buck_tables`.
    active : bool
        With the buck converter enabled, else in standby.

    Returns
    -------
    array (n, 2) float64
        Voltage [V] and current [A].
    """
    member = f"{_FOLDER}/quiescentData_{'active' if active else 'standby'}Mode.npy"
    table = read_table(path, member, 2)
    if not (np.isfinite(table).all() and (table > 0.0).all()):
        raise DataError(f"{Path(path).name}: {member} holds values that are no voltage or current")
    return table


def read_table(path: str | Path, member: str, columns: int) -> npt.NDArray[np.float64]:
    """Read one ``.npy`` table of an archive, trusting none of its bytes."""
    name = Path(path).name
    try:
        with zipfile.ZipFile(path) as archive:
            if archive.getinfo(member).file_size > _MAX_BYTES:
                raise DataError(f"{name}: {member} is larger than {_MAX_BYTES} bytes; that is no converter table")
            raw = archive.read(member)
        table = np.load(io.BytesIO(raw), allow_pickle=False)
    except KeyError:
        found = ", ".join(sorted(_members(path))) or "none"
        raise DataError(f"{name}: has no '{member}'; there are: {found}") from None
    except _UNREADABLE as error:
        raise DataError(f"{name}: {member} cannot be read ({error}); give the archive as published") from error
    if (
        not isinstance(table, np.ndarray)
        or table.dtype.kind != "f"
        or table.ndim != 2
        or table.shape[1] != columns
        or not 0 < len(table) <= _MAX_ROWS
    ):
        raise DataError(f"{name}: {member} is no table of {columns} columns of numbers")
    found_table: npt.NDArray[np.float64] = table.astype(np.float64)
    return found_table


def _members(path: str | Path) -> list[str]:
    with zipfile.ZipFile(path) as archive:
        return [Path(entry).name for entry in archive.namelist() if entry.startswith(_FOLDER)]
