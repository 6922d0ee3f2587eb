"""Are the certificates of the fleet's CA, the broker, the API and the hub there, good, and for how many days?"""

from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from hub.doctor.subject import Subject
from wire import clock
from wire.operating.findings import Finding

NAME = "certificates"
DAY = 86_400
SOON = 14.0
CAP = 64 * 1024
LOST = "restore pki/ from your backup; without it every node has to join again"


async def check(subject: Subject) -> Finding:
    pki = subject.folder / "pki"
    if not pki.is_dir():
        return Finding(NAME, "warn", f"there is no {pki} yet", "the first start makes it; then back it up")
    missing = [name for name in ("ca.key", "ca.pem", "order.key") if not (pki / name).is_file()]
    if missing:
        return Finding(NAME, "fail", f"missing in {pki}: {', '.join(missing)}", LOST)
    config = subject.config
    files = {path.stem: path for path in sorted(pki.glob("*.pem"))}
    if not config.managed:
        own = {"--broker-ca": config.broker_ca, "--broker-cert": config.broker_cert}
        files |= {name: Path(file) for name, file in own.items() if file}
    return _judged(files, pki / "ca.key")


def _judged(files: dict[str, Path], ca_key: Path) -> Finding:
    days: dict[str, float] = {}
    for name, path in files.items():
        try:
            days[name] = _days(path)
        except (OSError, ValueError) as error:
            remedy = LOST if name == "ca" else f"remove {path}; the next start makes it anew"
            return Finding(NAME, "fail", f"{path} cannot be read: {error}"[:300], remedy)
    if not _belongs(files["ca"], ca_key):
        return Finding(NAME, "fail", f"{ca_key} is not the key of {files['ca']}", LOST)
    said = ", ".join(f"{name} {left:.0f} days" for name, left in days.items())
    if any(left <= 0 for left in days.values()):
        remedy = "is the clock right? A hub that runs renews its own; those of your own broker you renew"
        return Finding(NAME, "fail", f"expired, or not good yet: {said}", remedy)
    if min(days.values()) < SOON:
        return Finding(NAME, "warn", said, "a hub that runs renews its own; those of your own broker you renew")
    return Finding(NAME, "pass", said)


def _days(path: Path) -> float:
    """Days that a certificate is still good for; 0 when it is not good yet."""
    with path.open("rb") as file:
        certificate = x509.load_pem_x509_certificate(file.read(CAP))
    now = clock.unix()
    if now < certificate.not_valid_before_utc.timestamp():
        return 0.0
    return (certificate.not_valid_after_utc.timestamp() - now) / DAY


def _belongs(certificate: Path, key: Path) -> bool:
    try:
        ca = x509.load_pem_x509_certificate(certificate.read_bytes()[:CAP])
        return load_pem_private_key(key.read_bytes()[:CAP], password=None).public_key() == ca.public_key()
    except (OSError, ValueError):
        return False
