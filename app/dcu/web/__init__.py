"""What people see in a browser: the page, its event stream, and who may do what.

The page is one file; it is fed by a `Source`, which on a device is the collector (through its control socket) and in
the simulation the street itself. No meter key is ever in this process. Contract: docs/web.md.
"""
