"""NVM: what was acknowledged survives; what was not leaves no trace; one clear line for a bad file."""

from __future__ import annotations

import signal
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from smets1.errors import ClosedError, InputError, LostError
from smets1.firmware.nvm import DeviceNvm, MemoryNvm, Nvm, NvmStore, NvmView, PowerCutError

_WRITER = """
import sys
from smets1.firmware.nvm import NvmStore
store = NvmStore.open(sys.argv[1])
meter, hub = store.device("meter"), store.device("hub")
for number in range(1_000_000):
    text = str(number).encode()
    meter.put("counter", text)
    hub.put(f"log/{number:06}", text)
    meter.commit()
    meter.put("counter", b"never acknowledged")
    print(number, flush=True)
"""

_HOLDER = """
import sys
from smets1.firmware.nvm import NvmStore
store = NvmStore.open(sys.argv[1])
print("open", flush=True)
sys.stdin.read()
"""


def _child(code: str, path: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True
    )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "home.nvm"


@pytest.mark.parametrize("kind", ["store", "memory", "view"])
def test_records(kind: str, request: pytest.FixtureRequest) -> None:
    nvm: Nvm = MemoryNvm()
    if kind == "store":
        store = NvmStore.open(":memory:")
        request.addfinalizer(store.close)
        nvm = store.device("meter")
    elif kind == "view":
        nvm.put("other", b"9")
        nvm = NvmView(nvm, "part/")
    assert nvm.get("a") is None
    nvm.put("b/2", b"two")
    nvm.put("b/1", b"one")
    nvm.put("a", b"")
    assert nvm.get("a") == b""
    assert nvm.keys() == ["a", "b/1", "b/2"]
    assert nvm.keys("b/") == ["b/1", "b/2"]
    nvm.commit()
    nvm.delete("b/1")
    nvm.delete("never there")
    assert nvm.get("b/1") is None
    assert nvm.keys("b/") == ["b/2"]
    nvm.commit()
    assert nvm.keys() == ["a", "b/2"]


def test_commit_writes_all_devices(path: Path) -> None:
    with NvmStore.open(path) as store:
        store.device("meter").put("k", b"1")
        store.device("hub").put("k", b"2")
        store.device("hub").commit()
        store.device("meter").put("k", b"lost")
        store.device("meter").put("l", b"lost")
        assert store.device("meter").get("k") == b"lost"
        assert store.commit_count == 1
    with NvmStore.open(path) as store:
        assert store.device_names() == ["hub", "meter"]
        assert store.device("meter").get("k") == b"1"
        assert store.device("meter").keys() == ["k"]
        assert store.device("hub").get("k") == b"2"


def test_same_value_again_costs_no_write(path: Path) -> None:
    with NvmStore.open(path) as store:
        for _ in range(3):
            store.device("meter").put("k", b"1")
            store.commit()
        assert store.commit_count == 1


def test_delete_survives(path: Path) -> None:
    with NvmStore.open(path) as store:
        device = store.device("meter")
        device.put("a", b"1")
        device.commit()
        device.delete("a")
        device.put("b", b"2")
        device.delete("b")
        device.commit()
    with NvmStore.open(path) as store:
        assert store.device("meter").keys() == []
        assert store.device_names() == []


def test_settings(path: Path) -> None:
    NvmStore.open(path).close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    database = sqlite3.connect(path)
    assert database.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    database.close()


def test_synchronous_is_full(path: Path) -> None:
    with NvmStore.open(path) as store:
        database = store._open_database()
        assert database.execute("PRAGMA synchronous").fetchone() == (2,)
        assert database.execute("PRAGMA locking_mode").fetchone() == ("exclusive",)


@pytest.mark.parametrize("acknowledged", [1, 2, 17, 60])
def test_killed_process_loses_nothing_acknowledged(path: Path, acknowledged: int) -> None:
    child = _child(_WRITER, path)
    assert child.stdout is not None
    last = -1
    for _ in range(acknowledged):
        last = int(child.stdout.readline())
    child.send_signal(signal.SIGKILL)
    last = max([last, *(int(line) for line in child.stdout.read().split("\n")[:-1])])
    child.communicate()
    with NvmStore.open(path) as store:
        counter = store.device("meter").get("counter")
        assert counter is not None
        assert int(counter) >= last
        assert [int(key[4:]) for key in store.device("hub").keys("log/")] == list(range(int(counter) + 1))


def test_locked_by_another_process(path: Path) -> None:
    child = _child(_HOLDER, path)
    assert child.stdout is not None
    assert child.stdout.readline() == "open\n"
    with pytest.raises(InputError, match="in use by another running process") as caught:
        NvmStore.open(path)
    assert "\n" not in str(caught.value)
    child.communicate("")
    NvmStore.open(path).close()


def test_open_twice_in_one_process(path: Path) -> None:
    with NvmStore.open(path), pytest.raises(InputError, match="in use"):
        NvmStore.open(path)


def _fill(path: Path) -> None:
    with NvmStore.open(path) as store:
        for number in range(400):
            store.device("meter").put(f"key/{number}", bytes(100))
        store.commit()


@pytest.mark.parametrize("where", [0, 20, 4096, 9000])
def test_damaged_file(path: Path, where: int) -> None:
    _fill(path)
    octets = bytearray(path.read_bytes())
    octets[where : where + 3000] = b"\xa5" * 3000
    path.write_bytes(octets)
    with pytest.raises(InputError, match="damaged"):
        NvmStore.open(path)


