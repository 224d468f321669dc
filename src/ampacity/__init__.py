"""Ampacity turns machines into an AI platform: train, serve, host, watch and optimise AI workloads.

The public names are few and loaded lazily, so that ``import ampacity`` costs next to nothing:

* :class:`ampacity.Client`: talk to a control plane.
* :mod:`ampacity.train`: report progress and keep checkpoints from inside a training job.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ampacity.client import Client as Client

__version__ = "0.1.0"
__all__ = ["Client", "__version__"]


def __getattr__(name: str) -> Any:
    if name == "Client":
        from ampacity.client import Client

        return Client
    raise AttributeError(f"module 'ampacity' has no attribute {name!r}")
