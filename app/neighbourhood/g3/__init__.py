"""A street on a power line: a discrete-event simulation of a G3-PLC network, byte-exact from the MAC up (docs/g3.md).

No socket, no asyncio, no wall clock: one heap of events and one seeded generator. Nothing here knows the driver
(`dcu.fan.g3`), and shares no codec with it.
"""
