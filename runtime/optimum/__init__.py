# SPDX-License-Identifier: Apache-2.0
"""What is the best that can be done: the model of outcomes, its value, and bounds that know the future."""
