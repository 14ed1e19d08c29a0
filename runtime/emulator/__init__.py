# SPDX-License-Identifier: Apache-2.0
"""Boards that exist as programs: the virtual board in this process, and QEMU beside it."""
