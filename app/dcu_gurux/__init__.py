# SPDX-License-Identifier: GPL-2.0-only
# Copyright (c) 2026 The Grid DCU authors
#
# This program is free software; you can redistribute it and/or modify it under the terms of the GNU General Public
# License version 2 as published by the Free Software Foundation. It is distributed WITHOUT ANY WARRANTY; see COPYING.
"""The gurux-dlms worker: a confined program that translates authenticated COSEM data, and decides nothing.

It is a program of its own because gurux-dlms is GPL-2.0-only, and a process of its own because it is not trusted: it
has no network, no files, no keys. It is asked over standard input and answers on standard output (dcu_gurux.frames).
"""
