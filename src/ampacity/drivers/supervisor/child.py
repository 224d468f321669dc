"""Start one process: in a session of its own, with its output in pipes and its volumes in their places, ended by the
kernel if the supervisor dies."""

from __future__ import annotations

import errno
import os
import signal

from . import prctl
from .clone import fork_into

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import NoReturn

    from .limits import Limits
    from .mounts import Mounts


class NotLaunched(Exception):
    """The process could not be started; the text says what was missing."""


class Child:
    """A started process. ``status`` as ``waitpid`` gives it, once it has ended."""

    __slots__ = ("pid", "status")

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.status: int | None = None


def spawn(
    argv: Sequence[str],
    env: Mapping[str, str],
    workdir: str,
    output: tuple[int, int],
    limits: Limits,
    mounts: Mounts,
) -> Child:
    """Fork and exec, with the descriptors ``output`` as its stdout and stderr, and within the limits from its first
    instruction on.

    Returns when the new program runs. Raises ``NotLaunched``.
    """
    supervisor = os.getpid()
    fault_read, fault_write = os.pipe()
    pid, born_in_tree = fork_into(limits.group.tree)
    if pid == 0:
        _become(argv, env, workdir, supervisor, (*output, fault_write), lambda: limits.enter(born_in_tree), mounts)
    os.close(fault_write)
    fault = os.read(fault_read, 100)
    os.close(fault_read)
    if not fault:
        return Child(pid)
    os.waitpid(pid, 0)
    stage, _, number = fault.decode().partition(":")
    if stage.startswith("mount"):
        raise NotLaunched(_explain_mount(stage, int(number), mounts))
    raise NotLaunched(_explain(stage, int(number), argv, env, workdir))


def _become(
    argv: Sequence[str],
    env: Mapping[str, str],
    workdir: str,
    supervisor: int,
    pipes: tuple[int, int, int],
    confine: Callable[[], None],
    mounts: Mounts,
) -> NoReturn:
    """In the new process. Never returns: nothing of the supervisor's may run here."""
    stage = "process"
    try:
        os.setsid()
        for signum in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD, signal.SIGPIPE, signal.SIGHUP, signal.SIGXFSZ):
            signal.signal(signum, signal.SIG_DFL)
        if mounts.asked:
            stage = "mounts"
            mounts.enter()
            for index in range(len(mounts.asked)):
                stage = f"mount {index}"
                mounts.bind(index)
        stage = "process"
        prctl.die_with_parent(signal.SIGKILL)  # after the mounts: who enters a user namespace loses it
        if os.getppid() != supervisor:
            os._exit(137)
        stage = "limits"
        confine()
        null = os.open("/dev/null", os.O_RDONLY)
        for source, target in ((null, 0), (pipes[0], 1), (pipes[1], 2)):
            os.dup2(source, target)
        stage = "workdir"
        os.chdir(workdir)
        stage = "exec"
        _exec(list(argv), dict(env))
    except OSError as error:
        os.write(pipes[2], f"{stage}:{error.errno or 0}".encode())
    except (ValueError, IndexError):
        os.write(pipes[2], f"{stage}:{errno.EINVAL}".encode())
    finally:
        os._exit(127)


def _exec(argv: list[str], env: dict[str, str]) -> NoReturn:
    """As ``os.execvpe``, which imports a module on its way. Raises ``OSError``, ``ValueError``, ``IndexError``."""
    if "/" in argv[0]:
        os.execve(argv[0], argv, env)
    denied: OSError | None = None
    for folder in env.get("PATH", os.defpath).split(os.pathsep):
        try:
            os.execve(os.path.join(folder, argv[0]), argv, env)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            denied = denied or error
    raise denied or FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))


def _explain_mount(stage: str, number: int, mounts: Mounts) -> str:
    reason, _, index = os.strerror(number), *stage.partition(" ")[1:]
    if not index:
        return (
            f"its volumes cannot be mounted on this node ({reason}); only a folder that is mounted at its own path, "
            "and not read only, can be had here"
        )
    target = mounts.asked[int(index)]["target"]
    if number in (errno.EACCES, errno.EROFS, errno.EPERM) and not os.path.exists(target):
        return f"its volume cannot be mounted at {target}: there is no such folder, and it cannot be made ({reason})"
    return f"its volume cannot be mounted at {target}: {reason}"


def _explain(stage: str, number: int, argv: Sequence[str], env: Mapping[str, str], workdir: str) -> str:
    if stage == "workdir":
        reason = "does not exist" if number == errno.ENOENT else f"cannot be entered: {os.strerror(number)}"
        return f"the working directory {workdir} {reason}"
    if stage == "limits":
        return f"its limits cannot be set on this node: {os.strerror(number)}"
    command = argv[0] if argv else ""
    if number == errno.ENOENT and "/" in command and os.path.exists(os.path.join(workdir, command)):
        return f"{command} cannot be run: the interpreter that its first line names does not exist"
    if number == errno.ENOENT:
        where = "" if "/" in command else f" (PATH is {env.get('PATH', os.defpath)})"
        return f"command not found: {command}{where}"
    if number == errno.EACCES:
        return f"{command} is not executable"
    return f"{command or 'the command'} cannot be started: {os.strerror(number)}"
