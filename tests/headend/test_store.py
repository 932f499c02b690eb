"""What survives, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from smets1.errors import InputError, LostError
from smets1.headend.store import Store, StoredRequest


def request(key: str = "k") -> StoredRequest:
    return StoredRequest(
        key=key,
        originator=2**64 - 1,
        target=1,
        srv="4.18",
        xml=b"<a/>",
        accepted_utc_us=1,
        not_before_utc_us=2,
        expires_utc_us=2**60,
    )


def test_requests_and_their_one_response(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "deep" / "store.db")
    assert store.accept(request("a"))
    assert store.accept(request("b"))
    assert not store.accept(request("a"))
    store.put_step("a", 0, b"ask")
    store.put_answer("a", 0, b"answer")
    store.close()
    store = Store.open(tmp_path / "deep" / "store.db")
    assert store.unfinished() == [request("a"), request("b")]
    assert store.steps("a")[0].answer == b"answer"
    assert store.finish("a", user=5, xml=b"<r/>", now_utc_us=9) == 1
    assert store.finish("a", user=5, xml=b"<other/>", now_utc_us=9) is None
    assert [stored.key for stored in store.unfinished()] == ["b"]
    (response,) = store.responses(user=5)
    assert (response.xml, response.key, response.is_delivered) == (b"<r/>", "a", False)
    assert store.undelivered(user=5) == [response]
    store.mark_delivered(1)
    assert store.undelivered(user=5) == []
    assert store.add_alert(user=5, xml=b"<alert/>", now_utc_us=10) == 2
    assert [found.number for found in store.responses(after=1)] == [2]
    assert [store.next_count("x"), store.next_count("x"), store.next_count("y")] == [1, 2, 1]
    store.close()


def test_memory_and_bad_places(tmp_path: Path) -> None:
    assert Store.open().unfinished() == []
    (tmp_path / "file").write_text("not a database, and long enough to be seen as none" * 50)
    for where in (tmp_path / "file", "nonsense://host/db", tmp_path):
        with pytest.raises(InputError) as caught:
            Store.open(where)
        assert "\n" not in str(caught.value)


def test_a_lost_database(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "store.db")
    store._connection.exec_driver_sql("DROP TABLE request")
    store._connection.commit()
    with pytest.raises(LostError):
        store.accept(request())
    store.close()
