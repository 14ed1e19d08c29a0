# SPDX-License-Identifier: Apache-2.0
"""Firmware for a board: files made from board.toml, a compiler, an image."""
