# SPDX-License-Identifier: Apache-2.0
"""Flashing: images and their file formats, the ways onto a board, and the check that the board runs what was sent."""
