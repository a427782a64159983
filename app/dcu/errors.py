"""Every error the application raises on purpose, as people meet them. Each message says what the operator can do.

DcuError                      what an operator can be told, with what to do next
├─ ConfigError                a file, its key, what is allowed there
├─ KeysError                  the key store: locked, wrong credential, meter unknown, export refused
├─ DecodeError                bytes that are not what they claim to be (raised by every parser, and nothing else is)
├─ LinkError                  the line: refused, framing
│  ├─ LinkTimeout             no answer in time
│  └─ LinkClosed              the other side hung up
├─ MeterError                 the meter answered, and said no
│  ├─ AssociationRefused      result and diagnostic of the AARE
│  ├─ AccessDenied            object, attribute or method, the meter's reason
│  ├─ ServiceRefused          exception-response or confirmed-service-error
│  └─ MalformedAnswer         the meter answered nonsense (authentic or unprotected): quarantine it
├─ SecurityError              never retried, always audited
│  ├─ AuthenticationFailed    HLS: the other side does not hold the key
│  ├─ TagMismatch             "check the GAK and the system title"
│  ├─ CounterReplayed         last and received counter
│  └─ PolicyViolated          what was required, what came
├─ JobError                   a collect job that ended without a result
│  ├─ JobExpired              its deadline passed
│  └─ JobCancelled            somebody withdrew it
├─ StoreError                 disk full, corrupt, locked
├─ WorkerError                the gurux worker: not installed, hung, crashed
└─ UpdateError                a software update refused or rolled back: signature, hardware, version, health

The command line maps the branches to exit codes in one place (dcu.cli.exits). A message never carries a key, a
password or deciphered data.
"""

LONGEST = 1000  # characters of a message


class DcuError(Exception):
    """Root of the tree: `str(error)` is one line an operator can act on, however long what it quotes is."""

    def __str__(self) -> str:
        text = super().__str__()
        return text if len(text) <= LONGEST else f"{text[:600]}…{text[-399:]}"  # the advice stands at the end


class ConfigError(DcuError):
    """A mistake in a file that people write."""


class KeysError(DcuError):
    """The key store cannot give, or must not give, what was asked."""


class DecodeError(DcuError):
    """Bytes that do not follow their standard. `offset` is where, in bytes, or None where it cannot be said."""

    def __init__(self, message: str, offset: int | None = None) -> None:
        super().__init__(message if offset is None else f"{message} (at byte {offset})")
        self.offset = offset


class LinkError(DcuError):
    """The line to the meter does not carry."""


class LinkTimeout(LinkError):
    """No answer in time."""


class LinkClosed(LinkError):
    """The other side closed the link."""


class MeterError(DcuError):
    """The meter answered, and said no."""


class AssociationRefused(MeterError):
    """The AARE refused the association."""


class AccessDenied(MeterError):
    """A data-access-result or action-result other than success.

    `result` is the number on the wire (IEC 62056-5-3, Data-Access-Result / Action-Result).
    """

    def __init__(self, message: str, result: int) -> None:
        super().__init__(message)
        self.result = result


class ServiceRefused(MeterError):
    """An exception-response or a confirmed-service-error.

    `counter` is the invocation counter that the meter expects, where it says so, else None: a hint, not authenticated.
    """

    def __init__(self, message: str, counter: int | None = None) -> None:
        super().__init__(message)
        self.counter = counter


class MalformedAnswer(MeterError):
    """The meter answered something that its standard does not allow."""


class SecurityError(DcuError):
    """Something that an attacker, or a wrong key, would cause. Never retried, always audited."""


class AuthenticationFailed(SecurityError):
    """The other side could not prove that it holds the key."""


class TagMismatch(SecurityError):
    """An authentication tag that does not fit its frame."""


class CounterReplayed(SecurityError):
    """An invocation counter that is not above its floor."""

    def __init__(self, message: str, floor: int, received: int) -> None:
        super().__init__(message)
        self.floor = floor
        self.received = received


class PolicyViolated(SecurityError):
    """A frame with less protection than the association requires."""


class JobError(DcuError):
    """A job ended without a result."""


class JobExpired(JobError):
    """The deadline passed first."""


class JobCancelled(JobError):
    """Somebody withdrew the job."""


class StoreError(DcuError):
    """The store cannot keep, or cannot give, what was asked."""


class UpdateError(DcuError):
    """A software update was refused, or rolled back.

    `cause` is one of signature, hardware, version, health, state (not now), environment (U-Boot's), key (none for an
    encrypted one), image (damaged or not installable), server (it could not be fetched); "" where it came from another
    process.
    """

    cause: str = ""

    def __init__(self, message: str, cause: str = "") -> None:
        super().__init__(message)
        self.cause = cause


class WorkerError(DcuError):
    """The gurux worker (a process of its own) did not answer. Nothing but a translation is lost."""
