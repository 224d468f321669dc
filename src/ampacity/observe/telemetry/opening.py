"""The door to the exporters: OpenTelemetry is imported here first, where it is installed."""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .otlp import Otlp

log = logging.getLogger(__name__)


def open_otlp(environ: Mapping[str, str], signals: Collection[str], *, service_name: str) -> Otlp | None:
    """Exporters of these signals; ``None``: OpenTelemetry is not installed, which is logged.

    ``service_name``: what this process is called where the environment does not say.
    """
    try:
        from .otlp import Otlp
    except ImportError as error:
        log.warning("OpenTelemetry was asked for, but is not installed (%s): pip install 'ampacity[telemetry]'", error)
        return None
    return Otlp(signals, service_name=environ.get("OTEL_SERVICE_NAME") or service_name, began_at=time.time())
