"""Finding the control plane: by address, or by the ``control.json`` that it leaves in its state folder."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from ampacity.model.errors import Forbidden, NotRunning

HOME_VARIABLE = "AMPACITY_HOME"
URL_VARIABLE = "AMPACITY_URL"
TOKEN_VARIABLE = "AMPACITY_TOKEN"

START_HINT = "Start one with `ampacity up`."


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """Where a control plane answers. With a ``socket`` (a path) the ``url`` is only a name, and no token is needed.

    ``pid``, ``version`` and ``gateway_url`` are known where the endpoint was found in a state folder.
    """

    url: str
    socket: str = ""
    token: str = ""
    pid: int | None = None
    version: str = ""
    gateway_url: str = ""

    def __str__(self) -> str:
        return self.socket or self.url


class _ControlFile(msgspec.Struct, kw_only=True):
    """``control.json``, as docs/architecture.md has it."""

    pid: int
    started_at: float = 0.0
    version: str = ""
    socket: str = ""
    api_url: str = ""
    gateway_url: str = ""


def state_folder(environ: Mapping[str, str] | None = None) -> Path:
    """``$AMPACITY_HOME``, else ``~/.ampacity``."""
    home = (os.environ if environ is None else environ).get(HOME_VARIABLE)
    return Path(home).expanduser() if home else Path.home() / ".ampacity"


def locate(state_dir: str | os.PathLike[str] | None = None) -> Endpoint:
    """The endpoint of the control plane that owns the state folder; its Unix socket where it has one.

    Raises:
        NotRunning: there is none, or the one that wrote ``control.json`` is gone.
        Forbidden: the folder belongs to another user.
    """
    folder = state_folder() if state_dir is None else Path(state_dir)
    control = _read(folder)
    if not _alive(control.pid):
        raise NotRunning(f"The control plane of {folder} is gone (process {control.pid}).", hint=START_HINT)
    known = Endpoint(url="http://localhost", pid=control.pid, version=control.version, gateway_url=control.gateway_url)
    if control.socket and os.path.exists(control.socket):
        return replace(known, socket=control.socket)
    if control.api_url:
        return replace(known, url=control.api_url, token=_token(folder))
    raise NotRunning(f"The control plane of {folder} does not listen.", hint=START_HINT)


def from_environment(environ: Mapping[str, str] | None = None) -> Endpoint:
    """The endpoint that ``AMPACITY_URL`` and ``AMPACITY_TOKEN`` name; without them that of the state folder.

    Raises what :func:`locate` raises.
    """
    environ = os.environ if environ is None else environ
    url = environ.get(URL_VARIABLE)
    if url:
        return Endpoint(url=url.rstrip("/"), token=environ.get(TOKEN_VARIABLE, ""))
    return locate(state_folder(environ))


def _read(folder: Path) -> _ControlFile:
    path = folder / "control.json"
    try:
        return msgspec.json.decode(path.read_bytes(), type=_ControlFile)
    except (FileNotFoundError, NotADirectoryError):
        raise NotRunning(f"No control plane runs in {folder}.", hint=START_HINT) from None
    except PermissionError:
        hint = "Ask as that user, or with AMPACITY_URL and AMPACITY_TOKEN."
        raise Forbidden(f"{path} belongs to another user.", hint=hint) from None
    except msgspec.DecodeError as error:
        raise NotRunning(f"{path} cannot be read: {error}.", hint="`ampacity up` writes it anew.") from None


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return pid > 0


def _token(folder: Path) -> str:
    try:
        return (folder / "token").read_text().strip()
    except FileNotFoundError:
        return ""
    except PermissionError:
        raise Forbidden(f"{folder / 'token'} belongs to another user.", hint=f"Set {TOKEN_VARIABLE}.") from None
