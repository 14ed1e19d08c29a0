# SPDX-License-Identifier: Apache-2.0
"""C sources and board files, shipped as package data and read through importlib.resources."""
