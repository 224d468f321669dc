"""An interrupted stream: whether another engine can go on with it, and with what."""

from __future__ import annotations

from ampacity.serving.table import ModelRoute

from .continuing import CHAT, CannotContinue, Progress, continued_body, ending, is_spent
from .heads import RequestHead
from .streams import Stream


class Takeover:
    """``body``: the request for the rest. ``rest``: the events that are missing where no tokens are. Raises
    ``CannotContinue``.

    Args:
        raw: the body as it came; ``None`` = it was too long to be kept.
        body: the request's, as the client sent it.
    """

    __slots__ = ("body", "progress", "rest")

    def __init__(
        self, stream: Stream, raw: list[bytes] | None, *, request: RequestHead, route: ModelRoute, body: bytes
    ) -> None:
        if not route.resume.covers(chat=request.path == CHAT):
            raise CannotContinue("its engine cannot continue it")
        if raw is None:
            raise CannotContinue("it is too long to be continued")
        self.progress: Progress = stream.progress(request.path, b"".join(raw))
        self.rest: bytes | None = None
        self.body = b""
        if self.progress.finished or self.progress.done or is_spent(body, self.progress):
            self.rest = ending(self.progress)
        else:
            self.body = continued_body(body, self.progress)
