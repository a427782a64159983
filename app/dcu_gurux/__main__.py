# SPDX-License-Identifier: GPL-2.0-only
"""`python -m dcu_gurux`."""

from dcu_gurux.worker import main

main()
