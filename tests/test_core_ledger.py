# SPDX-License-Identifier: Apache-2.0
"""The board's ledger: whole picojoules, what is less carried on, against exact integers and against Python's."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from joulet._core import ffi, lib
from joulet.energy.ledger import Ledger
from joulet.records import ACCOUNTS

NAMES = ("harvested", *ACCOUNTS)
postings = st.lists(
    st.tuples(st.integers(0, len(NAMES) - 1), st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1)), max_size=60
)


@given(postings)
def test_a_million_halves_make_half_a_million(posted: list[tuple[int, int, int]]) -> None:
    ledger = ffi.new("jlt_ledger_t *")
    lib.jlt_ledger_clear(ledger)
    exact_fj = [0] * len(NAMES)
    for account, power_nw, time_us in posted:
        lib.jlt_ledger_post_nw_us(ledger, account, power_nw, time_us)
        exact_fj[account] += power_nw * time_us
    assert [(ledger.pj[i], ledger.carry_fj[i]) for i in range(len(NAMES))] == [divmod(fj, 1000) for fj in exact_fj]
    spent_pj = sum(fj // 1000 for fj in exact_fj[1:])
    assert lib.jlt_ledger_residual_pj(ledger, 123) == exact_fj[0] // 1000 - spent_pj - 123


def test_a_microwatt_of_milliseconds_is_not_lost() -> None:
    ledger = ffi.new("jlt_ledger_t *")
    for _ in range(10_000):
        lib.jlt_ledger_post_nw_us(ledger, 4, 7, 61)  # 427 fJ each
    assert ledger.pj[4] == 4270


@given(st.lists(st.tuples(st.sampled_from(NAMES), st.floats(0.0, 1e-3)), max_size=60))
def test_python_and_c_books_agree_to_a_picojoule_an_account(posted: list[tuple[str, float]]) -> None:
    python, in_c = Ledger(0.0), ffi.new("jlt_ledger_t *")
    for name, energy_j in posted:
        python.post(name, energy_j)
        lib.jlt_ledger_post_fj(in_c, NAMES.index(name), int(energy_j * 1e15))
    for index, name in enumerate(NAMES):
        # each posting is cut to a whole femtojoule in C: at most 60 fJ in all, so one picojoule at a border
        assert abs(round(python.balance_j(name) * 1e12) - in_c.pj[index]) <= 1
