# SPDX-License-Identifier: Apache-2.0
"""firmware/activation.c on the host: its ring in flash and its two places in FRAM, with power failing at every unit."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[1]
MODEL, POLICY = 1, 2
PLENTY = 1 << 30
A_PAGE = 64  # records
FRAM, RING, LONG_RING = 0, 2, 3  # pages of the ring


class Activations:
    """The library, and what lies in its memories."""

    def __init__(self, library: ctypes.CDLL, pages: int, build: int = 1) -> None:
        self.c, self.pages = library, pages
        self.ring = self._array("test_ring", 4 * 4096)
        self.slots = self._array("test_slots", 4 * 4096)
        self.fram = self._array("test_fram", 1024)
        self.ring[:], self.fram[:] = 0xFF, 0
        rng = np.random.default_rng(5)
        self.slots[:] = rng.integers(0, 256, len(self.slots), np.uint8)
        self.set("test_twice", 0)
        self.set("test_signed", 0)
        self.set("test_fails", 0)
        self.boot(build)

    def _array(self, name: str, n_bytes: int) -> np.ndarray:
        return np.frombuffer((ctypes.c_uint8 * n_bytes).in_dll(self.c, name), np.uint8)

    def set(self, name: str, value: int) -> None:
        ctypes.c_uint32.in_dll(self.c, name).value = value

    def get(self, name: str) -> int:
        return ctypes.c_uint32.in_dll(self.c, name).value

    def boot(self, build: int = 1) -> tuple[int, int]:
        self.set("test_budget", PLENTY)
        self.c.test_set_up(self.pages, build)
        return self.named()

    def named(self) -> tuple[int, int]:
        return self.c.jlt_side_named(MODEL), self.c.jlt_side_named(POLICY)

    def activate(self, model: int, policy: int) -> bool:
        return bool(self.c.jlt_activate(model, policy))


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("needs a C compiler")
    out = tmp_path_factory.mktemp("activation") / "activation.so"
    # the board is one that the test sets up, in the place of a constant
    flags = ["-std=c11", "-O1", "-g", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC"]
    flags += [f"-I{ROOT / 'csrc'}", f"-I{ROOT / 'firmware'}", "-Djlt_board=(*test_board())"]
    source = out.with_name("activation_all.c")
    header = (ROOT / "firmware/port.h").read_text().replace("extern const jlt_port_t jlt_board;", "")
    out.with_name("port.h").write_text(f"{header}\nconst jlt_port_t *test_board(void);\n")
    for name in ("activation.h", "activation.c"):
        shutil.copy(ROOT / "firmware" / name, out.with_name(name))
    source.write_text(f'#include "port.h"\n#include "activation.c"\n#include "{ROOT / "tests/c/activation_port.c"}"\n')
    units = [str(source), str(ROOT / "csrc/core/crc32.c")]
    subprocess.run([compiler, f"-I{out.parent}", *flags, *units, "-o", str(out)], check=True)
    return ctypes.CDLL(str(out))


@pytest.mark.parametrize("pages", [FRAM, RING, LONG_RING])
def test_the_last_record_counts_however_many_there_were(library: ctypes.CDLL, pages: int) -> None:
    board = Activations(library, pages)
    assert board.named() == (0, 0)
    rng = np.random.default_rng(1)
    for _ in range(5 * A_PAGE):
        sides = int(rng.integers(0, 2)), int(rng.integers(0, 2))
        assert board.activate(*sides)
        assert board.named() == sides
        if rng.random() < 0.3:
            assert board.boot() == sides
    assert board.get("test_twice") == 0
    assert board.boot(build=2) == (0, 0)  # of another firmware
    assert board.activate(1, 1)
    assert board.boot(build=2) == (1, 1)
    assert board.boot(build=1) == (0, 0)


@pytest.mark.parametrize("pages", [FRAM, RING, LONG_RING])
@pytest.mark.parametrize("before", [0, 1, A_PAGE - 1, A_PAGE, 2 * A_PAGE - 1, 2 * A_PAGE, 3 * A_PAGE - 1])
def test_power_that_fails_at_any_unit_leaves_the_old_or_the_new_record(
    library: ctypes.CDLL, pages: int, before: int
) -> None:
    board = Activations(library, pages)
    for i in range(before):
        assert board.activate(i % 2, 0)
    old = board.boot()
    new = (1 - old[0], 1)
    ring, fram = board.ring.copy(), board.fram.copy()
    seen = set()
    for budget in range(60):
        board.ring[:], board.fram[:] = ring, fram
        board.boot()
        board.set("test_budget", budget)
        done = board.activate(*new)
        first = board.boot()
        assert first in (old, new)
        assert not done or first == new
        seen.add(first)
        # and it goes on from there, whatever lies about
        for sides in ((1, 0), (0, 1), new):
            assert board.activate(*sides)
            assert board.boot() == sides
    assert seen == {old, new}
    assert board.get("test_twice") == 0


@pytest.mark.parametrize("pages", [RING, LONG_RING])
def test_cuts_without_end_wear_nothing_out_of_step(library: ctypes.CDLL, pages: int) -> None:
    board = Activations(library, pages)
    rng = np.random.default_rng(2)
    now = (0, 0)
    for _ in range(4000):
        new = int(rng.integers(0, 2)), int(rng.integers(0, 2))
        board.set("test_budget", int(rng.integers(0, 20)))
        board.activate(*new)
        first = board.boot()
        assert first in (now, new)
        now = first
    assert board.get("test_twice") == 0


def test_a_place_that_cannot_be_written_is_passed(library: ctypes.CDLL) -> None:
    board = Activations(library, RING)
    assert board.activate(1, 0)
    board.set("test_fails", 2)
    assert board.activate(0, 1)
    assert board.boot() == (0, 1)
    board.set("test_fails", 100)
    assert not board.activate(1, 1)
    assert board.named() == (0, 1)
    board.set("test_fails", 0)
    assert board.boot() == (0, 1)


@pytest.mark.parametrize("pages", [FRAM, RING])
def test_side_a_that_has_changed_wins_and_a_foreign_model_does_not(library: ctypes.CDLL, pages: int) -> None:
    board = Activations(library, pages)
    assert board.activate(1, 1)
    for at, sides in ((5, (0, 1)), (2 * 4096 + 63, (1, 0)), (4096 + 40, (0, 1)), (64, (1, 1)), (3 * 4096, (1, 1))):
        board.slots[at] ^= 1
        assert board.boot() == sides
        board.slots[at] ^= 1
    assert board.boot() == (1, 1)


def test_only_what_was_committed_is_vouched_for(library: ctypes.CDLL) -> None:
    board = Activations(library, FRAM)
    vouched = board.c.jlt_side_vouched
    assert vouched(MODEL, 1)
    board.set("test_signed", 1)
    assert not vouched(MODEL, 1)
    assert vouched(MODEL, 0)
    assert board.activate(0, 1)
    assert (vouched(MODEL, 1), vouched(POLICY, 1)) == (0, 1)
    assert board.activate(1, 0)
    assert board.activate(0, 0)
    board.boot()
    assert (vouched(MODEL, 1), vouched(POLICY, 1)) == (1, 1)
    board.boot(build=2)
    assert (vouched(MODEL, 1), vouched(POLICY, 1)) == (0, 0)
