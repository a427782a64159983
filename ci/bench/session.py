"""What a whole secured session costs the client's processor: AARQ, HLS 5, GET of a register, RLRQ.

Suite 0, authenticated and encrypted, global key, wrapper framing; ours against gurux-dlms and dlms-cosem (u9n), all in
one run. All three talk to our server session in the same process; the time that the server takes is not counted. Rounds
are interleaved, so that a noisy moment hits all alike, and the best round counts. The peers have their advantages:
their client objects are built before the clock starts (our session behind it), and what they log or print goes
nowhere. A peer that is not installed is left out.

`python ci/bench/session.py` prints a table; other benchmarks import `session()`.
"""

import contextlib
import logging
import os
import sys
import time
from collections.abc import Callable
from itertools import count
from typing import Any

from dcu.cosem.association import AUTHENTICATED_ENCRYPTED, Association, Authentication, ServerAssociation
from dcu.cosem.client import ClientSession
from dcu.cosem.exchange import drive
from dcu.cosem.selection import Selection
from dcu.cosem.server import ServerSession
from dcu.credentials import KeyPair, MeterKeys, Secret
from dcu.link import wrapper
from dcu.model import AttributeRef, MethodRef, Obis
from dcu.suites import SUITES

CLIENT, SERVER = 1, 1
CLIENT_TITLE, METER_TITLE = b"DCU\x00\x00\x00\x00\x01", b"MMM\x00\x00\xbcaN"
GUEK = bytes.fromhex("000102030405060708090A0B0C0D0E0F")  # the Green Book's example keys: published, not secret
GAK = bytes.fromhex("D0D1D2D3D4D5D6D7D8D9DADBDCDDDEDF")
KEYS = MeterKeys(METER_TITLE, Secret(GUEK), Secret(GAK))
REGISTER = AttributeRef(3, Obis.parse("1-0:1.8.0*255"), 2)
VALUE = 123_456_789
ENCODED = b"\x06" + VALUE.to_bytes(4, "big")
ROUNDS = 40

Measurement = dict[str, Any]


class Register:
    """A meter with one register."""

    def get(self, client_sap: int, attribute: AttributeRef, selection: Selection | None) -> bytes:
        return ENCODED

    def set(self, client_sap: int, attribute: AttributeRef, selection: Selection | None, value: bytes) -> None: ...

    def action(self, client_sap: int, method: MethodRef, parameter: bytes | None) -> bytes | None: ...


class Meter:
    """A fresh server behind wrapper framing, which keeps the time that it took."""

    def __init__(self, kind: Authentication = Authentication.GMAC, keys: MeterKeys = KEYS) -> None:
        terms = ServerAssociation(kind, keys, None, AUTHENTICATED_ENCRYPTED)
        self._session = ServerSession(Register(), {CLIENT: terms}, counter=count(1).__next__)
        self.seconds = 0.0

    def answer(self, frame: bytes) -> bytes:
        started = time.perf_counter()
        request = wrapper.decode(bytes(frame))
        apdu = self._session.receive(request.source, request.apdu)
        assert apdu is not None
        answer = wrapper.encode(request.destination, request.source, apdu)
        self.seconds += time.perf_counter() - started
        return answer


Run = Callable[[Meter], int]  # a whole session against the meter: the register's value
Prepare = Callable[[], Run]  # what is built before the clock starts


def ours(kind: Authentication = Authentication.GMAC, keys: MeterKeys = KEYS) -> Run:
    settings = Association(CLIENT, SERVER, kind, keys, CLIENT_TITLE, AUTHENTICATED_ENCRYPTED)

    def run(meter: Meter) -> int:
        def ask(apdu: bytes) -> bytes:
            return wrapper.decode(meter.answer(wrapper.encode(CLIENT, SERVER, apdu))).apdu

        client = ClientSession(settings, counter=count(1).__next__)
        drive(client.associate(), ask)
        value = drive(client.get(REGISTER), ask)
        drive(client.release(), ask)
        return int.from_bytes(value[1:], "big")

    return run


def gurux() -> Run:
    from gurux_dlms import GXReplyData
    from gurux_dlms.enums import Authentication as Mechanism
    from gurux_dlms.enums import InterfaceType, Security
    from gurux_dlms.objects import GXDLMSRegister
    from gurux_dlms.secure import GXDLMSSecureClient

    client = GXDLMSSecureClient(True, CLIENT, SERVER, Mechanism.HIGH_GMAC, None, InterfaceType.WRAPPER)
    client.ciphering.security = Security.AUTHENTICATION_ENCRYPTION
    client.ciphering.systemTitle = CLIENT_TITLE
    client.ciphering.blockCipherKey = GUEK
    client.ciphering.authenticationKey = GAK
    client.useProtectedRelease = True  # a release without protection is refused
    register = GXDLMSRegister("1.0.1.8.0.255")

    def run(meter: Meter) -> int:
        def ask(frames: Any) -> Any:
            reply = GXReplyData()
            for frame in frames:
                client.getData(meter.answer(frame), reply, None)
            return reply

        client.parseAareResponse(ask(client.aarqRequest()).data)
        client.parseApplicationAssociationResponse(ask(client.getApplicationAssociationRequest()).data)
        value = client.updateValue(register, 2, ask(client.read(register, 2)).value)
        ask(client.releaseRequest())
        return int(value)

    return run


