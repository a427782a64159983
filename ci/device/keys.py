"""The bench's signing keys: made per build directory, kept in out/device/keys (git-ignored), never part of an image.

`fit`: U-Boot accepts only kernels signed with it. `module`: the kernel loads only modules signed with it. `update`:
SWUpdate installs only what is signed under its authority. A release has its keys in an HSM; nothing here is a release
key, and a key of the bench opens nothing but the bench.
"""

# ruff: noqa: S603  (it runs commands of this host: that is its work)
import fcntl
import os
import subprocess
from pathlib import Path

from device.cache import BuildError
from device.paths import OUT

HOME = OUT / "keys"
FIT = "dcu-fit"  # mkimage looks for <hint>.key and <hint>.crt, and names the node in U-Boot's tree so


def fit() -> Path:
    """Return the directory with dcu-fit.key and dcu-fit.crt."""
    _pair(FIT, "rsa:3072")
    return HOME


def update() -> Path:
    """Return the directory with the keys of updates (ota.signing): update-ca.crt goes into the image."""
    from ota.errors import OtaError
    from ota.signing import make_keys

    try:
        make_keys(HOME / "update")
    except OtaError as error:
        raise BuildError(str(error)) from None
    return HOME / "update"


def module() -> Path:
    """Return the PEM file (key and certificate in one) that the kernel's build signs modules with."""
    pem = HOME / "module.pem"
    if not pem.exists():
        key, certificate = _pair("module-signing", "rsa:3072")
        _write(pem, key.read_bytes() + certificate.read_bytes())
    return pem


def _pair(name: str, kind: str) -> tuple[Path, Path]:
    HOME.mkdir(parents=True, exist_ok=True, mode=0o700)
    key, certificate = HOME / f"{name}.key", HOME / f"{name}.crt"
    with (HOME / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (key.exists() and certificate.exists()):
            subject = [
                "-days",
                "3650",
                "-subj",
                f"/CN=Grid DCU bench {name}",
                "-keyout",
                str(key),
                "-out",
                str(certificate),
            ]
            command = ["openssl", "req", "-x509", "-newkey", kind, "-nodes", "-sha256", *subject]
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode:
                raise BuildError(f"openssl: {done.stderr[-500:]}")
            key.chmod(0o600)
    return key, certificate


def _write(path: Path, content: bytes) -> None:
    with os.fdopen(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600), "wb") as file:
        file.write(content)
