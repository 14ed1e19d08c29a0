# SPDX-License-Identifier: Apache-2.0
"""Engines behind one seam: the C core on this host, LiteRT for plain .tflite files."""
