"""What survives, and what is refused."""

from __future__ import annotations

import asyncio
import re
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa

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
    with closing(Store.open()) as store:
        assert store.unfinished() == []
    (tmp_path / "file").write_text("not a database, and long enough to be seen as none" * 50)
    for where in (tmp_path / "file", "nonsense://host/db", tmp_path):
        with pytest.raises(InputError) as caught:
            Store.open(where)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "postgresql+nodriver", "mysql"])
def test_a_store_that_cannot_be_had_is_named_without_its_password(scheme: str) -> None:
    with pytest.raises(
        InputError, match=rf"head-end store {re.escape(scheme)}://me:\*\*\*@127.0.0.1:1/x"
    ) as caught:
        Store.open(f"{scheme}://me:secr:et@127.0.0.1:1/x")
    assert "secr" not in str(caught.value)


def test_another_kind_of_database_is_told_which_there_are() -> None:
    with pytest.raises(InputError, match="write sqlite:///FILE or postgresql://HOST/NAME"):
        Store.open("mysql://host/db")


def test_a_driver_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(InputError, match=r"needs psycopg: pip install 'smets1\[postgresql\]'"):
        Store.open("postgresql://127.0.0.1:1/x")


def test_a_lost_database(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "store.db")
    store._connection.exec_driver_sql("DROP TABLE request")
    store._connection.commit()
    with pytest.raises(LostError):
        store.accept(request())
    store.close()


async def test_many_at_once_share_a_commit(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "store.db")
    commits = 0

    def count(_connection: sa.Connection) -> None:
        nonlocal commits
        commits += 1

    sa.event.listen(store._engine, "commit", count)

    async def accept(key: str) -> None:
        assert store.add_request(request(key))
        await store.committed()
        with sqlite3.connect(tmp_path / "store.db") as other:  # what another connection sees is committed
            assert other.execute("SELECT count(*) FROM request WHERE key = ?", (key,)).fetchone() == (1,)
        other.close()

    await asyncio.gather(*(accept(str(number)) for number in range(100)))
    assert commits == 1
    await store.committed()
    assert commits == 1, "nothing was open"
    store.close()


async def test_together_means_all_or_nothing(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "store.db")
    with store.together():
        store.accept(request("a"))
        store.put_device(7, {"type": "ESME"})
        assert store.next_count("x") == 1
    store._connection.rollback()  # as if killed here
    assert not store.is_known("a")
    assert store.devices() == {}
    assert store.next_count("x") == 1
    store.close()


async def test_who_waits_hears_of_a_failure(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "store.db")
    assert store.add_request(request("a"))
    waiting = [asyncio.create_task(store.committed()) for _ in range(3)]
    await asyncio.sleep(0)
    with pytest.raises(LostError), store._writing() as connection:
        connection.exec_driver_sql("INSERT INTO nowhere VALUES (1)")
    assert all(isinstance(end, LostError) for end in await asyncio.gather(*waiting, return_exceptions=True))
    assert not store.is_known("a")
    assert store.accept(request("b")), "and it goes on"
    store.close()
