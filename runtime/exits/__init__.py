# SPDX-License-Identifier: Apache-2.0
"""Exits for any model: closed-form heads, confidence tables, operating points."""
