"""Any error, as a person should read it."""

from __future__ import annotations

from sekft_engine.errors import JobFailed, SekftError, Unavailable
from sekft_engine.files import explain_os_error


def known_error(error: BaseException) -> SekftError:
    """The error as a person should read it, in one line."""
    if isinstance(error, SekftError):
        return error
    if isinstance(error, OSError):
        explained = explain_os_error(error)
        if explained is not None:
            return explained
    if isinstance(error, ModuleNotFoundError):
        return Unavailable(
            f"the Python package {error.name} is missing",
            mend="install the extra: pip install 'sekft-tui[gpu]'",
        )
    text = str(error).strip().splitlines()
    return JobFailed(f"{type(error).__name__}: {text[0]}" if text else type(error).__name__)
