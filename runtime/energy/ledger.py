# SPDX-License-Identifier: Apache-2.0
"""Double-entry account of energy in integer picojoules.

Every posting is rounded to whole pJ and its fraction is carried to the next posting of the same account, so that a
million postings of half a picojoule still make half a million. What is stored is read from the store's voltage, never
derived from the postings: the residual is therefore a check, not a definition.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from joulet.errors import DataError
from joulet.records import ACCOUNTS, LedgerRecord

_PJ = 1e12


class Ledger:
    """Accounts of one run.

    Parameters
    ----------
    stored_j : float
        Energy in the store at the start, from its voltage [J].
    """

    def __init__(self, stored_j: float) -> None:
        self._start_pj = round(stored_j * _PJ)
        self._pj = dict.fromkeys(("harvested", *ACCOUNTS), 0)
        self._carry = dict.fromkeys(self._pj, 0.0)

    def post(self, account: str, energy_j: float) -> None:
        """Add energy to an account [J]; one of :data:`joulet.records.ACCOUNTS` or ``harvested``."""
        exact = energy_j * _PJ + self._carry[account]
        try:
            whole = math.floor(exact)
        except (ValueError, OverflowError):
            raise DataError(f"ledger: {energy_j} J posted to '{account}' is no finite energy") from None
        self._pj[account] += whole
        self._carry[account] = exact - whole

    def balance_j(self, account: str) -> float:
        """Return what an account holds [J]."""
        return self._pj[account] / _PJ

    def close(
        self, stored_j: float, *, provenance: Mapping[str, str], not_modelled: tuple[str, ...] = ()
    ) -> LedgerRecord:
        """Close the books.

        Parameters
        ----------
        stored_j : float
            Energy in the store at the end, from its voltage [J].
        provenance : mapping
            Where the figures of each account come from.
        not_modelled : tuple of str
            Accounts of the design that the run does not estimate.
        """
        stored_delta_pj = round(stored_j * _PJ) - self._start_pj
        spent = {name: self._pj[name] for name in ACCOUNTS}
        residual_pj = self._pj["harvested"] - stored_delta_pj - sum(spent.values())
        # what went through: income, or what was drawn from the store when there was none
        through_pj = max(self._pj["harvested"], sum(spent.values()), abs(stored_delta_pj), 1)
        return LedgerRecord(
            harvested_pj=self._pj["harvested"],
            stored_delta_pj=stored_delta_pj,
            spent_pj=spent,
            residual_pj=residual_pj,
            residual_fraction=abs(residual_pj) / through_pj,
            provenance=dict(provenance),
            not_modelled=not_modelled,
        )
