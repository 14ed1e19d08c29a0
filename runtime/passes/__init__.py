# SPDX-License-Identifier: Apache-2.0
"""Exact rewrites of a Graph: what comes out computes the same bytes."""
