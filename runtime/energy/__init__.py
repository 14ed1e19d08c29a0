# SPDX-License-Identifier: Apache-2.0
"""Harvester, converter, storage and the double-entry ledger."""
