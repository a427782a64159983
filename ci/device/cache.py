"""Build steps whose outcome is kept by the content of what went in: the second build takes seconds.

A step's directory is out/device/<step>/<hash>; the file .seconds in it appears last, so what has it is whole. Two
builders of the same step wait for each other.
"""

# ruff: noqa: S603  (it runs commands of this host: that is its work)
import fcntl
import hashlib
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from device.paths import OUT, ROOT

KEPT = 3  # outcomes of one step that stay however old they are
IN_USE = 3600  # seconds after its last use in which an outcome is never removed: a test may be holding it

Input = str | Path


class BuildError(Exception):
    """A step failed; the text says which command and where its log is."""


@dataclass(frozen=True, slots=True)
class Run:
    """Runs commands of one step into the step's log."""

    log: Path

    def __call__(
        self, *command: str | Path, cwd: Path | None = None, env: Mapping[str, str] | None = None, stdin: str = ""
    ) -> None:
        words = [str(word) for word in command]
        with self.log.open("ab") as log:
            log.write(f"$ {' '.join(words)}\n".encode())
            log.flush()
            code = subprocess.run(words, cwd=cwd, env=env, input=stdin.encode(), stdout=log, stderr=log).returncode
        if code:
            raise BuildError(f"{' '.join(words)[:300]}: exit {code}; the log is {self.log}\n{_tail(self.log)}")

    def output(self, *command: str | Path, env: Mapping[str, str] | None = None) -> str:
        words = [str(word) for word in command]
        done = subprocess.run(words, capture_output=True, text=True, env=env)
        if done.returncode:
            raise BuildError(f"{' '.join(words)[:300]}: exit {done.returncode}\n{done.stderr[-2000:]}")
        return done.stdout


def built(step: str, inputs: Iterable[Input], make: Callable[[Path, Run], None]) -> Path:
    """Return the directory with the outcome of `step`, made by `make(directory, run)` if these inputs are new."""
    digest = content(inputs)
    home = OUT / step / digest
    whole = home / ".seconds"
    if not whole.exists():
        with _locked(step):
            if not whole.exists():
                _make(step, home, make)
    (home / ".used").touch()
    return home


def _make(step: str, home: Path, make: Callable[[Path, Run], None]) -> None:
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir(parents=True)
    log = OUT / "log" / f"{step}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_bytes(b"")
    tell(f"{step}: building (log: {log})")
    began = time.monotonic()
    make(home, Run(log))
    (home / ".seconds").write_text(f"{time.monotonic() - began:.1f}\n")
    tell(f"{step}: {time.monotonic() - began:.0f} s")
    _prune(home.parent)


def content(inputs: Iterable[Input]) -> str:
    """Return a digest of texts and of the files' names and bytes."""
    total = hashlib.sha256()
    for each in inputs:
        if isinstance(each, str):
            total.update(b"text\0" + each.encode() + b"\0")
            continue
        for path in _files(each):
            total.update(f"file\0{_name(path)}\0{path.stat().st_mode & 0o111}\0".encode())
            total.update(hashlib.sha256(path.read_bytes()).digest())
    return total.hexdigest()[:16]


def tell(text: str) -> None:
    sys.stderr.write(f"device: {text}\n")


def tool(*names: str) -> None:
    """Say what to install when one of these commands is missing."""
    if missing := [name for name in names if not shutil.which(name)]:
        raise BuildError(
            f"missing on this host: {', '.join(missing)}; `make device-deps` installs ci/device/packages.txt"
        )


def _files(path: Path) -> Sequence[Path]:
    if path.is_dir():
        return sorted(each for each in path.rglob("*") if each.is_file() and "__pycache__" not in each.parts)
    return [path]


def _name(path: Path) -> str:
    """The same wherever the repository and the output stand, so that several working trees share one output."""
    if path.is_relative_to(OUT):
        return f"out/device/{path.relative_to(OUT)}"
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else path.name


def _tail(log: Path) -> str:
    return log.read_bytes()[-2000:].decode(errors="replace")


def _prune(step: Path) -> None:
    homes = sorted((each for each in step.iterdir() if each.is_dir()), key=_used, reverse=True)
    for old in homes[KEPT:]:
        if _used(old) < time.time() - IN_USE:
            shutil.rmtree(old, ignore_errors=True)


def _used(home: Path) -> float:
    mark = home / ".used"
    return mark.stat().st_mtime if mark.exists() else home.stat().st_mtime


@contextmanager
def _locked(step: str) -> Iterator[None]:
    (OUT / step).mkdir(parents=True, exist_ok=True)
    with (OUT / step / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
