"""The dispatcher, driven at random: each request gets exactly one answer, and no engine more than it takes."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from ampacity.model.access import ApiKey, Limits, digest_of, key_id
from ampacity.serving.admission import AdmissionPolicy, Ending, Refused
from ampacity.serving.dispatch import Answer, Dispatcher, Lane, Request, RequestId, Send
from ampacity.serving.dispatch.dispatcher import IN_VIEW
from ampacity.serving.routing import ROUTERS, Engine, EngineId, Report

MODELS = ("one", "two")
MOST_WAIT_S = 30.0


@st.composite
def lanes(draw: st.DrawFn) -> list[Lane]:
    found = []
    for model in draw(st.sampled_from([(), ("one",), ("two",), MODELS])):
        names = draw(st.sampled_from(["", "a", "ab", "abc"]))
        engines = tuple(Engine(id=EngineId(f"{model}-{name}"), concurrency=draw(st.integers(0, 3))) for name in names)
        room = draw(st.sampled_from([None, 1, 4]))
        found.append(
            Lane(
                model=model,
                engines=engines,
                routing=draw(st.sampled_from(sorted(ROUTERS))),
                room=room,
                admission=AdmissionPolicy(max_wait_s=MOST_WAIT_S),
            )
        )
    return found


class Driven(RuleBasedStateMachine):
    """What gateway workers do to the dispatcher, in any order. ``waiting``: asked and without an answer."""

    @initialize(found=lanes())
    def begin(self, found: list[Lane]) -> None:
        self.now, self.last = 1000.0, 0
        self.dispatcher = Dispatcher()
        self.waiting: dict[RequestId, Request] = {}
        self.sent: dict[RequestId, tuple[Request, EngineId]] = {}
        self.set_lanes(found)

    @rule(found=lanes())
    def set_lanes(self, found: list[Lane]) -> None:
        self.lanes = {lane.model: lane for lane in found}
        self.dispatcher.set_lanes(found, self.now)
        self.take_answers()

    @rule(
        model=st.sampled_from((*MODELS, "none")),
        blocks=st.lists(st.integers(0, 2), max_size=4),
        tokens=st.integers(0, 100_000),
        timeout=st.none() | st.sampled_from([0.001, 1.0, 100.0]),
        many=st.sampled_from([1, 1, 1, 5, IN_VIEW + 3]),
    )
    def ask(self, model: str, blocks: list[int], tokens: int, timeout: float | None, many: int) -> None:
        for _ in range(many):
            self.last += 1
            request = Request(
                RequestId(self.last),
                model,
                arrived=self.now,
                tokens=tokens,
                blocks=blocks,
                deadline=None if timeout is None else self.now + timeout,
            )
            self.waiting[request.id] = request
            answer = self.dispatcher.ask(request, self.now)
            if answer is not None:
                self.take(request.id, answer)
        self.take_answers()

    @rule(step=st.sampled_from([0.0, 0.01, 2.0, 100.0]))
    def wait(self, step: float) -> None:
        """Time passes; the dispatcher is woken when it wants to be, and not else."""
        until = self.now + step
        while (due := self.dispatcher.next_wake(self.now)) is not None and due <= until:
            assert due > self.now, "it had just been asked"
            self.now = due
            self.take_answers()
        self.now = until

    @precondition(lambda self: self.sent)
    @rule(data=st.data())
    def answer(self, data: st.DataObject) -> None:
        self.dispatcher.answered(data.draw(st.sampled_from(sorted(self.sent))), self.now)
        self.take_answers()

    @precondition(lambda self: self.sent)
    @rule(data=st.data(), ending=st.sampled_from(Ending), cached=st.none() | st.integers(0, 2000))
    def end(self, data: st.DataObject, ending: Ending, cached: int | None) -> None:
        id = data.draw(st.sampled_from(sorted(self.sent)))
        del self.sent[id]
        self.dispatcher.ended(id, self.now, ending, input_tokens=10, output_tokens=5, cached_tokens=cached)
        self.take_answers()

    @precondition(lambda self: self.sent)
    @rule(data=st.data())
    def again(self, data: st.DataObject) -> None:
        id = data.draw(st.sampled_from(sorted(self.sent)))
        request, engine = self.sent.pop(id)
        self.waiting[id] = request
        answer = self.dispatcher.again(id, self.now, excluded=frozenset([engine]))
        if answer is not None:
            self.take(id, answer)
        self.take_answers()

    @precondition(lambda self: self.waiting or self.sent)
    @rule(data=st.data())
    def withdraw(self, data: st.DataObject) -> None:
        id = data.draw(st.sampled_from(sorted(self.waiting) + sorted(self.sent)))
        self.waiting.pop(id, None)
        self.sent.pop(id, None)
        self.dispatcher.withdrawn(id, self.now)
        self.take_answers()

    @rule(heard=st.booleans())
    def be_replaced(self, heard: bool) -> None:
        """Its process was killed: the next one is told of what is under way, and asked anew by who waits."""
        self.dispatcher = Dispatcher()
        self.dispatcher.set_lanes(list(self.lanes.values()), self.now)
        for id, (request, engine) in list(self.sent.items()):
            if not self.dispatcher.adopt(request, engine, self.now, answered=heard):
                assert request.model not in self.lanes
                del self.sent[id]
        for request in list(self.waiting.values()):
            answer = self.dispatcher.ask(request, self.now)
            if answer is not None:
                self.take(request.id, answer)
        self.take_answers()

    @rule(model=st.sampled_from(MODELS), name=st.sampled_from("abc"), waiting=st.none() | st.integers(0, 9))
    def report(self, model: str, name: str, waiting: int | None) -> None:
        self.dispatcher.report(model, EngineId(f"{model}-{name}"), Report(waiting=waiting), self.now)
        self.take_answers()

    @rule(id=st.integers(-3, -1).map(RequestId))
    def speak_of_unknown_requests(self, id: RequestId) -> None:
        self.dispatcher.answered(id, self.now)
        self.dispatcher.ended(id, self.now, Ending.COMPLETE)
        self.dispatcher.withdrawn(id, self.now)

    def take_answers(self) -> None:
        for id, answer in self.dispatcher.answers(self.now):
            self.take(id, answer)
        wake = self.dispatcher.next_wake(self.now)
        assert wake is None or wake > self.now

    def take(self, id: RequestId, answer: Answer) -> None:
        request = self.waiting.pop(id)  # a second answer, or one to nobody, is a KeyError
        if isinstance(answer, Refused):
            return
        lane = self.lanes[request.model]
        engine = next(each for each in lane.engines if each.id == answer.engine)
        self.sent[id] = (request, engine.id)
        taken = [at for _, at in self.sent.values()].count(engine.id)
        assert not engine.concurrency or taken <= engine.concurrency

    @invariant()
    def nobody_waits_beyond_his_time(self) -> None:
        for request in self.waiting.values():
            assert request.deadline is None or request.deadline > self.now
            assert request.model in self.lanes, "who waits for a model that is gone is told so"

    def teardown(self) -> None:
        """With an engine for each and all that was sent at an end, nobody is left waiting."""
        if not hasattr(self, "dispatcher"):
            return
        self.set_lanes(
            [Lane(model=model, engines=(Engine(id=EngineId(f"{model}-last")),)) for model in sorted(self.lanes)]
        )
        for _ in range(len(self.waiting) + len(self.sent) + 1):
            for id in list(self.sent):
                del self.sent[id]
                self.dispatcher.answered(id, self.now)
                self.dispatcher.ended(id, self.now, Ending.COMPLETE)
            self.take_answers()
        assert not self.waiting
        assert not self.dispatcher.busy, "nothing is remembered of those that are over"


def test_whatever_happens_each_request_gets_one_answer() -> None:
    run_state_machine_as_test(
        Driven,
        settings=settings(
            max_examples=40, stateful_step_count=30, deadline=None, suppress_health_check=[HealthCheck.too_slow]
        ),
    )


@pytest.mark.parametrize("routing", sorted(ROUTERS))
def test_what_was_adopted_counts_for_its_engine_its_key_and_the_models_room(routing: str) -> None:
    digest = digest_of("k")
    key = ApiKey(id=key_id(digest), name="k", digest=digest, limits=Limits(concurrency=3))
    engines = (Engine(id=EngineId("a"), concurrency=2), Engine(id=EngineId("b"), concurrency=2))
    dispatcher = Dispatcher()
    dispatcher.set_lanes([Lane(model="m", engines=engines, routing=routing, room=4)], 0.0)
    for id in (1, 2):
        under_way = Request(RequestId(id), "m", arrived=0.0, tokens=100, key=key)
        assert dispatcher.adopt(under_way, EngineId("a"), 0.0, answered=True)
    answers = [dispatcher.ask(Request(RequestId(id), "m", arrived=0.0, tokens=100, key=key), 0.0) for id in (3, 4)]
    sent = [answer.engine for answer in answers if isinstance(answer, Send)]
    sent += [answer.engine for _, answer in dispatcher.answers(0.0) if isinstance(answer, Send)]
    assert sent == ["b"], "a is full"
    refused = answers[1]
    assert isinstance(refused, Refused)
    assert refused.code == "concurrency_limit_exceeded"
    for id in (1, 2, 3):
        dispatcher.ended(RequestId(id), 1.0, Ending.COMPLETE)
    assert not dispatcher.busy
    assert not dispatcher.adopt(Request(RequestId(9), "gone", arrived=0.0), EngineId("a"), 1.0, answered=False)
    refused = dispatcher.again(RequestId(9), 1.0, excluded=frozenset([EngineId("a")]))
    assert isinstance(refused, Refused), "nobody waits for ever"


def test_a_router_sees_a_bounded_number_and_the_rest_stands_in_admissions_line() -> None:
    dispatcher = Dispatcher()
    dispatcher.set_lanes([Lane(model="m", engines=(Engine(id=EngineId("e"), concurrency=1),), routing="prefix")], 0.0)
    answers = [dispatcher.ask(Request(RequestId(id), "m", arrived=0.0, tokens=9000), 0.0) for id in range(300)]
    found = [RequestId(id) for id, answer in enumerate(answers) if answer] + [id for id, _ in dispatcher.answers(0.0)]
    assert len(found) == 1
    assert dispatcher.admission.waiting("m") == 300 - 1 - IN_VIEW
    now, seen = 0.0, len(found)
    while found:
        now += 0.1
        for id in found:
            dispatcher.answered(id, now)
            dispatcher.ended(id, now, Ending.COMPLETE)
        found = [id for id, answer in dispatcher.answers(now) if isinstance(answer, Send)]
        seen += len(found)
    assert seen == 300
