"""What engines say of themselves at ``/metrics``, in the words of each: vLLM, SGLang, TGI, llama.cpp.

``transformers serve`` and others say nothing; then nothing is known but what the router has counted itself.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from .base import Report

RUNNING = (
    b"vllm:num_requests_running",
    b"sglang:num_running_reqs",
    b"tgi_batch_current_size",
    b"llamacpp:requests_processing",
)
WAITING = (
    b"vllm:num_requests_waiting",
    b"sglang:num_queue_reqs",
    b"tgi_queue_size",
    b"llamacpp:requests_deferred",
)
CACHE_USAGE = (
    b"vllm:kv_cache_usage_perc",
    b"vllm:gpu_cache_usage_perc",  # vLLM until 0.10
    b"sglang:token_usage",
    b"llamacpp:kv_cache_usage_ratio",
)

_SAMPLE = re.compile(
    rb"^(%s)(?:\{[^\n]*\})?[ \t]+([^ \t\r\n]+)" % b"|".join(map(re.escape, RUNNING + WAITING + CACHE_USAGE)),
    re.MULTILINE,
)
_MOST = 1e9


def report_of(metrics: bytes) -> Report:
    """From Prometheus's text format. Of several series (models, ranks) requests are summed, the fullest cache counts.

    What is no number, is not finite or below nothing is left out: no engine's word can upset the router.
    """
    values: dict[bytes, list[float]] = {}
    for name, text in _SAMPLE.findall(metrics):
        try:
            value = float(text)
        except ValueError:
            continue
        if 0.0 <= value <= _MOST:
            values.setdefault(name, []).append(value)
    running, waiting, usage = (_first(values, names) for names in (RUNNING, WAITING, CACHE_USAGE))
    return Report(
        running=None if running is None else int(sum(running)),
        waiting=None if waiting is None else int(sum(waiting)),
        cache_usage=None if usage is None else min(1.0, max(usage)),
    )


def _first(values: Mapping[bytes, list[float]], names: tuple[bytes, ...]) -> list[float] | None:
    return next((values[name] for name in names if name in values), None)
