# SPDX-License-Identifier: Apache-2.0
"""Reports from run records: one HTML file with its own small SVG plots, and the records as JSON."""

from joulet.report.archive import from_json, read, save, to_json
from joulet.report.page import render, table_rows, write

__all__ = ["from_json", "read", "render", "save", "table_rows", "to_json", "write"]
