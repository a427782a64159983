"""Our server on a socket, for a client that is another program."""

import socket
import threading
import time
from itertools import count
from types import TracebackType

from dcu.cosem import axdr
from dcu.cosem.apdu import Conformance, DataAccessResult, Notification
from dcu.cosem.apdu.short import InformationReport
from dcu.cosem.application import Denied
from dcu.cosem.association import SUPPORTED, Authentication, ServerAssociation
from dcu.cosem.hls import aes_ecb
from dcu.cosem.selection import Selection
from dcu.cosem.server import ServerSession
from dcu.cosem.short_names import CURRENT, ShortNames
from dcu.link import wrapper
from dcu.link.hdlc_server import Station
from dcu.model import AttributeRef, MethodRef, Obis
from dcu.streams import Sent, each
from tests.cosem.small_meter import CLIENT, CLIENT_TITLE, SmallMeter, context_of, protection_of

SHORT_NAMES = AttributeRef(12, CURRENT, 2)
NOTE = AttributeRef(1, Obis.parse("0-0:94.91.1*255"), 2)


class NotedMeter(SmallMeter):
    """The small meter, with a note that can be written, too; what octets its relay is given, it returns."""

    def __init__(self) -> None:
        super().__init__()
        self.values[NOTE] = axdr.encode(axdr.octets(b""))

    def get(self, client_sap: int, attribute: AttributeRef, selection: Selection | None) -> bytes:
        if attribute == SHORT_NAMES and selection:
            raise Denied(DataAccessResult.SCOPE_OF_ACCESS_VIOLATED)  # the whole list, or nothing
        return super().get(client_sap, attribute, selection)

    def set(self, client_sap: int, attribute: AttributeRef, selection: Selection | None, value: bytes) -> None:
        if attribute != NOTE:
            super().set(client_sap, attribute, selection, value)
            return
        self.done.append((attribute, value))
        self.values[attribute] = value

    def action(self, client_sap: int, method: MethodRef, parameter: bytes | None) -> bytes | None:
        returned = super().action(client_sap, method, parameter)
        return parameter if parameter and parameter[0] == axdr.Tag.OCTET_STRING else returned


class Door:
    """For one connection, in a thread. `heard` and `said` keep the APDUs. kind: another authentication than usual."""

    def __init__(
        self,
        context: str,
        names: ShortNames | None = None,
        *,
        kind: Authentication | None = None,
        hdlc: bool = False,
        conformance: Conformance = SUPPORTED,
        max_pdu: int = 0xFFFF,
    ) -> None:
        usual, policy, _, _, meters = context_of(context)
        authentication = kind or usual
        maker = aes_ecb if authentication is Authentication.HIGH else None
        terms = ServerAssociation(
            authentication,
            meters,
            CLIENT_TITLE,
            policy,
            max_pdu,
            conformance,
            manufacturer=maker,
            names=names,
            **protection_of(context),
        )
        self.meter = NotedMeter()
        if names:
            self.meter.values[SHORT_NAMES] = names.encode()
        self.server = ServerSession(self.meter, {CLIENT: terms}, counter=count(5000).__next__)
        self.heard: list[bytes] = []
        self.said: list[bytes] = []
        self._station = Station(self._answer) if hdlc else None
        self._decoder = wrapper.Decoder()
        self._connection: socket.socket | None = None
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def tell(self, notification: Notification | InformationReport) -> None:
        """What the client did not ask for. Between two exchanges: the other thread waits then."""
        apdu = self.server.notification(CLIENT, notification)
        assert self._connection
        if self._station:
            self._connection.sendall(self._station.push(1, CLIENT, apdu))
        else:
            self._connection.sendall(wrapper.encode(1, CLIENT, apdu))

    def close(self) -> None:
        self._listening.close()
        self._thread.join(5)

    def __enter__(self) -> "Door":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _serve(self) -> None:
        try:
            self._connection, _ = self._listening.accept()
        except OSError:
            return  # closed, and nobody came
        with self._connection as connection:
            while received := connection.recv(65536):
                if self._station:
                    connection.sendall(self._station.feed(received, time.monotonic()))
                    continue
                for frame in self._decoder.feed(received):
                    for answer in each(self._answer(frame.source, frame.destination, frame.apdu)):
                        connection.sendall(wrapper.encode(frame.destination, frame.source, answer))

    def _answer(self, client: int, server: int, apdu: bytes) -> Sent:
        self.heard.append(apdu)
        answer = self.server.receive(client, apdu)
        self.said.extend(each(answer))
        return answer
