# SPDX-License-Identifier: Apache-2.0
"""Fit what bands cost on a core: cycles of one more call of a kernel, and of a byte that is moved for the next band.

    python tests/studies/fit_bands.py --board virtual_m4            # prints prices, and how far off they are
    python tests/studies/fit_bands.py --board virtual_m4 --write    # and keeps them in firmware/boards/cycles

Inverted residuals and drawn chains (tests/band_cases.py) run whole and under limits on RAM on an emulated board; what they take
more is put down to calls and moved bytes by least squares of the relative error. Every other plan is not fitted on: those say how
far off the prices are. Exit code 1 when their inferences are off by more than 3 % (root mean square).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.optimize import nnls

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from band_cases import blocks, chain

from joulet.boards import board_table, load_board
from joulet.container.band_view import walked_groups
from joulet.container.isa_plan import arena_bytes, with_isa_plan
from joulet.engine.board import BoardEngine
from joulet.engine.host import HostEngine
from joulet.firmware.board_files import runs_on
from joulet.records import BandPrices
from joulet.tools.engines import open_board

TABLES = Path(__file__).resolve().parents[2] / "firmware" / "boards" / "cycles"
SHARES = (0.9, 0.6, 0.3, 0.0)  # of the whole arena
LIMIT = 0.03


@dataclass(frozen=True, slots=True)
class Banded:
    """One network under one limit: calls and bytes that bands add, and cycles with whole tensors and with bands."""

    seed: int
    calls: int
    moved_bytes: int
    whole: float
    banded: float


def networks() -> Iterator[tuple[int, bytes]]:
    """Yield (seed, container)."""
    for seed, (side, channels, expand) in enumerate(((24, 8, 6), (16, 16, 4), (32, 8, 6), (20, 24, 3), (12, 32, 6))):
        yield seed, blocks(seed, side=side, channels=channels, expand=expand, count=1)
    for seed in range(10, 30):
        yield seed, chain(seed)


def cycles_of(data: bytes, board: str, kind: str) -> float:
    """Return the cycles of an inference at the first path."""
    borders = HostEngine(data, isa="REF").inputs
    sample = [np.random.default_rng(0).integers(-128, 128, (1, *each.shape), np.int8) for each in borders]
    with open_board(f"{kind}:{board}", {"model": data}) as (link, counter):
        result = BoardEngine(data, link, counter=counter).infer(sample)
    return float(result.cycles[0])


def counted(board: str) -> Iterator[Banded]:
    """Yield what each network takes under each limit that changes anything."""
    isa = load_board(board).isa
    kind = "virtual" if runs_on("virtual", board_table(board)) else "qemu"
    for seed, data in networks():
        plain = with_isa_plan(data, isa)
        size, whole, seen = arena_bytes(plain, isa), 0.0, set()
        for share in SHARES:
            planned = with_isa_plan(data, isa, ram_bytes=int(share * size))
            groups = walked_groups(planned, isa)
            key = tuple((group.first_op, group.rows) for group in groups)
            if not groups or key in seen:
                continue
            seen.add(key)
            whole = whole or cycles_of(plain, board, kind)
            calls = sum(group.calls - len(group.ops) for group in groups)
            moved = sum(group.moved_bytes for group in groups)
            yield Banded(seed, calls, moved, whole, cycles_of(planned, board, kind))


def fitted(rows: list[Banded]) -> BandPrices:
    """Return the prices that explain what bands added, none below 0.

    What bands save, where rows that nobody reads are never made, is no price of theirs: such networks are left out, here and where
    prices are judged.
    """
    taken = [row for row in rows if row.banded > row.whole]
    more = np.array([row.banded - row.whole for row in taken])
    matrix = np.array([[row.calls, row.moved_bytes] for row in taken]) / more[:, None]
    call, moved = nnls(matrix, np.ones(len(taken)))[0]
    return BandPrices(call_cycles=float(f"{call:.4g}"), moved_byte_cycles=float(f"{moved:.4g}"))


def error_of(row: Banded, prices: BandPrices) -> float:
    """Return how far off the cycles of an inference are when bands cost these prices."""
    return (row.whole + prices.cycles(row.calls, row.moved_bytes)) / row.banded - 1


def prices_of(text: str) -> str:
    """Return the section of prices, the last one of a table of firmware/boards/cycles."""
    return "[bands]" + text.partition("\n[bands]")[2]


def with_prices(text: str, prices: BandPrices, note: str, board: str) -> str:
    """Return a table of firmware/boards/cycles with these prices as its last section."""
    kernels = text.partition("\n[bands]")[0].rstrip()
    return (
        f"{kernels}\n\n[bands]  # tests/studies/fit_bands.py --board {board} --write: {note}\n"
        f"call_cycles = {prices.call_cycles}\nmoved_byte_cycles = {prices.moved_byte_cycles}\n"
    )


def main() -> int:
    """Fit and print; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--board", default="virtual_m4", help="a virtual board, or one that QEMU has")
    parser.add_argument("--write", action="store_true", help="keep the prices in the table of the board's core")
    args = parser.parse_args()
    rows = list(counted(args.board))
    prices = fitted(rows[::2])
    for row in rows:
        more = row.banded - row.whole
        print(
            f"{row.seed:>3} calls {row.calls:>4} moved {row.moved_bytes:>6} adds {more:>9,.0f} ({more / row.whole:+6.1%}) "
            f"priced {prices.cycles(row.calls, row.moved_bytes):>9,.0f}, inference off {error_of(row, prices):+6.2%}"
        )
    unseen = [error_of(row, prices) for row in rows[1::2] if row.banded > row.whole]
    rms = float(np.sqrt(np.mean(np.square(unseen))))
    note = f"{len(unseen)} plans not fitted on are off {min(unseen):+.1%} to {max(unseen):+.1%} of an inference"
    print(f"{prices.call_cycles:,.0f} cycles a call, {prices.moved_byte_cycles:.2f} a moved byte; {note}")
    if args.write:
        target = TABLES / f"{board_table(args.board)['cycles']['kernels']}.toml"
        target.write_text(with_prices(target.read_text(encoding="utf-8"), prices, note, args.board), encoding="utf-8")
    return 0 if rms <= LIMIT else 1


if __name__ == "__main__":
    sys.exit(main())
