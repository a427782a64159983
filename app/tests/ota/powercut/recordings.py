"""Small recordings, made by hand: what the tests of log, model and plans share."""

from array import array

from ota.powercut.log import SECTOR, Writer, read


def sector(mark):
    """A sector that can be told from others; 0 is the one that a disk begins with."""
    return mark.to_bytes(4, "big") * (SECTOR // 4)


def recorded(home, disks, *steps, base=()):
    """Record `steps`: ("write", disk, sector, marks[, "fua"]), ("flush", disk[, covers]), ("mark", what, facts)."""
    with Writer(home, disks) as writer:
        for disk, at, marks in base:
            writer.write(disk, at * SECTOR, b"".join(map(sector, marks)))
        writer.mark("begin")
        for kind, *rest in steps:
            if kind == "write":
                disk, at, marks, *fua = rest
                writer.write(disk, at * SECTOR, b"".join(map(sector, marks)), fua=bool(fua))
            elif kind == "flush":
                writer.flush(rest[0], rest[1] if len(rest) > 1 else writer.records)
            else:
                writer.mark(*rest)
    return read(home)


def marks(recording, content):
    """What `sector` was called with, for each sector of a state's disk."""
    raw = (recording.home / "sectors").read_bytes()
    return [int.from_bytes(raw[number * SECTOR : number * SECTOR + 4], "big") for number in array("I", content)]
