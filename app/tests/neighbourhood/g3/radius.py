"""Just enough RADIUS (RFC 2865, 3579, 2548) to let foreign EAP-PSK programs talk to ours on loopback. Tests only."""

import hashlib
import hmac
import os
import socket
import threading
from dataclasses import dataclass, field

from dcu.errors import SecurityError

REQUEST, ACCEPT, REJECT, CHALLENGE = 1, 2, 3, 11
USER_NAME, STATE, VENDOR, EAP, AUTHENTICATOR = 1, 24, 26, 79, 80
MICROSOFT, SEND_KEY, RECEIVE_KEY = 311, 16, 17


@dataclass
class Message:
    code: int
    identifier: int
    authenticator: bytes
    attributes: list[tuple[int, bytes]] = field(default_factory=list)

    @classmethod
    def decode(cls, data):
        code, identifier, length = data[0], data[1], int.from_bytes(data[2:4], "big")
        attributes, at = [], 20
        while at < length:
            size = data[at + 1]
            attributes.append((data[at], data[at + 2 : at + size]))
            at += size
        return cls(code, identifier, data[4:20], attributes)

    def value(self, kind):
        return b"".join(value for number, value in self.attributes if number == kind)

    def encode(self, secret, request_authenticator=None):
        """A request where `request_authenticator` is None, else the answer to one."""
        attributes = [*self.attributes, (AUTHENTICATOR, bytes(16))]
        body = b"".join(bytes((kind, len(value) + 2)) + value for kind, value in attributes)
        header = bytes((self.code, self.identifier)) + (20 + len(body)).to_bytes(2, "big")
        seed = request_authenticator or self.authenticator
        tag = hmac.new(secret, header + seed + body, "md5").digest()
        body = body[:-16] + tag
        if request_authenticator is None:
            return header + seed + body
        return header + hashlib.md5(header + seed + body + secret).digest() + body


def pieces(kind, data):
    return [(kind, data[at : at + 253]) for at in range(0, len(data), 253)]


def mppe(number, key, secret, authenticator):
    """RFC 2548, 2.4.2."""
    salt = bytes((0x80 | number, os.urandom(1)[0]))
    plain = bytes((len(key),)) + key
    plain += bytes(-len(plain) % 16)
    ciphered, last = b"", authenticator + salt
    for at in range(0, len(plain), 16):
        pad = hashlib.md5(secret + last).digest()
        last = bytes(a ^ b for a, b in zip(plain[at : at + 16], pad, strict=True))
        ciphered += last
    value = salt + ciphered
    return VENDOR, MICROSOFT.to_bytes(4, "big") + bytes((number, len(value) + 2)) + value


class Server(threading.Thread):
    """Answers one EAP conversation with `eap`, an EAP-PSK server of ours."""

    def __init__(self, secret, eap):
        super().__init__(daemon=True)
        self.secret, self.eap, self.error = secret, eap, None
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.socket.settimeout(20)
        self.port = self.socket.getsockname()[1]

    def run(self):
        try:
            while self._turn():
                pass
        except Exception as error:  # the test looks at it
            self.error = error
        finally:
            self.socket.close()

    def _turn(self):
        data, peer = self.socket.recvfrom(4096)
        asked = Message.decode(data)
        heard = asked.value(EAP)
        if heard[4:5] == b"\x01":  # identity
            self.eap.identifier = heard[1] + 1 & 0xFF
            said = self.eap.start()
        else:
            try:
                said = self.eap.receive(heard)
            except SecurityError as error:
                self.error = error
                said = bytes((4, heard[1], 0, 4))
        code = {3: ACCEPT, 4: REJECT}.get(said[0], CHALLENGE)
        attributes = [*pieces(EAP, said), (STATE, b"1")]
        if code == ACCEPT:
            msk = self.eap.session.msk
            keys = (RECEIVE_KEY, msk[:32]), (SEND_KEY, msk[32:])
            attributes += [mppe(number, key, self.secret, asked.authenticator) for number, key in keys]
        answer = Message(code, asked.identifier, b"", attributes)
        self.socket.sendto(answer.encode(self.secret, asked.authenticator), peer)
        return code == CHALLENGE


def join(port, secret, identity, eap):
    """Run `eap`, an EAP-PSK device of ours, against a RADIUS server; the code of its last answer."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as line:
        line.settimeout(10)
        line.connect(("127.0.0.1", port))
        said = bytes((2, 0)) + (5 + len(identity)).to_bytes(2, "big") + b"\x01" + identity
        state = b""
        for number in range(10):
            attributes = [(USER_NAME, identity), (4, bytes((127, 0, 0, 1))), *pieces(EAP, said)]
            if state:
                attributes.append((STATE, state))
            line.send(Message(REQUEST, number, os.urandom(16), attributes).encode(secret))
            answer = Message.decode(line.recv(4096))
            state = answer.value(STATE)
            heard = answer.value(EAP)
            if answer.code != CHALLENGE:
                if heard:
                    eap.receive(heard)
                return answer.code
            said = eap.receive(heard)
    raise AssertionError("no end")
