"""The client's calls about the hub's models."""

from __future__ import annotations

import os
from collections.abc import Collection

from ampacity.api.answers import ModelPage
from ampacity.hub.version import ModelVersion

from .calls import Calls, path_of
from .link import Query

HASHING_S = 3600.0
"""Registering a model reads all its bytes first."""


class ModelCalls(Calls):
    """Models of the hub."""

    def models(self, name: str | None = None) -> tuple[ModelVersion, ...]:
        """The hub's models by name; with a name all versions of that one, the newest first."""
        query: Query = {"name": name}
        found = self._link.call("GET", "/models", ModelPage, query=query)
        models = list(found.models)
        while found.next is not None:
            found = self._link.call("GET", "/models", ModelPage, query={**query, "next": found.next})
            models.extend(found.models)
        return tuple(models)

    def model(self, ref: str) -> ModelVersion:
        """One version: ``name`` (the newest), ``name:version`` or ``name:tag``."""
        return self._link.call("GET", path_of("models", ref), ModelVersion)

    def add_model(
        self,
        name: str,
        path: str | os.PathLike[str],
        *,
        tags: Collection[str] = (),
        run: str | None = None,
        step: int | None = None,
        data: Collection[str] = (),
        project: str | None = None,
    ) -> ModelVersion:
        """Register the files at ``path`` (on the control plane's machine) as the model's next version.

        ``run`` is the workload that made them, at ``step``; ``data`` names the data sets.

        Raises:
            InvalidSpec: the path or the name is wrong.
        """
        body = {
            "name": name,
            "path": os.path.abspath(path),
            "tags": tuple(tags),
            "run": run,
            "step": step,
            "data": tuple(data),
            "project": self._in(project),
        }
        return self._link.call("POST", "/models", ModelVersion, body=body, wait_s=HASHING_S)

    def remove_model(self, ref: str) -> ModelVersion:
        """Remove one version; returns what it was.

        Raises:
            Conflict: it is in use.
        """
        return self._link.call("DELETE", path_of("models", ref), ModelVersion)
