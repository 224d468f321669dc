"""The Protocol of an inference engine."""

from __future__ import annotations

from typing import Protocol

from ampacity.model.command import Command
from ampacity.model.traffic import Resume


class Engine(Protocol):
    """Turns a model's folder into a server with an OpenAI-compatible API on ``127.0.0.1:{port}``.

    ``health_path`` answers 2xx once the model is loaded, not before. ``resumes``: which streams it can go on with that
    another one began: chats need ``continue_final_message``.
    """

    health_path: str
    resumes: Resume

    def command(self, model_dir: str, name: str, arguments: tuple[str, ...], *, python: str) -> Command:
        """What to run to serve the model as ``name``. ``arguments`` are the user's, and come last."""
        ...

    def upstream_name(self, name: str) -> str:
        """What requests to this engine have to call the model that is served as ``name``."""
        ...
