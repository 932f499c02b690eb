"""A party's records at rest: nothing of them can be read, exchanged or changed without the key."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from smets1.errors import LostError
from smets1.firmware.nvm import MemoryNvm, NvmStore
from smets1.headend.vault import VAULT_KEY_OCTETS, VaultNvm

KEY = bytes(range(VAULT_KEY_OCTETS))
SECRET = b"a SUA key, surely"


def vault(nvm: MemoryNvm, key: bytes = KEY, seed: int = 1) -> VaultNvm:
    return VaultNvm(nvm, key, random_octets=random.Random(seed).randbytes)


def test_what_goes_in_comes_out() -> None:
    nvm = MemoryNvm()
    box = vault(nvm)
    box.put("device/a", SECRET)
    box.put("empty", b"")
    assert (box.get("device/a"), box.get("empty"), box.get("none")) == (SECRET, b"", None)
    assert box.keys("device/") == ["device/a"]
    box.commit()
    box.delete("empty")
    again = vault(nvm.after_power_cut(), seed=2)
    assert again.get("device/a") == SECRET
    assert again.get("empty") == b"", "its deletion was not committed"


def test_nothing_can_be_read_on_the_disk(tmp_path: Path) -> None:
    path = tmp_path / "dco.nvm"
    with NvmStore.open(path) as store:
        box = VaultNvm(store.device("dco"), KEY, random_octets=random.Random(1).randbytes)
        for index in range(50):
            box.put(f"device/{index}", SECRET)
        box.commit()
        values = [store.device("dco").get(f"device/{index}") for index in range(50)]
        assert len(set(values)) == 50, "the same secret never looks the same"
    for file in tmp_path.iterdir():
        octets = file.read_bytes()
        assert SECRET not in octets
        assert KEY not in octets


def test_another_key_another_place_another_octet() -> None:
    nvm = MemoryNvm()
    vault(nvm).put("device/a", SECRET)
    sealed = nvm.get("device/a")
    assert sealed is not None
    with pytest.raises(LostError):
        vault(nvm, key=bytes(VAULT_KEY_OCTETS)).get("device/a")
    nvm.put("device/b", sealed)
    with pytest.raises(LostError):
        vault(nvm).get("device/b")
    for at in range(len(sealed)):
        nvm.put("device/a", sealed[:at] + bytes([sealed[at] ^ 1]) + sealed[at + 1 :])
        with pytest.raises(LostError):
            vault(nvm).get("device/a")
        nvm.put("device/a", sealed[:at])
        with pytest.raises(LostError):
            vault(nvm).get("device/a")
    assert SECRET.decode() not in repr(vault(nvm))
