# SPDX-License-Identifier: Apache-2.0
"""The .jlt container: records, writer, reader (FORMAT.md)."""
