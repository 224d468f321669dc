"""``python -m ampacity.serving.compiling``: compile the gateway's hot path for this machine's Python.

Needs a C compiler and what ``pip install 'ampacity[compile]'`` brings (mypyc); takes a minute or two, once a release.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from .compiled import FOLDER_VARIABLE, MODULES, folder, source_of

_BUILD = """
import sys
from mypyc.build import mypycify
from setuptools import setup
files = [*sys.argv.pop().split(), "--ignore-missing-imports"]
setup(name="ampacity-hot-path", ext_modules=mypycify(files, opt_level="3", debug_level="0"))
"""


def compile_into(found: Path) -> None:
    """Compile all modules; the folder is complete or not there. Raises ``subprocess.CalledProcessError``."""
    with tempfile.TemporaryDirectory(prefix="ampacity-compile-") as name:
        tree = Path(name)
        shutil.copytree(source_of("ampacity.serving").with_suffix("").parent, tree / "ampacity")
        files = " ".join(str(Path(*module.split(".")).with_suffix(".py")) for module in MODULES)
        command = [sys.executable, "-c", _BUILD, "build_ext", "--inplace", files]
        subprocess.run(command, cwd=tree, check=True, stdout=subprocess.DEVNULL)
        found.parent.mkdir(parents=True, exist_ok=True)
        fresh = Path(tempfile.mkdtemp(prefix=".fresh-", dir=found.parent))
        for made in tree.rglob("*.so"):
            shutil.copy(made, fresh / ".".join(made.relative_to(tree).parts))
        (fresh / "complete").touch()
        shutil.rmtree(found, ignore_errors=True)
        os.replace(fresh, found)


def main() -> int:
    found = folder()
    if found is None:
        print(f"error: {FOLDER_VARIABLE} is empty: compiled code is not to be used.", file=sys.stderr)
        return 2
    if (found / "complete").exists():
        print(f"{found} is there already.")
        return 0
    try:
        compile_into(found)
    except subprocess.CalledProcessError:
        hint = "It needs a C compiler, Python's headers, and pip install 'ampacity[compile]'."
        print(f"error: it could not be compiled (above). {hint}", file=sys.stderr)
        return 1
    print(f"{found} is used by gateways that start from now on.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
