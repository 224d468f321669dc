"""To be imported before anything of the router: it is measured as the gateway runs it, compiled where that has been
done or, without ``--quick``, is done now."""

from __future__ import annotations

import subprocess
import sys

from ampacity.serving import compiled

if "--quick" not in sys.argv:
    subprocess.run([sys.executable, "-m", "ampacity.serving.compiling"], check=True)
COMPILED = compiled.use()
