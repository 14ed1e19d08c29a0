# SPDX-License-Identifier: Apache-2.0
"""Joulet: one nested, early-exit network whose bits and depth follow the energy at hand."""

__version__ = "0.1.0"
