"""Exit codes of the `dcu` command: one table from the branches of the error tree to numbers.

A script tells from the number what went wrong, and from nothing else: messages may change, numbers do not.
"""

from dataclasses import dataclass

from dcu import errors

OK = 0
FAILED = 1  # also: `dcu store check` found something
USAGE = 2  # click's own
INTERNAL = 70  # EX_SOFTWARE of sysexits.h
INTERRUPTED = 130  # 128 + SIGINT


@dataclass(frozen=True, slots=True)
class Exit:
    code: int
    meaning: str
    branch: type[errors.DcuError] | None = None


TABLE: tuple[Exit, ...] = (
    Exit(OK, "done"),
    Exit(FAILED, "not done, for a reason without a number of its own; or a check found something", errors.DcuError),
    Exit(USAGE, "the command line is wrong"),
    Exit(3, "a configuration or keys file is wrong, or an option's value", errors.ConfigError),
    Exit(4, "the key store is locked, or does not hold the key", errors.KeysError),
    Exit(5, "the line: no answer, refused, closed", errors.LinkError),
    Exit(6, "the meter answered, and said no", errors.MeterError),
    Exit(7, "security: wrong key, replayed or unprotected frame", errors.SecurityError),
    Exit(8, "bytes that do not follow their standard", errors.DecodeError),
    Exit(9, "a job ended without its result: expired, cancelled, not allowed, not executed", errors.JobError),
    Exit(10, "the store: disk full, corrupt, locked", errors.StoreError),
    Exit(11, "a software update was refused", errors.UpdateError),
    Exit(12, "the gurux worker is missing, hung or crashed", errors.WorkerError),
    Exit(INTERNAL, "an internal error, please report it"),
    Exit(INTERRUPTED, "interrupted"),
)

_BY_BRANCH = {row.branch: row.code for row in TABLE if row.branch}


def code_of(error: errors.DcuError) -> int:
    """The exit code of the innermost branch that `error` belongs to."""
    return next((_BY_BRANCH[kind] for kind in type(error).__mro__ if kind in _BY_BRANCH), FAILED)


def epilog() -> str:
    """The table as `dcu --help` prints it."""
    return "\n".join(("Exit codes:", *(f"  {row.code:>3}  {row.meaning}" for row in TABLE)))
