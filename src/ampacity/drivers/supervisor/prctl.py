"""Three calls of prctl(2) that Python has no function for. Without ctypes they do nothing and say so."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_PR_SET_PDEATHSIG = 1
_PR_SET_NAME = 15
_PR_SET_CHILD_SUBREAPER = 36

_prctl: Callable[..., int] | None = None


def load() -> None:
    """Find the function once, in the warm parent, so that the forked supervisors have it already."""
    global _prctl
    try:
        import ctypes

        _prctl = ctypes.CDLL(None).prctl
    except (ImportError, OSError, AttributeError):
        _prctl = None


def die_with_parent(signum: int) -> bool:
    """This process gets the signal when its parent dies."""
    return _call(_PR_SET_PDEATHSIG, signum)


def adopt_orphans() -> bool:
    """Descendants whose parent died become children of this process, whatever sessions they made."""
    return _call(_PR_SET_CHILD_SUBREAPER, 1)


def set_name(name: str) -> bool:
    """What ``ps`` shows, 15 bytes at most."""
    return _call(_PR_SET_NAME, name.encode()[:15])


def _call(option: int, value: int | bytes) -> bool:
    return _prctl is not None and bool(_prctl(option, value, 0, 0, 0) == 0)
