# SPDX-License-Identifier: Apache-2.0
"""Reports from run records: one HTML file with its own small SVG plots."""

from joulet.report.page import render, table_rows, write

__all__ = ["render", "table_rows", "write"]
