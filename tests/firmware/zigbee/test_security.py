"""Keys and counters: never the same nonce twice, whatever happens to the power."""

from __future__ import annotations

import pytest

from smets1.errors import SecurityError
from smets1.firmware.crypto.ccm import FrameCipher
from smets1.firmware.nvm import MemoryNvm
from smets1.firmware.zigbee import security_header as header
from smets1.firmware.zigbee.security import COUNTER_LIMIT, KeyMaterial, OutgoingCounter
from smets1.hardware.radio import KeyOrigin

EUI, KEY, OTHER = 0x00DB1234567890A0, bytes(range(16)), bytes(16)


@pytest.mark.parametrize("used", [0, 1, 1023, 1024, 5000])
def test_a_counter_is_never_given_twice(used: int) -> None:
    nvm = MemoryNvm()
    counter = OutgoingCounter(nvm, "c")
    given = {counter.next() for _ in range(used)}
    again = OutgoingCounter(nvm.after_power_cut(), "c")
    assert again.next() not in given
    assert nvm.commit_count == -(-used // 1024)


def test_a_used_up_counter_refuses() -> None:
    nvm = MemoryNvm({"c": (COUNTER_LIMIT - 2000).to_bytes(4, "big")})
    counter = OutgoingCounter(nvm, "c")
    with pytest.raises(SecurityError):
        for _ in range(5000):
            counter.next()


def test_keys_survive_a_power_cut() -> None:
    nvm = MemoryNvm()
    keys = KeyMaterial(nvm)
    keys.set_network_key(KEY, 3)
    keys.set_link_key(EUI, OTHER, KeyOrigin.INSTALL_CODE)
    keys.set_link_key(EUI, KEY, KeyOrigin.ESTABLISHED)
    used = keys.links[EUI].out.next()
    again = KeyMaterial(nvm.after_power_cut())
    assert again.active is not None
    assert (again.active.key, again.active.sequence) == (KEY, 3)
    assert again.links[EUI].origin is KeyOrigin.ESTABLISHED
    assert again.links[EUI].key == KEY
    assert again.links[EUI].out.next() > used
    entry = again.install_entry(EUI)
    assert entry is not None
    assert entry.key == OTHER


def test_a_new_key_starts_its_counters_and_the_same_key_does_not() -> None:
    keys = KeyMaterial(MemoryNvm())
    keys.set_link_key(EUI, KEY, KeyOrigin.ESTABLISHED)
    entry = keys.links[EUI]
    assert [entry.out.next() for _ in range(3)] == [0, 1, 2]
    keys.set_link_key(EUI, KEY, KeyOrigin.ESTABLISHED)
    assert keys.links[EUI].out.next() == 3
    keys.set_link_key(EUI, OTHER, KeyOrigin.ESTABLISHED)
    assert keys.links[EUI].out.next() == 0


def test_an_install_code_key_that_comes_back_goes_on_counting() -> None:
    keys = KeyMaterial(MemoryNvm())
    keys.set_link_key(EUI, OTHER, KeyOrigin.INSTALL_CODE)
    used = keys.links[EUI].out.next()
    keys.set_link_key(EUI, KEY, KeyOrigin.ESTABLISHED)
    keys.set_link_key(EUI, OTHER, KeyOrigin.INSTALL_CODE)
    assert keys.links[EUI].out.next() > used


def test_incoming_counters_are_put_now_and_then() -> None:
    nvm = MemoryNvm()
    keys = KeyMaterial(nvm)
    keys.set_network_key(KEY, 0)
    keys.set_link_key(EUI, KEY, KeyOrigin.ESTABLISHED)
    keys.note_link_rx(keys.links[EUI], 77)
    assert keys.active is not None
    keys.active.rx_counters[EUI] = 88
    keys.note_network_rx()
    keys.put_received(1)
    nvm.commit()
    again = KeyMaterial(nvm.after_power_cut())
    assert again.links[EUI].rx_counter == 77
    assert again.active is not None
    assert again.active.rx_counters == {EUI: 88}


def test_seal_and_open_and_every_flipped_bit() -> None:
    cipher = FrameCipher(KEY)
    plain = b"\x48\x02\x00\x00\x34\x12\x1e\x05"
    frame = header.seal_network(cipher, plain, b"payload", EUI, 7, 0)
    assert frame[8] == 0x28  # level bits are zero on the air
    assert header.open_network(cipher, frame, 8, EUI, 7) == b"payload"
    for bit in range(8 * len(frame)):
        if bit // 8 == 8 and bit % 8 < 3:
            continue  # the level bits on the air are not authenticated
        changed = bytearray(frame)
        changed[bit // 8] ^= 1 << bit % 8
        aux, _ = header.AuxiliaryHeader.decode(bytes(frame), 8)
        assert aux.source == EUI
        source = int.from_bytes(changed[13:21], "little")
        counter = int.from_bytes(changed[9:13], "little")
        if bit // 8 == 8:
            continue  # `nwk` refuses any other control octet before it gets here
        with pytest.raises(SecurityError):
            header.open_network(cipher, bytes(changed), 8, source, counter)
    aps = header.seal_link(cipher, 2, b"\x21\x01", b"key", EUI, 9)
    aux, body = header.AuxiliaryHeader.decode(aps, 2)
    assert (aux.key_id, aux.frame_counter, aux.source) == (header.KeyIdentifier.KEY_TRANSPORT, 9, EUI)
    assert header.open_link(cipher, aps, 2, body, EUI, 9) == b"key"
