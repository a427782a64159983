"""Programs in Java that do what they are told: ci/interop, built with Maven, one process for all tests of a session."""

import os
import select
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

PROGRAMS = Path(__file__).parents[3] / "ci" / "interop"
PATIENCE = 30.0  # seconds; the longest that a test makes one of them wait for a frame are five


def built(project: str) -> str:
    """The class path of a program in ci/interop."""
    if not (shutil.which("java") and shutil.which("mvn")):
        pytest.skip("Java and Maven are not here: `make interop` needs both")
    at = PROGRAMS / project
    sources = (at / "pom.xml", *at.glob("src/**/*.java"), *PROGRAMS.glob("told/**/*.java"))
    jars = [*at.glob("target/*.jar"), *at.glob("target/lib/*.jar")]
    if len(jars) < 2 or max(map(changed, sources)) > max(map(changed, at.glob("target/*.jar"))):
        subprocess.run(["mvn", "-q", "-B", "package"], cwd=at, check=True, timeout=300)
    (jar,) = at.glob("target/*.jar")
    return os.pathsep.join((str(jar), str(at / "target/lib/*")))


def changed(path: Path) -> float:
    return path.stat().st_mtime


class No(Exception):
    """What the program could not do, in the words of its library."""


class Program:
    """One process: a line in, a line out. One that does not answer is ended, and started anew when it is next asked."""

    def __init__(self, jars: str, name: str) -> None:
        self._command = ["java", "-XX:TieredStopAtLevel=1", "-cp", jars, f"interop.{name}"]
        self._process: subprocess.Popen[bytes] | None = None
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed in close()

    def say(self, *words: str) -> str:
        """What it answers. Raises No."""
        if self._process is None:
            pipe = subprocess.PIPE
            self._process = subprocess.Popen(self._command, stdin=pipe, stdout=pipe, stderr=self._errors)
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(" ".join(words).encode() + b"\n")
        self._process.stdin.flush()
        heard = select.select([self._process.stdout], [], [], PATIENCE)[0]
        answer = self._process.stdout.readline().decode().strip() if heard else ""
        if not answer:
            self._end()
            self._errors.seek(0)
            raise AssertionError(f"{words[0]}: no answer; {self._errors.read()[-4000:].decode()}")
        said, _, rest = answer.partition(" ")
        if said != "ok":
            raise No(rest)
        return rest

    def _end(self) -> None:
        if self._process is None:
            return
        self._process.kill()
        self._process.communicate()
        self._process = None

    def close(self) -> None:
        self._end()
        self._errors.close()
