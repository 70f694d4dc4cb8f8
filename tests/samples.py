"""Small files that several tests need."""

from __future__ import annotations

import io
import zipfile


def eicar() -> bytes:
    """EICAR's test file, which every scanner takes for malware; put together here, lest one takes this file for it."""
    return "".join((r"X5O!P%@AP[4\PZX54(P^)7CC)7}$", "EICAR-STANDARD-", "ANTIVIRUS-TEST-FILE!$H+H*")).encode()


def zip_under_a_password() -> bytes:
    """A zip whose entry says that it is encrypted (APPNOTE.TXT, 4.4.4), which a scanner cannot look into."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as whole:
        whole.writestr("secret.txt", "secret")
    content = bytearray(buffer.getvalue())
    content[6] |= 1
    return bytes(content)