def test_truncated_file(path: Path) -> None:
    _fill(path)
    path.write_bytes(path.read_bytes()[:10_000])
    with pytest.raises(InputError, match="damaged"):
        NvmStore.open(path)


def test_text_file(path: Path) -> None:
    path.write_text("[home]\n" * 1000)
    with pytest.raises(InputError, match="damaged"):
        NvmStore.open(path)


def test_foreign_database(path: Path) -> None:
    database = sqlite3.connect(path)
    database.execute("CREATE TABLE song (title TEXT)")
    database.commit()
    database.close()
    with pytest.raises(InputError, match="another program"):
        NvmStore.open(path)


def test_newer_version(path: Path) -> None:
    NvmStore.open(path).close()
    database = sqlite3.connect(path)
    database.execute("PRAGMA user_version = 99")
    database.close()
    with pytest.raises(InputError, match="newer version"):
        NvmStore.open(path)


def test_folder_in_place_of_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be opened"):
        NvmStore.open(tmp_path)


def test_use_after_close(path: Path) -> None:
    store = NvmStore.open(path)
    device = store.device("meter")
    store.close()
    store.close()
    with pytest.raises(ClosedError):
        device.put("k", b"1")
    with pytest.raises(ClosedError):
        device.commit()


def test_failed_commit_keeps_changes_pending(path: Path) -> None:
    with NvmStore.open(path) as store:
        device = store.device("meter")
        device.put("k", b"1")
        device.commit()
        store._open_database().execute("PRAGMA max_page_count = 3")
        device.put("big", bytes(100_000))
        device.put("k", b"2")
        with pytest.raises(LostError, match="disk is full"):
            device.commit()
        assert device.get("k") == b"2"
        store._open_database().execute("PRAGMA max_page_count = 100000")
        device.commit()
    with NvmStore.open(path) as store:
        assert store.device("meter").get("k") == b"2"
        assert len(store.device("meter").get("big") or b"") == 100_000


# --- export, import ---------------------------------------------------------------------------------


def _exported(tmp_path: Path) -> Path:
    target = tmp_path / "meter.device"
    with NvmStore.open(tmp_path / "a.nvm") as store:
        store.device("meter").put("k", b"\x00\xff")
        store.device("meter").put("l", b"")
        store.device("hub").put("k", b"not mine")
        store.commit()
        store.export_device("meter", target)
    return target


def test_export_and_import(tmp_path: Path) -> None:
    file = _exported(tmp_path)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    with NvmStore.open(tmp_path / "b.nvm") as store:
        assert store.import_device(file) == "meter"
        assert store.import_device(file, name="copy") == "copy"
    with NvmStore.open(tmp_path / "b.nvm") as store:
        assert store.device_names() == ["copy", "meter"]
        assert {key: store.device("copy").get(key) for key in ("k", "l")} == {"k": b"\x00\xff", "l": b""}


def test_import_replaces_only_when_asked(tmp_path: Path) -> None:
    file = _exported(tmp_path)
    with NvmStore.open(tmp_path / "b.nvm") as store:
        store.device("meter").put("mine", b"1")
        with pytest.raises(InputError, match="already has"):
            store.import_device(file)
        store.import_device(file, replace=True)
        assert store.device("meter").keys() == ["k", "l"]


def test_export_of_nothing(tmp_path: Path) -> None:
    with NvmStore.open(tmp_path / "a.nvm") as store, pytest.raises(InputError, match="no device"):
        store.export_device("meter", tmp_path / "x")


def test_import_of_every_truncation_and_damage(tmp_path: Path) -> None:
    octets = _exported(tmp_path).read_bytes()
    with NvmStore.open(":memory:") as store:
        for index in range(len(octets)):
            bad = tmp_path / "bad"
            bad.write_bytes(octets[:index])
            with pytest.raises(InputError):
                store.import_device(bad)
            bad.write_bytes(octets[:index] + bytes([octets[index] ^ 1]) + octets[index + 1 :])
            with pytest.raises(InputError):
                store.import_device(bad)
        with pytest.raises(InputError, match="cannot be read"):
            store.import_device(tmp_path / "not there")
        assert store.device_names() == []


# --- the twin in memory -------------------------------------------------------------------------------


@pytest.mark.parametrize("is_written", [False, True])
def test_power_cut_at_a_commit(is_written: bool) -> None:
    nvm = MemoryNvm(cut_at_commit=2, is_written=is_written)
    nvm.put("k", b"1")
    nvm.commit()
    nvm.put("k", b"2")
    with pytest.raises(PowerCutError):
        nvm.commit()
    with pytest.raises(PowerCutError):
        nvm.get("k")
    assert nvm.after_power_cut().get("k") == (b"2" if is_written else b"1")


def test_power_cut_between_commits() -> None:
    nvm = MemoryNvm({"k": b"0"})
    nvm.put("k", b"1")
    nvm.cut_power()
    with pytest.raises(PowerCutError):
        nvm.commit()
    again = nvm.after_power_cut(cut_at_commit=1)
    assert again.get("k") == b"0"
    with pytest.raises(PowerCutError):
        again.commit()


def test_device_nvm_is_an_nvm() -> None:
    with NvmStore.open(":memory:") as store:
        device: Nvm = store.device("x")
        assert isinstance(device, DeviceNvm)
