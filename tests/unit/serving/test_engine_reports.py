"""Engines' own words about themselves."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ampacity.serving.routing import Report
from ampacity.serving.routing.reports import report_of

VLLM = b"""# HELP vllm:num_requests_running Number of requests in model execution batches.
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="m"} 3.0
vllm:num_requests_running{engine="1",model_name="m"} 2.0
vllm:num_requests_waiting{engine="0",model_name="m"} 7.0
vllm:num_requests_waiting_by_reason{engine="0",reason="capacity"} 99.0
vllm:kv_cache_usage_perc{engine="0",model_name="m"} 0.25
vllm:kv_cache_usage_perc{engine="1",model_name="m"} 0.5
"""
SGLANG = b"""sglang:num_running_reqs{model_name="m"} 4.0
sglang:num_queue_reqs{model_name="m"} 1.0
sglang:token_usage{model_name="m"} 0.28
"""
TGI = b"tgi_batch_current_size 5\ntgi_queue_size 2\n"
LLAMA_CPP = b"llamacpp:requests_processing 1\r\nllamacpp:requests_deferred 0\r\n"


@pytest.mark.parametrize(
    ("metrics", "report"),
    [
        (VLLM, Report(running=5, waiting=7, cache_usage=0.5)),
        (SGLANG, Report(running=4, waiting=1, cache_usage=0.28)),
        (TGI, Report(running=5, waiting=2)),
        (LLAMA_CPP, Report(running=1, waiting=0)),
        (b"http_requests_total 17\n", Report()),
        (b"", Report()),
    ],
)
def test_each_engine_is_understood(metrics: bytes, report: Report) -> None:
    assert report_of(metrics) == report


@pytest.mark.parametrize("value", [b"NaN", b"-1", b"+Inf", b"many", b"1e300"])
def test_what_makes_no_sense_is_left_out(value: bytes) -> None:
    assert report_of(b"vllm:num_requests_waiting " + value + b"\n") == Report()


@given(st.binary(max_size=300))
def test_nothing_upsets_it(noise: bytes) -> None:
    report_of(noise)
    assert report_of(TGI + b"\n" + noise).running is not None
