"""The device under the application: U-Boot's environment, updates, health, watchdog, what is written doubly.

Nothing here knows a meter, a store or a socket; what must be asked of them is handed in, and wired in `dcu.collector`
and `dcu.cli.device`. Paths and commands are parameters with the device's own as defaults, so that tests need no device.
"""