class _InMemory:
    """What u9n's transport writes to and reads from."""

    def __init__(self) -> None:
        self.meter: Meter | None = None
        self._received = b""

    def connect(self) -> None: ...

    def disconnect(self) -> None: ...

    def send(self, data: bytes) -> None:
        assert self.meter
        self._received = self.meter.answer(data)

    def recv(self, amount: int) -> bytes:
        head, self._received = self._received[:amount], self._received[amount:]
        return head


def u9n() -> Run:
    import structlog
    from dlms_cosem import cosem, enumerations
    from dlms_cosem.client import DlmsClient
    from dlms_cosem.io import TcpTransport
    from dlms_cosem.security import HighLevelSecurityGmacAuthentication

    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    line = _InMemory()
    client = DlmsClient(
        transport=TcpTransport(CLIENT, SERVER, line),
        authentication=HighLevelSecurityGmacAuthentication(challenge_length=16),
        encryption_key=GUEK,
        authentication_key=GAK,
        client_system_title=CLIENT_TITLE,
        client_initial_invocation_counter=1,
    )
    attribute = cosem.CosemAttribute(enumerations.CosemInterface.REGISTER, cosem.Obis(1, 0, 1, 8, 0, 255), 2)

    def run(meter: Meter) -> int:
        line.meter = meter
        client.associate()
        value = client.get(attribute)
        client.release_association()
        return int.from_bytes(value[1:], "big")

    return run


PEERS: dict[str, Prepare] = {"ours": ours, "gurux-dlms": gurux, "dlms-cosem (u9n)": u9n}


def _once(prepare: Prepare) -> float:
    """The client's microseconds for one session, its value being right."""
    run, meter = prepare(), Meter()
    started = time.perf_counter()
    value = run(meter)
    elapsed = time.perf_counter() - started - meter.seconds
    assert value == VALUE
    return elapsed * 1e6


@contextlib.contextmanager
def _quiet() -> Any:
    """gurux-dlms prints a line for each protection of each frame."""
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
        yield


def session(rounds: int = ROUNDS) -> list[Measurement]:
    """One row for each client: its best microseconds, and how many times ours that is (None: not installed)."""
    best: dict[str, float | None] = {}
    with _quiet():
        for name, prepare in PEERS.items():
            try:
                best[name] = _once(prepare)  # also warms up
            except ImportError:
                best[name] = None
        for _ in range(rounds):
            for name, prepare in PEERS.items():
                if (least := best[name]) is not None:
                    best[name] = min(least, *(_once(prepare) for _ in range(5)))
    mine = best["ours"]
    assert mine
    return [
        {"client": name, "µs": least, "times ours": None if least is None else least / mine}
        for name, least in best.items()
    ]


def signed(rounds: int = ROUNDS) -> dict[int, float]:
    """suite → our best microseconds for the same session with HLS 7 (ECDSA), keys made up for the run."""
    best: dict[int, float] = {}
    for number in (1, 2):
        suite = SUITES[number]
        privates = suite.new_private(), suite.new_private()
        publics = tuple(map(suite.public, privates))
        secrets = suite.new_key(), suite.new_key()
        client, meter = (
            MeterKeys(METER_TITLE, *secrets, suite=number, signing=KeyPair(mine, theirs))
            for mine, theirs in zip(privates, reversed(publics), strict=True)
        )
        for _ in range(rounds):
            run, door = ours(Authentication.ECDSA, client), Meter(Authentication.ECDSA, meter)
            started = time.perf_counter()
            assert run(door) == VALUE
            elapsed = (time.perf_counter() - started - door.seconds) * 1e6
            best[number] = min(best.get(number, elapsed), elapsed)
    return best


def main() -> None:
    sys.stdout.write("whole secured session (AARQ, HLS 5, GET, RLRQ), client CPU, best of many\n")
    for row in session():
        if row["µs"] is None:
            sys.stdout.write(f"{row['client']:18} not installed\n")
        else:
            sys.stdout.write(f"{row['client']:18} {row['µs']:9.1f} µs {row['times ours']:7.1f} x\n")
    for number, least in signed().items():
        sys.stdout.write(f"ours, ECDSA suite {number} {least:7.1f} µs\n")


if __name__ == "__main__":
    main()
