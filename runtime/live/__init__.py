# SPDX-License-Identifier: Apache-2.0
"""A run with the real firmware in the loop: the board decides and computes, a capacitor fills and empties around it."""
