"""Meters: what is told is what prometheus-client reads, and processes add up."""

from __future__ import annotations

from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from ampacity.model.ids import DEFAULT_PROJECT
from ampacity.model.request_usage import RequestRecord
from ampacity.serving.metering import MeterBoard
from ampacity.serving.metering.meters import Meters

WELL = RequestRecord(
    at=0.0, project=DEFAULT_PROJECT, model='a"b', input_tokens=20, output_tokens=5, ttft_s=0.2, total_s=1.0
)
FAILED = RequestRecord(at=0.0, project=DEFAULT_PROJECT, model="c", status=503, total_s=0.01)


def samples(text: str) -> dict[tuple[str, ...], float]:
    return {
        (sample.name, *(f"{name}={value}" for name, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_what_is_told_can_be_read_and_is_right() -> None:
    meters = Meters()
    meters.observe([WELL, WELL, FAILED])
    told = samples(meters.text())
    duration = "gen_ai_server_request_duration_seconds"
    assert told[f"{duration}_count", 'gen_ai_request_model=a"b'] == 2
    assert told[f"{duration}_sum", 'gen_ai_request_model=a"b'] == 2.0
    assert told[f"{duration}_bucket", 'gen_ai_request_model=a"b', "le=0.64"] == 0
    assert told[f"{duration}_bucket", 'gen_ai_request_model=a"b', "le=1.28"] == 2
    assert told[f"{duration}_count", "error_type=503", "gen_ai_request_model=c"] == 1
    assert told["gen_ai_server_time_per_output_token_seconds_sum", 'gen_ai_request_model=a"b'] == 0.4
    assert told["gen_ai_server_time_to_first_token_seconds_count", 'gen_ai_request_model=a"b'] == 2
    assert told["gen_ai_client_token_usage_sum", 'gen_ai_request_model=a"b', "gen_ai_token_type=input"] == 40


def test_processes_add_up_and_those_that_are_gone_stay(tmp_path: Path) -> None:
    board = MeterBoard(tmp_path)
    board.observe([WELL], 1)
    (tmp_path / "1.json").write_bytes(next(tmp_path.glob("*.json")).read_bytes())
    (tmp_path / "2.json").write_text("nonsense")
    told = samples(board.text())
    assert told["gen_ai_server_request_duration_seconds_count", 'gen_ai_request_model=a"b'] == 2
    assert told[("ampacity_gateway_usage_records_lost_total",)] == 2
