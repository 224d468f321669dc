"""What ``run`` and ``serve`` were told, as the keys of a workload file, so that both are checked by the same rules."""

from __future__ import annotations

import os
import re
import secrets
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ampacity.cli.failure import Usage
from ampacity.model.errors import InvalidSpec, Where
from ampacity.model.workload import WorkloadSpec

OPTIONS = {
    "resources.accelerators": "--accelerators",
    "resources.cpus": "--cpus",
    "resources.memory": "--memory",
    "resources.disk": "--disk",
    "num_nodes": "--nodes",
    "ranks_per_node": "--ranks-per-node",
    "name": "--name",
    "type": "--kind",
    "workdir": "--workdir",
    "retry.max": "--retry",
    "max_duration": "--max-duration",
    "grace": "--grace",
    "priority": "--priority",
    "queue": "--queue",
    "after": "--after",
    "setup": "--setup",
    "checkpoint": "--checkpoint-dir",
    "checkpoint.dir": "--checkpoint-dir",
    "checkpoint.every": "--checkpoint-every",
    "replicas": "--replicas",
    "engine": "--engine",
    "engine_args": "--engine-arg",
    "concurrency": "--concurrency",
    "routing": "--routing",
    "hedge_after": "--hedge-after",
    "price": "--price",
    "overload.max_wait": "--max-wait",
    "served_name": "--served-name",
    "model": "MODEL",
    "envs": "--env",
    "array": "--array",
    "volumes": "--volume",
}
"""The option that says a key."""

NAME_LENGTH = 63
_INTERPRETERS = ("python", "python3", "bash", "sh", "zsh", "uv", "torchrun", "accelerate", "env", "time", "nohup")
_SCRIPT = re.compile(r"\.(py|sh|bash)$")


def spec_from_options(keys: Mapping[str, Any]) -> WorkloadSpec:
    """The spec. Raises ``InvalidSpec`` that names the option at fault."""
    from ampacity.model.workload_file import spec_from_plain

    try:
        return spec_from_plain(keys, directory=os.getcwd())
    except InvalidSpec as error:
        key = error.where.key
        option = OPTIONS.get(key) or OPTIONS.get(re.split(r"[.\[]", key)[0], key)
        message = error.message.removeprefix(f"{error.where}: ")
        raise InvalidSpec(_in_options(message), where=Where(key=option), hint=_in_options(error.hint)) from None


def _in_options(text: str) -> str:
    """In the words of options where it speaks of keys."""
    return re.sub(r"'type: (\w+)'", r"--kind \1", text)


def shell_line(command: Sequence[str]) -> str:
    """One argument is a line for the shell as it stands; several are a command with its arguments."""
    return command[0] if len(command) == 1 else shlex.join(command)


def name_from(command: Sequence[str]) -> str:
    """A name that says what runs, and that nothing else has: ``train-7f3a``."""
    words = list(command) if len(command) > 1 else command[0].split()
    if "-c" in words:
        words = " ".join(words[words.index("-c") + 1 :]).split() or words
    plain = [word for word in words if not word.startswith("-") and "=" not in word]
    script = next((word for word in plain if _SCRIPT.search(word)), None)
    chosen = script or next((word for word in plain if os.path.basename(word) not in _INTERPRETERS), None) or words[0]
    stem = _SCRIPT.sub("", os.path.basename(chosen))
    return f"{slug(stem)[:40].strip('-') or 'run'}-{secrets.token_hex(2)}"


def slug(text: str) -> str:
    """Small letters, digits and single ``-``; it begins with a letter or digit, and may be empty."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:NAME_LENGTH].strip("-")


def envs_from(given: Sequence[str]) -> dict[str, str]:
    """``K=V`` as it stands; ``K`` alone passes on this shell's value. Raises ``Usage``."""
    envs: dict[str, str] = {}
    for item in given:
        key, equals, value = item.partition("=")
        if not equals:
            if key not in os.environ:
                raise Usage(f"--env {key}: it is not set in this shell.", hint=f"Write --env {key}=VALUE.")
            value = os.environ[key]
        envs[key] = value
    return envs


def volumes_from(given: Sequence[str]) -> dict[str, Any]:
    """``WHAT:PATH`` and ``WHAT:PATH:ro``, as Docker has them. Raises ``Usage``."""
    volumes: dict[str, Any] = {}
    for item in given:
        what, *rest = item.split(":")
        if not what or len(rest) not in (1, 2) or (len(rest) == 2 and rest[1] not in ("ro", "rw")):
            raise Usage(f"--volume {item}: is not understood.", hint="Write --volume corpus:/data, or corpus:/data:ro.")
        if rest[0] in volumes:
            raise Usage(f"--volume {item}: something else is at {rest[0]} already.", hint="Choose another path.")
        key = "folder" if "/" in what or what.startswith(".") else "volume"
        volumes[rest[0]] = {key: what} | ({"read_only": True} if rest[1:] == ["ro"] else {})
    return volumes


def refuse_workload_file(command: Sequence[str]) -> None:
    """``run`` takes a command. Raises ``Usage`` where a workload file was meant."""
    word = command[0]
    if len(command) == 1 and word.endswith((".yaml", ".yml")) and Path(word).is_file():
        raise Usage(f"{word} is a workload file; `run` takes a command.", hint=f"`ampacity apply {word}` submits it.")
