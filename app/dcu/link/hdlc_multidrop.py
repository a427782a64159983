"""Several meters on one line, as RS-485 has them: each hears everything, each answers what has its physical address."""

from collections.abc import Iterable, Mapping
from itertools import chain

from dcu.link.hdlc import Decoder, Frame
from dcu.link.hdlc_server import Station, to_all_devices
from dcu.link.segments import Seams


class Multidrop:
    """Stations by physical address, heard as one: frames are found once, however many they are."""

    def __init__(self, stations: Mapping[int, Station], *, inter_octet: float = 1.0) -> None:
        self.decoder = Decoder()  # the stations' own hear nothing
        self.strays = 0  # frames for a physical address that nobody here has
        self._stations = stations
        self._inter_octet = inter_octet
        self._seams = Seams(self.decoder)
        self._octet_at = 0.0

    @property
    def deadline(self) -> float | None:
        times = [at for station in self._stations.values() if (at := station.deadline) is not None]
        if self.decoder.pending > 1:
            times.append(self._octet_at + self._inter_octet)
        return min(times, default=None)

    def feed(self, data: bytes, now: float) -> bytes:
        """Take what the line brought; return what to write."""
        frames = self._expire(now)
        self._octet_at = now
        return self._share(chain(frames, self.decoder.feed(data)), now)

    def tick(self, now: float) -> bytes:
        """Notice what did not come in time; return what to write."""
        wire = self._share(self._expire(now), now)
        return wire + b"".join(station.tick(now) for station in self._stations.values())

    def _share(self, frames: Iterable[Frame], now: float) -> bytes:
        heard: dict[int, list[Frame | None]] = {}
        for frame in self._seams.mark(frames):
            if frame is None:
                for physical in self._stations:
                    heard.setdefault(physical, []).append(None)
                continue
            to = frame.destination
            if to_all_devices(to):
                for physical in self._stations:
                    heard.setdefault(physical, []).append(frame)
            elif to.size > 1 and to.lower in self._stations:
                heard.setdefault(to.lower, []).append(frame)
            else:
                self.strays += 1
        return b"".join(self._stations[physical].hear(frames, now) for physical, frames in heard.items())

    def _expire(self, now: float) -> list[Frame]:
        if self.decoder.pending > 1 and now >= self._octet_at + self._inter_octet:
            return list(self.decoder.abandon())
        return []
