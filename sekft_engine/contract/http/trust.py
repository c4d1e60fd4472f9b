"""Certificate authorities for TLS, of ``SSL_CERT_FILE`` or ``SSL_CERT_DIR``, else certifi's."""

from __future__ import annotations

import os
import ssl
from collections.abc import Mapping
from pathlib import Path

from sekft_engine.core.errors import BadInput

#: OpenSSL's numbers for what can be wrong with a certificate, with the way out.
_MENDS = {
    9: "look at this machine's clock",
    10: "let the server renew it, and look at this machine's clock",
    62: "ask for the server by a name that stands in its certificate",
    64: "ask for the server by a name that stands in its certificate",
}


def trusted(environment: Mapping[str, str] | None = None) -> ssl.SSLContext:
    """A context that checks certificates and names.

    Args:
        environment: its variables; None = those of this process.

    Raises:
        BadInput: a variable names no file or folder of certificates.
    """
    variables = os.environ if environment is None else environment
    if file := variables.get("SSL_CERT_FILE", ""):
        return _from("SSL_CERT_FILE", file=file)
    if folder := variables.get("SSL_CERT_DIR", ""):
        return _from("SSL_CERT_DIR", folder=folder)
    import certifi

    return ssl.create_default_context(cafile=certifi.where())


def why_not(error: ssl.SSLCertVerificationError) -> tuple[str, str]:
    """What is wrong with a server's certificate, and the way out."""
    mend = _MENDS.get(error.verify_code, "name the authority that signed it in SSL_CERT_FILE")
    return f"its TLS certificate is not trusted: {error.verify_message}", mend


def _from(variable: str, *, file: str | None = None, folder: str | None = None) -> ssl.SSLContext:
    named = file or folder or ""
    there = Path(named).is_file() if file else any(map(os.path.isdir, named.split(os.pathsep)))
    why = "there is no such file" if file else "there is no such folder"
    if there:
        try:
            return ssl.create_default_context(cafile=file, capath=folder)
        except (OSError, ValueError):  # SSLError is an OSError
            why = "it holds no certificates that can be read"
    raise BadInput(
        f"{why}: {named}",
        where=variable,
        mend="name a PEM file of authorities, or unset the variable",
    )
