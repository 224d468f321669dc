"""The command line answers at once: nothing heavy is loaded before it is needed."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = ("rich", "httpx", "msgspec", "pydantic", "sqlalchemy", "torch", "starlette", "uvicorn", "psutil", "ruamel")


def loaded_by(code: str) -> set[str]:
    """The top names of all modules that are loaded after the code."""
    script = f"{code}\nimport sys\nprint('\\n' + ' '.join(sorted({{n.split('.')[0] for n in sys.modules}})))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(done.stdout.splitlines()[-1].split())


def test_importing_the_cli_loads_not_even_click() -> None:
    assert loaded_by("import ampacity.cli").isdisjoint({*HEAVY, "click"})


@pytest.mark.parametrize(
    "argv", [["--help"], ["--version"], ["ps", "--help"], ["run", "--help"], ["completion", "bash"]]
)
def test_help_loads_nothing_heavy(argv: list[str]) -> None:
    code = f"""
import sys
sys.argv = ["ampacity", *{argv!r}]
from ampacity.cli import main
try:
    main()
except SystemExit as end:
    assert not end.code
"""
    loaded = loaded_by(code)
    assert "click" in loaded
    assert loaded.isdisjoint({*HEAVY} - ({"msgspec"} if argv[0] == "completion" else set())), loaded & {*HEAVY}
