"""Routes: names for models, weights, shadows and fallbacks, over real processes."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import httpx
import msgspec
import pytest
from gateway_process import Gateway, eventually, running_gateway

from ampacity.model.access import ApiKey, Budget, Limits, digest_of, key_id
from ampacity.model.request_usage import RequestRecord
from ampacity.model.route import Fallback, Route, Shadow, Share, Sticky, Trouble
from ampacity.model.service_terms import Price
from ampacity.serving.metering.spool import Line
from engine_double import EngineDouble

SPLIT = Route(name="chat", to=(Share(model="old", weight=70), Share(model="new", weight=30)))


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Gateway]:
    with running_gateway(tmp_path) as found:
        yield found


@pytest.fixture
def old() -> Iterator[EngineDouble]:
    with EngineDouble("old") as found:
        yield found


@pytest.fixture
def new() -> Iterator[EngineDouble]:
    with EngineDouble("new") as found:
        yield found


def falling(*rules: Fallback) -> Route:
    return Route(name="chat", to=(Share(model="old"),), fallback=rules)


def said(answer: httpx.Response) -> tuple[int, str, str]:
    """The status, which model answered, and why not the one of the first choice."""
    return answer.status_code, answer.headers.get("x-ampacity-model", ""), answer.headers.get("x-ampacity-fallback", "")


def records(gateway: Gateway) -> list[RequestRecord]:
    """What was written down so far."""
    try:
        texts = [path.read_bytes() for path in sorted((gateway.table.parent / "usage").glob("*"))]
    except FileNotFoundError:
        return []  # one is given its number at this moment: look again
    found = [msgspec.json.decode(line, type=Line).record for text in texts for line in text.splitlines()]
    return [record for record in found if record is not None]


def test_one_more_name_for_a_model(gateway: Gateway, old: EngineDouble) -> None:
    gateway.route({"old": [old]}, routes=(Route(name="gpt-4o-mini", to=(Share(model="old"),)),))
    answer = gateway.ask("gpt-4o-mini")
    assert said(answer) == (200, "old", "")
    assert answer.json()["model"] == "old", "the engine hears its own name"
    assert gateway.models() == ["old", "gpt-4o-mini"]
    assert said(gateway.ask("old")) == (200, "", ""), "who asks for the model itself is told nothing"
    assert "Did you mean gpt-4o-mini?" in gateway.ask("gpt-4-mini").json()["error"]["message"]
    eventually(lambda: [(each.model, each.route) for each in records(gateway)] == [("old", "gpt-4o-mini"), ("old", "")])


def test_weights_and_who_stays_on_which_side(gateway: Gateway, old: EngineDouble, new: EngineDouble) -> None:
    gateway.route({"old": [old], "new": [new]}, routes=(SPLIT,))
    sides = {}
    for caller in ("x-session-id", "user", "x-request-id"):
        for number in range(40):
            name = f"{caller}-{number}"
            given = {"user": name} if caller == "user" else {}
            headers = {} if caller == "user" else {caller: name}
            found = {said(gateway.ask("chat", headers=headers, **given))[1] for _ in range(2)}
            assert len(found) == 1, "the same caller, the same side"
            sides[name] = found.pop()
    counts = Counter(sides.values())
    assert 55 <= counts["old"] <= 110, counts
    assert len(old.seen) + len(new.seen) == 240
    gateway.route({"old": [old], "new": []}, routes=(SPLIT,))
    assert {said(gateway.ask("chat", user=name))[1] for name in sides} == {"old"}, (
        "a side without replicas gets nothing"
    )


def test_a_key_may_be_what_is_sticky_and_opens_names(gateway: Gateway, old: EngineDouble, new: EngineDouble) -> None:
    keys = []
    for number in range(12):
        digest = digest_of(f"k{number}")
        keys.append(ApiKey(id=key_id(digest), name=f"k{number}", digest=digest, models=("chat",)))
    by_key = Route(name="chat", to=(Share(model="old"), Share(model="new")), sticky=Sticky.KEY)
    gateway.route({"old": [old], "new": [new]}, keys=tuple(keys), routes=(by_key,))
    found = [{said(gateway.ask("chat", key=key.name, user=str(n)))[1] for n in range(3)} for key in keys]
    assert all(len(each) == 1 for each in found)
    assert len(set.union(*found)) == 2
    assert gateway.ask("old", key="k0").status_code == 403
    listed = httpx.get(gateway.url + "/v1/models", headers={"authorization": "Bearer k0"}).json()
    assert [each["id"] for each in listed["data"]] == ["chat"]


def test_a_shadow_gets_copies_and_is_nobodys_to_pay(gateway: Gateway, old: EngineDouble, new: EngineDouble) -> None:
    route = Route(name="chat", to=(Share(model="old"),), shadow=Shadow(model="new", percent=100.0))
    gateway.route({"old": [old], "new": [new]}, routes=(route,), price=Price(output=1e6))
    assert {said(gateway.ask("chat", user=str(number))) for number in range(10)} == {(200, "old", "")}
    eventually(lambda: len(new.seen) == 10)
    assert {seen.headers["x-ampacity-shadow"] for seen in new.seen} == {"1"}
    assert not any("x-ampacity-shadow" in seen.headers for seen in old.seen)
    assert sorted(seen.headers["x-request-id"] for seen in new.seen) == sorted(
        seen.headers["x-request-id"] for seen in old.seen
    )
    eventually(lambda: len(records(gateway)) == 20)
    shadows = [each for each in records(gateway) if each.reason == "shadow"]
    assert {(each.project, each.model, each.key, each.money, each.output_tokens) for each in shadows} == {
        ("system", "new", "", 0.0, 4)
    }
    text = httpx.get(gateway.url + "/metrics").text
    assert 'ampacity_gateway_routed_requests_total{route="chat",gen_ai_request_model="new",reason="shadow"} 10' in text


@pytest.mark.parametrize("fault", ["hang", "garbage", "refuse_after_head", "error"])
def test_whatever_a_shadow_does_the_original_is_answered(
    gateway: Gateway, old: EngineDouble, new: EngineDouble, fault: str
) -> None:
    new.fault = fault
    route = Route(name="chat", to=(Share(model="old"),), shadow=Shadow(model="new", percent=100.0))
    gateway.route({"old": [old], "new": [new]}, routes=(route,))
    pieces = gateway.ask("chat", stream=True).text
    assert pieces.endswith("data: [DONE]\n\n")
    assert [gateway.ask("chat").status_code for _ in range(3)] == [200] * 3
    eventually(lambda: len(new.seen) >= 1)


def test_shadows_are_bounded(gateway: Gateway, old: EngineDouble, new: EngineDouble) -> None:
    new.fault = "hang"
    route = Route(name="chat", to=(Share(model="old"),), shadow=Shadow(model="new", percent=100.0))
    gateway.route({"old": [old], "new": [new]}, routes=(route,))
    with httpx.Client() as client:
        body = {"model": "chat", "prompt": "x"}
        for _ in range(80):
            assert client.post(gateway.url + "/v1/completions", json=body).status_code == 200
    eventually(lambda: "ampacity_gateway_shadows_left_out_total 16" in httpx.get(gateway.url + "/metrics").text)
    assert len(new.seen) == 64


@pytest.mark.parametrize("fault", ["error", "garbage", "refuse_after_head", "half_body"])
def test_another_model_answers_for_one_that_fails(
    gateway: Gateway, old: EngineDouble, new: EngineDouble, fault: str
) -> None:
    old.fault = fault
    gateway.route({"old": [old], "new": [new]}, routes=(falling(Fallback(on=Trouble.ERROR, to="new")),))
    answer = gateway.ask("chat")
    assert said(answer) == (200, "new", "error")
    assert answer.json()["id"] == "new"
    eventually(lambda: [(each.model, each.reason) for each in records(gateway)] == [("new", "error")])
    assert "fallback" not in str(gateway.ask("old").headers), "the model itself has no fallback"


def test_a_model_without_replicas_or_that_is_not_there_falls_back_at_once(
    gateway: Gateway, old: EngineDouble, new: EngineDouble
) -> None:
    routes = (falling(Fallback(on=Trouble.ERROR, to="middle"), Fallback(on=Trouble.ERROR, to="new")),)
    gateway.route({"old": [], "middle": [], "new": [new]}, routes=routes)
    assert said(gateway.ask("chat")) == (200, "new", "error")
    gateway.route({"new": [new]}, routes=routes)
    assert said(gateway.ask("chat", stream=True)) == (200, "new", "error")
    gateway.route({}, routes=routes)
    refused = gateway.ask("chat")
    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "no_replica")
    assert "None of the models behind 'chat' is served now." in refused.text


def test_a_chain_goes_on_through_routes(gateway: Gateway, old: EngineDouble, new: EngineDouble) -> None:
    with EngineDouble("last") as last:
        old.fault = new.fault = "error"
        spare = Route(name="spare", to=(Share(model="new"),), fallback=(Fallback(on=Trouble.ERROR, to="last"),))
        routes = (falling(Fallback(on=Trouble.ERROR, to="spare")), spare)
        gateway.route({"old": [old], "new": [new], "last": [last]}, routes=routes)
        assert said(gateway.ask("chat")) == (200, "last", "error")
        assert (len(old.seen), len(new.seen)) == (1, 1)
        last.fault = "error"
        assert said(gateway.ask("chat"))[0] == 500, "the last one's own error is passed on"


def test_a_stream_that_has_begun_stays_with_its_model(gateway: Gateway, old: EngineDouble, new: EngineDouble) -> None:
    old.fault = "half_stream"
    gateway.route({"old": [old], "new": [new]}, resume="none", routes=(falling(Fallback(on=Trouble.ERROR, to="new")),))
    with pytest.raises(httpx.RemoteProtocolError):
        gateway.ask("chat", stream=True)
    assert not new.seen


def test_who_stands_in_line_for_too_long_goes_elsewhere(gateway: Gateway, old: EngineDouble, new: EngineDouble) -> None:
    rule = Fallback(on=Trouble.QUEUE, to="new", after_s=0.4)
    gateway.route({"old": [old], "new": [new]}, concurrency=1, routes=(falling(rule),))
    answers: list[tuple[int, str, str]] = []
    asking = [threading.Thread(target=lambda: answers.append(said(gateway.ask("chat", pause_s=3)))) for _ in range(4)]
    for each in asking:
        each.start()
    eventually(lambda: len(new.seen) >= 1)
    for each in asking:
        each.join()
    assert {answer[0] for answer in answers} == {200}
    assert (200, "new", "queue") in answers
    assert (200, "old", "") in answers


def test_a_spent_budget_leads_to_another_model(gateway: Gateway, old: EngineDouble, new: EngineDouble) -> None:
    digest = digest_of("poor")
    key = ApiKey(id=key_id(digest), name="poor", digest=digest, limits=Limits(budget=Budget(amount=5.0)))
    rule = Fallback(on=Trouble.BUDGET, to="new")
    gateway.route({"old": [old], "new": [new]}, keys=(key,), price=Price(output=1e6), routes=(falling(rule),))
    found = [said(gateway.ask("chat", key="poor")) for _ in range(4)]
    assert found == [(200, "old", ""), (200, "old", ""), (200, "new", "budget"), (200, "new", "budget")]
    refused = gateway.ask("old", key="poor")
    assert (refused.status_code, refused.json()["error"]["code"]) == (429, "insufficient_quota")
    line = 'ampacity_gateway_routed_requests_total{route="chat",gen_ai_request_model="new",reason="budget"} 2'
    eventually(lambda: line in httpx.get(gateway.url + "/metrics").text)
