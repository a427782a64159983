# SPDX-License-Identifier: GPL-2.0-only
"""The worker's life: take the pipes, import gurux-dlms, step into the sandbox, then answer until the other side closes.

What gurux-dlms prints goes to /dev/null: the answers have a descriptor that it does not know. A request that takes
longer than `PATIENCE` ends the process even when nobody watches it any more.
"""

import contextlib
import importlib
import os
import signal
import sys
import time
from collections.abc import Callable
from typing import Any, NoReturn

from dcu_gurux.frames import Failure, Pipes

PATIENCE = 60.0  # seconds; whoever asks has given up long before

Verb = Callable[[dict[str, Any]], Any]


def main() -> NoReturn:
    """Entry point of `dcu-gurux`. `--canaries` adds the verbs that try to break out, for the tests."""
    pipes = _take_pipes()
    try:
        verbs = _prepare(canaries="--canaries" in sys.argv[1:])
        from dcu_gurux import sandbox

        walls = sandbox.enter()
    except Exception as error:  # whatever it is, the other side is told, and nothing runs unconfined
        pipes.send({"fatal": f"{type(error).__name__}: {error}"})
        os._exit(1)
    pipes.send({"ready": walls})
    try:
        serve(pipes, verbs)
    except OSError:  # the other side is gone
        os._exit(1)
    os._exit(0)


def serve(pipes: Pipes, verbs: dict[str, Verb]) -> None:
    """Answer requests until the other side closes."""
    while True:
        number = None
        try:
            request = pipes.receive()
            if request is None:
                return
            number = request.get("id")
            message = {"id": number, "result": _answered(request, verbs)}
        except Failure as failure:
            message = {"id": number, "error": {"kind": failure.kind, "message": str(failure)}}
        except Exception as error:  # a bug of ours costs this request, not the worker
            message = {"id": number, "error": {"kind": "unsupported", "message": f"internal: {type(error).__name__}"}}
        signal.setitimer(signal.ITIMER_REAL, 0)
        pipes.send(message)


def _answered(request: dict[str, Any], verbs: dict[str, Verb]) -> Any:
    verb, arguments = request.get("verb"), request.get("arguments")
    if not isinstance(verb, str) or verb not in verbs:
        raise Failure("request", f"no such verb: {verb!r}; there are {', '.join(sorted(verbs))}")
    if not isinstance(arguments, dict):
        raise Failure("request", "arguments: a JSON object")
    signal.setitimer(signal.ITIMER_REAL, PATIENCE)  # SIGALRM ends the process
    return verbs[verb](arguments)


def _take_pipes() -> Pipes:
    """Keep the pipes under numbers of their own; what anybody prints from now on goes nowhere."""
    requests, answers, nowhere = os.dup(0), os.dup(1), os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(nowhere, standard)
    for inherited in set(range(3, 256)) - {requests, answers}:
        with contextlib.suppress(OSError):
            os.close(inherited)
    return Pipes(requests, answers)


def _prepare(*, canaries: bool) -> dict[str, Verb]:
    """Import everything that will ever be needed: later there is nothing to import from."""
    os.environ["TZ"] = "UTC0"  # no time zone file is looked up, and no local time shows in an answer
    time.tzset()
    importlib.import_module("_strptime")  # datetime imports it late

    from dcu_gurux import translate

    verbs: dict[str, Verb] = dict(translate.VERBS)
    if canaries:
        from dcu_gurux.canaries import VERBS

        verbs |= VERBS
    translate.warm_up()
    return verbs
