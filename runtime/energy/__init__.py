# SPDX-License-Identifier: Apache-2.0
"""Harvester, converter, storage and the ledger that proves nothing was lost."""
