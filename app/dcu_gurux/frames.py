# SPDX-License-Identifier: GPL-2.0-only
"""Frames on the pipes: a length of 4 bytes (big endian), then that many bytes of JSON.

Request  {"id": 7, "verb": "apdu_to_xml", "arguments": {"apdu": "c001…"}}
Answer   {"id": 7, "result": …} or {"id": 7, "error": {"kind": "malformed" | "unsupported" | "request", "message": "…"}}
Bytes are written in hex. The first frame that the worker sends, unasked, is {"ready": [what confines it]} or
{"fatal": "why it does not start"}.
"""

import json
import os
from typing import Any

MAX_REQUEST = 1 << 20  # an APDU of 64 KiB in hex, or its XML, with room to spare
MAX_ANSWER = 4 << 20


class Failure(Exception):
    """Why there is no result. `kind`: request (nobody should have asked that), malformed (the bytes or the XML are not
    what they claim to be), unsupported (gurux-dlms cannot do it).
    """

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind

    def __str__(self) -> str:
        return " ".join(super().__str__().split())[:500]


class Pipes:
    def __init__(self, requests: int, answers: int) -> None:
        self._requests = requests
        self._answers = answers

    def receive(self) -> dict[str, Any] | None:
        """Return the next request, None when the other side has closed. Raises Failure."""
        header = self._read(4)
        if header is None:
            return None
        size = int.from_bytes(header, "big")
        if size > MAX_REQUEST:
            self._skip(size)
            raise Failure("request", f"a request of {size} bytes, at most {MAX_REQUEST}")
        raw = self._read(size)
        if raw is None:
            return None
        try:
            request = json.loads(raw)
        except (ValueError, RecursionError) as error:
            raise Failure("request", f"not JSON: {error}") from None
        if not isinstance(request, dict):
            raise Failure("request", "a request is a JSON object")
        return request

    def send(self, message: dict[str, Any]) -> None:
        raw = json.dumps(message, ensure_ascii=True, separators=(",", ":")).encode()
        if len(raw) > MAX_ANSWER:
            failure = {"kind": "unsupported", "message": f"an answer of {len(raw)} bytes, at most {MAX_ANSWER}"}
            raw = json.dumps({"id": message["id"], "error": failure}).encode()
        view = memoryview(len(raw).to_bytes(4, "big") + raw)
        while view:
            view = view[os.write(self._answers, view) :]

    def _read(self, size: int) -> bytes | None:
        data = bytearray()
        while len(data) < size:
            chunk = os.read(self._requests, min(size - len(data), 65536))
            if not chunk:
                return None
            data += chunk
        return bytes(data)

    def _skip(self, size: int) -> None:
        while size > 0 and (chunk := os.read(self._requests, min(size, 65536))):
            size -= len(chunk)
