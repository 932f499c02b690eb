"""The store on a real PostgreSQL, in a cluster of the test's own on a free port of the loopback address."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from smets1.errors import InputError, LostError
from smets1.headend.dco import Dco
from smets1.headend.sql_nvm import SqlNvm
from smets1.headend.store import Store, StoredRequest

pytestmark = pytest.mark.outsider
psycopg = pytest.importorskip("psycopg", reason="psycopg is not installed")


def _program(name: str) -> str:
    found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), key=lambda path: int(path.parts[4]))
    path = shutil.which(name) or (str(found[-1]) if found else None)
    if path is None:
        pytest.skip("PostgreSQL is not installed: run ./tools/test")
    return path


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    """URL of a database. initdb does not work for root, so root borrows another user."""
    user = None
    if os.getuid() == 0:
        names = {entry.pw_name for entry in pwd.getpwall()}
        user = next((name for name in ("postgres", "nobody") if name in names), None)
    initdb, server = _program("initdb"), _program("postgres")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    folder = Path(tempfile.mkdtemp(prefix="smets1-pg-"))
    try:
        if user is not None:
            shutil.chown(folder, user)
        options = ["-A", "trust", "-U", "smets1", "-E", "UTF8", "--locale=C", "-N"]
        subprocess.run(
            [initdb, "-D", str(folder / "data"), *options],
            check=True, capture_output=True, user=user, cwd=folder, timeout=60,
        )  # fmt: skip
        process = subprocess.Popen(
            [server, "-D", str(folder / "data"), "-p", str(port), "-h", "127.0.0.1", "-k", str(folder)],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, user=user, cwd=folder,
        )  # fmt: skip
        try:
            _wait_ready(port, process)
            yield f"postgresql://smets1@127.0.0.1:{port}/postgres"
        finally:
            process.send_signal(signal.SIGINT)  # fast shutdown; SIGTERM would wait for connections
            process.wait(timeout=30)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def new_database(cluster: str, name: str) -> str:
    """An empty one beside the others; its URL."""
    with psycopg.connect(cluster, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    return f"{cluster.rpartition('/')[0]}/{name}"


def _wait_ready(port: int, process: subprocess.Popen[bytes]) -> None:
    """Each attempt to connect fails at once until the server listens."""
    for _ in range(600):
        assert process.poll() is None, "PostgreSQL has stopped"
        try:
            psycopg.connect(
                f"host=127.0.0.1 port={port} user=smets1 dbname=postgres connect_timeout=5"
            ).close()
        except psycopg.OperationalError:
            try:
                process.wait(timeout=0.05)
            except subprocess.TimeoutExpired:
                continue
        else:
            return
    pytest.fail("PostgreSQL does not start")


def request(key: str) -> StoredRequest:
    return StoredRequest(
        key=key,
        originator=2**64 - 1,
        target=2**63,
        srv="4.18",
        xml=b"<a>\x00\xff</a>",
        accepted_utc_us=1,
        not_before_utc_us=2,
        expires_utc_us=2**60,
    )


async def test_all_that_sqlite_does(cluster: str) -> None:
    store = Store.open(cluster)
    assert store.accept(request("a"))
    assert store.add_request(request("b"))
    assert not store.add_request(request("a")), "a doubled key leaves the open transaction alone"
    store.add_step("a", 0, b"ask")
    await store.committed()
    store.put_answer("a", 0, b"answer")
    assert store.note_event("e")
    assert not store.note_event("e")
    assert [store.next_count("x"), store.next_count("x")] == [1, 2]
    store.put_device(2**64 - 1, {"type": "ESME"})
    store.put_schedule(1, 2**64 - 2, {"details": ["a", "", []], "last_utc_us": 1})
    store.add_transformed("t", b"\x01" * 32)
    await store.committed()
    store.close()

    store = Store.open(cluster)
    assert store.unfinished() == [request("a"), request("b")]
    assert store.steps("a")[0].answer == b"answer"
    assert store.add_answer("a", user=5, xml=b"<r/>", now_utc_us=9) == 1
    assert store.add_answer("a", user=5, xml=b"<other/>", now_utc_us=9) is None
    await store.committed()
    store.mark_delivered(1)
    assert [response.is_delivered for response in store.responses(user=5)] == [True]
    assert store.devices() == {2**64 - 1: {"type": "ESME"}}
    assert store.schedules() == {1: (2**64 - 2, {"details": ["a", "", []], "last_utc_us": 1})}
    assert store.transformed("t") == b"\x01" * 32
    assert store.count_requests(originator=2**64 - 1, srv="4.18", since_utc_us=0) == 2
    store.delete_schedule(1)
    store.delete_device(2**64 - 1)
    await store.committed()
    store.close()


async def test_two_workers_share_it(cluster: str) -> None:
    one, two = Store.open(cluster), Store.open(cluster)
    assert one.add_request(request("shared"))
    await one.committed()
    assert not two.add_request(request("shared"))
    await two.committed()
    assert two.is_known("shared")
    one.close()
    two.close()


async def test_a_connection_that_breaks(cluster: str) -> None:
    store, killer = Store.open(cluster), Store.open(cluster)
    assert store.add_request(request("open"))
    killer._connection.exec_driver_sql(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
        " AND usename = 'smets1'"
    )
    killer.flush()
    with pytest.raises(LostError):
        await store.committed()
    assert not killer.is_known("open")
    store.close()
    killer.close()


def test_no_server_there() -> None:
    with pytest.raises(InputError) as caught:
        Store.open("postgresql://smets1@127.0.0.1:1/postgres")
    assert "\n" not in str(caught.value)


def test_many_begin_at_once(cluster: str) -> None:
    """On an empty database; each makes its tables, and the same device and key."""
    url = new_database(cluster, "fresh")
    failures: list[Exception] = []
    ready = threading.Barrier(4)

    def begin() -> None:
        try:
            ready.wait()
            store, nvm = Store.open(url), SqlNvm.open(url, "dco")
            ready.wait()
            store.put_device(7, {"type": "ESME"})
            Dco(nvm, random_octets=bytes).enrol(7, bytes(16))
            store.close()
            nvm.close()
        except Exception as error:  # a thread's error is nobody's
            failures.append(error)

    threads = [threading.Thread(target=begin) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    store = Store.open(url)
    assert store.devices() == {7: {"type": "ESME"}}
    store.close()
