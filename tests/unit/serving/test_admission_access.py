"""Who is let in: by key, by time, and by model."""

from __future__ import annotations

from ampacity.model.access import ApiKey, digest_of, key_id
from ampacity.serving.admission import Doorkeeper
from ampacity.serving.admission.access import EXPIRED_KEY, KNOWN_LIMIT, NO_KEY, WRONG_KEY, may_use, model_refused


def key(secret: str, **more: object) -> ApiKey:
    digest = digest_of(secret)
    return ApiKey(id=key_id(digest), name=secret, digest=digest, **more)  # type: ignore[arg-type]


def test_an_open_endpoint_asks_for_nothing_and_a_closed_one_for_a_key_that_works() -> None:
    door = Doorkeeper()
    assert door.who(None, 0.0) is None
    assert door.who(b"Bearer anything", 0.0) is None
    alice, bob = key("alice"), key("bob", expires_at=100.0)
    door.set_keys([alice, bob], closed=True)
    assert door.who(None, 0.0) is NO_KEY
    for wrong in (b"", b"alice", b"Basic alice", b"Bearer", b"Bearer carol", b"Bearer alice2", b"Bearer \xff\xfe"):
        assert door.who(wrong, 0.0) is WRONG_KEY
    for right in (b"Bearer alice", b"bearer  alice ", b"Bearer alice"):
        assert door.who(right, 0.0) is alice
    assert door.who(b"Bearer bob", 99.9) is bob
    assert door.who(b"Bearer bob", 100.0) is EXPIRED_KEY
    door.set_keys([bob], closed=True)
    assert door.who(b"Bearer alice", 0.0) is WRONG_KEY
    door.set_keys([], closed=True)
    assert door.who(b"Bearer bob", 0.0) is WRONG_KEY


def test_what_is_remembered_is_bounded() -> None:
    door = Doorkeeper()
    alice = key("alice")
    door.set_keys([alice], closed=True)
    for blanks in range(KNOWN_LIMIT + 5):
        assert door.who(b"Bearer " + b" " * blanks + b"alice", 0.0) is alice
        assert door.who(b"Bearer wrong%d" % blanks, 0.0) is WRONG_KEY
    assert len(door._known) <= KNOWN_LIMIT


def test_a_key_opens_the_models_that_it_names() -> None:
    assert may_use(None, "any")
    assert may_use(key("alice"), "any")
    narrow = key("bob", models=("writer",))
    assert may_use(narrow, "writer")
    assert not may_use(narrow, "other")
    refused = model_refused(narrow, "other")
    assert (refused.status, refused.code) == (403, "model_not_allowed")
    assert "writer" in refused.message
