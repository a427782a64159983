"""Signatures and encryption as SWUpdate checks and undoes them: CMS by the openssl command, AES by `cryptography`.

`sw-description` is signed by CMS (RFC 5652), detached, in DER; the signer's certificate travels inside and must lead to
the authority on the device, for code signing. An image is encrypted by AES-256-CBC with an initialisation vector of its
own; what SWUpdate hashes, and what the signed description names, is the encrypted file.

A private key may be anything that `openssl cms -inkey` takes: a release has it in a token (`pkcs11:…`).
"""

import secrets
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES256
from cryptography.hazmat.primitives.ciphers.modes import CBC
from cryptography.hazmat.primitives.padding import PKCS7
from cryptography.x509 import ExtendedKeyUsage, ExtensionNotFound
from cryptography.x509.oid import ExtendedKeyUsageOID

from ota.errors import OtaError

DAYS = 3650
AUTHORITY, SIGNER = "update-ca", "update"
_KEY, _IV = 32, 16  # bytes
_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class Signer:
    """key: a file or a URI that openssl understands; certificate: PEM, the signer's own first."""

    key: str
    certificate: Path


@dataclass(frozen=True, slots=True)
class AesKey:
    """The key of encrypted images."""

    raw: bytes = field(repr=False)

    @classmethod
    def load(cls, path: Path) -> "AesKey":
        """Read SWUpdate's own form: the key, a space, a vector that we do not use, in hexadecimal digits."""
        try:
            raw = bytes.fromhex(path.read_text(encoding="ascii").split()[0])
        except (OSError, ValueError, IndexError):
            raw = b""
        if len(raw) != _KEY:
            raise OtaError(f"{path}: a key of {2 * _KEY} hexadecimal digits, a space, a vector of {2 * _IV}")
        return cls(raw)


def make_keys(directory: Path) -> None:
    """Make an authority, a signer and an AES key for development. What is there already stays. Raises OtaError."""
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    authority, signer = directory / AUTHORITY, directory / SIGNER
    if not authority.with_suffix(".crt").exists():
        fresh = ("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", str(DAYS))
        _openssl(
            *fresh,
            *("-subj", "/CN=Grid DCU development update authority"),
            *("-addext", "keyUsage=critical,keyCertSign,cRLSign"),
            *("-keyout", f"{authority}.key", "-out", f"{authority}.crt"),
        )
        _openssl(
            *fresh,
            *("-subj", "/CN=Grid DCU development update signer"),
            *("-CA", f"{authority}.crt", "-CAkey", f"{authority}.key"),
            *("-addext", "basicConstraints=critical,CA:FALSE", "-addext", "keyUsage=critical,digitalSignature"),
            *("-addext", "extendedKeyUsage=critical,codeSigning"),
            *("-keyout", f"{signer}.key", "-out", f"{signer}.crt"),
        )
    aes = directory / f"{SIGNER}.aes"
    if not aes.exists():
        aes.write_text(f"{secrets.token_hex(_KEY)} {secrets.token_hex(_IV)}\n")
    for path in directory.glob("*.key"):
        path.chmod(0o600)
    aes.chmod(0o600)


def sign(description: Path, signature: Path, signer: Signer) -> None:
    """Raises OtaError."""
    _openssl(
        *("cms", "-sign", "-in", str(description), "-out", str(signature), "-outform", "DER", "-md", "sha256"),
        *("-signer", str(signer.certificate), "-inkey", signer.key, "-nosmimecap", "-binary"),
    )


def verify(description: Path, signature: Path, authority: Path) -> None:
    """Raises OtaError."""
    signer = signature.with_name("signer.crt")
    try:
        _openssl(  # -purpose any: openssl has a name for code signing since 3.2 only
            *("cms", "-verify", "-in", str(signature), "-inform", "DER", "-content", str(description), "-binary"),
            *("-CAfile", str(authority), "-purpose", "any", "-signer", str(signer), "-out", "/dev/null"),
        )
        usage = x509.load_pem_x509_certificate(signer.read_bytes()).extensions.get_extension_for_class(ExtendedKeyUsage)
    except OtaError as error:
        raise OtaError(f"the signature does not hold: {error}") from None
    except (ValueError, ExtensionNotFound):
        raise OtaError("the signer's certificate does not say what it is for") from None
    if ExtendedKeyUsageOID.CODE_SIGNING not in usage.value:
        raise OtaError("the signer's certificate is not for code signing")


def encrypt(plain: Path, out: Path, key: AesKey) -> str:
    """Encrypt under a fresh initialisation vector and return that, in hexadecimal digits."""
    vector = secrets.token_bytes(_IV)
    encryptor, padder = Cipher(AES256(key.raw), CBC(vector)).encryptor(), PKCS7(AES256.block_size).padder()
    with plain.open("rb") as source, out.open("wb") as target:
        while chunk := source.read(_CHUNK):
            target.write(encryptor.update(padder.update(chunk)))
        target.write(encryptor.update(padder.finalize()) + encryptor.finalize())
    return vector.hex()


def _openssl(*arguments: str) -> None:
    try:
        done = subprocess.run(["openssl", *arguments], capture_output=True, text=True, check=False)  # noqa: S603, S607
    except FileNotFoundError:
        raise OtaError("openssl is not installed") from None
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        raise OtaError(f"openssl {arguments[0]}: {lines[-1] if lines else f'exit code {done.returncode}'}")
