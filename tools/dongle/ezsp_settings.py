"""What a host may set and read on the stick: configuration, policies, values, tokens, counters, utilities."""

from __future__ import annotations

import struct
from typing import ClassVar, Final

from smets1.eui64 import Eui64
from smets1.hardware.ezsp.ash import ResetCode
from smets1.hardware.ezsp.statuses import NODE_TYPES, EzspError, Status
from smets1.hardware.radio import CHANNELS, SimpleDescriptor, channel_mask
from smets1.tools.dongle.ezsp_core import STACK_VERSIONS, Answer, Answers, EzspCore

__all__ = ["ConfigId", "Counter", "EzspSettings", "ValueId"]

_OK: Final = {"status": Status.SUCCESS}


class ConfigId:
    """EzspConfigId, those that mean something here."""

    BINDING_TABLE_SIZE: Final = 0x04
    ADDRESS_TABLE_SIZE: Final = 0x05
    MULTICAST_TABLE_SIZE: Final = 0x06
    KEY_TABLE_SIZE: Final = 0x1E
    APPLICATION_ZDO_FLAGS: Final = 0x2A
    TRANSIENT_KEY_TIMEOUT_S: Final = 0x36


# Defaults as an EmberZNet 7.4 image for such a stick has them. Source: UG100, 4.2 (EzspConfigId).
_CONFIGURATION: Final = {
    0x01: 75,  # packet buffers
    0x02: 26,  # neighbours
    0x03: 32,  # APS messages at a time
    ConfigId.BINDING_TABLE_SIZE: 2,
    ConfigId.ADDRESS_TABLE_SIZE: 8,
    ConfigId.MULTICAST_TABLE_SIZE: 8,
    0x07: 16,  # routes
    0x08: 8,
    0x09: 0,
    0x0A: 0,
    0x0C: 2,  # stack profile: PRO
    0x0D: 5,  # security level
    0x10: 30,
    0x11: 32,  # end-device children
    0x12: 7680,
    0x13: 8,
    0x17: 0,
    0x18: 0,
    0x19: 2,
    0x1A: 32,  # source routes
    0x1C: 1,  # fragment window
    0x1D: 50,
    ConfigId.KEY_TABLE_SIZE: 12,
    0x1F: 1600,  # ms for an APS acknowledgement
    0x20: 3,
    0x22: 2,
    0x24: 5,
    0x29: 0,
    ConfigId.APPLICATION_ZDO_FLAGS: 0,
    0x2B: 15,
    0x2C: 0,
    0x2D: 1,  # networks at a time
    0x2E: 0,
    0x33: 0,
    0x34: 8,
    0x35: 2,
    ConfigId.TRANSIENT_KEY_TIMEOUT_S: 300,
    0x37: 0xFF,
    0x38: 300,
}
_FIXED_AT_RUN_TIME: Final = (0x0C, 0x2D)


class ValueId:
    """EzspValueId, those that mean something here."""

    FREE_BUFFERS: Final = 0x03
    VERSION_INFO: Final = 0x11
    NWK_FRAME_COUNTER: Final = 0x23
    APS_FRAME_COUNTER: Final = 0x24


_VALUES: Final = {
    0x04: b"\0",  # callbacks with each answer only: no
    0x05: b"\x52\0",
    0x06: b"\x52\0",
    0x07: b"\x01",  # tokens are written
    0x0A: b"\0\0",  # extended security bitmask
    0x15: b"\xb5",
    0x3A: b"\0",
    0x3B: b"\x2c\x01",
    0x3E: b"\0\0",
    0x3F: b"\x03",  # keep-alive: both kinds
    0x43: b"\x10\x27",
    ValueId.APS_FRAME_COUNTER: bytes(4),
}

_FF8: Final = b"\xff" * 8
_MFG_TOKENS: Final = {
    0x00: b"\xff\xff",  # custom version
    0x01: b"smets1".ljust(16, b"\xff"),
    0x02: b"simulated stick".ljust(16, b"\xff"),
    0x03: b"\xff\xff",
    0x04: b"\xff\xff",
    0x05: b"\xff" * 16,
    0x06: b"\xff" * 40,
    0x07: b"\xff" * 8,
    0x08: b"\xff" * 16,
    0x09: b"\xff" * 92,
    0x0A: b"\xff" * 20,
    0x0B: b"\xff",
    0x0C: _FF8,  # another EUI-64, written once
    0x0D: b"\xff\xff",
}
_MFG_CUSTOM_EUI64: Final = 0x0C


class Token:
    """NVM3 keys of the stack, those that hosts read or write."""

    RESTORED_EUI64: Final = 0x1E12A
    TRUST_CENTRE: Final = 0x1E124
    NETWORK_MANAGEMENT: Final = 0x1E125
    NODE_DATA: Final = 0x1EE64


_TOKENS: Final = (Token.TRUST_CENTRE, Token.NETWORK_MANAGEMENT, Token.RESTORED_EUI64, Token.NODE_DATA)
_DEFAULT_TOKENS: Final = {
    Token.RESTORED_EUI64: _FF8,
    Token.TRUST_CENTRE: bytes(2 + 8 + 16),
    Token.NETWORK_MANAGEMENT: struct.pack("<IHBB", channel_mask(CHANNELS), 0, 0, 0),
    Token.NODE_DATA: bytes(18),
}


class Counter:
    """Places in the list of counters that something here counts. Source: UG100, EmberCounterType."""

    COUNT: Final = 41
    APS_RX_BROADCAST: Final = 6
    APS_TX_BROADCAST: Final = 7
    APS_RX_UNICAST: Final = 8
    APS_TX_UNICAST_SUCCESS: Final = 9
    APS_TX_UNICAST_RETRY: Final = 10
    APS_TX_UNICAST_FAILED: Final = 11
    JOIN_INDICATION: Final = 16
    ASH_FRAMING_ERROR: Final = 19


class EzspSettings(EzspCore):
    key_limit = 127
    """How large a key table the chip has memory for."""

    def _forget(self) -> None:
        self.configuration = dict(_CONFIGURATION)
        self.policies: dict[int, int] = dict.fromkeys(range(7), 0)
        self._values = dict(_VALUES)
        self._counters = [0] * Counter.COUNT
        self._code = 0
        super()._forget()

    def _apply_settings(self) -> None:
        self.stack.zdo.manufacturer_code = self._code
        self.stack.passes_requests = self.configuration[ConfigId.APPLICATION_ZDO_FLAGS] & 1 != 0

    @property
    def eui64(self) -> Eui64:
        for name in (f"stick/token/{Token.RESTORED_EUI64:05x}/0", f"stick/mfg/{_MFG_CUSTOM_EUI64:02x}"):
            stored = self.nvm.get(name)
            if stored is not None and stored != _FF8:
                return int.from_bytes(stored, "little")
        return self.hardware_eui64

    def count(self, place: int) -> None:
        self._counters[place] = min(self._counters[place] + 1, 0xFFFF)

    # --- configuration, policies, values --------------------------------------------------------------

    def _get_configuration(self, config_id: int) -> Answer:
        value = self.configuration.get(config_id)
        if value is None:
            return {"status": EzspError.INVALID_ID, "value": 0}
        return {"status": EzspError.SUCCESS, "value": value}

    def _set_configuration(self, config_id: int, value: int) -> Answer:
        if config_id not in self.configuration:
            return {"status": EzspError.INVALID_ID}
        if config_id in _FIXED_AT_RUN_TIME and value != self.configuration[config_id]:
            return {"status": EzspError.INVALID_VALUE}
        if config_id == ConfigId.KEY_TABLE_SIZE and value > self.key_limit:
            return {"status": EzspError.OUT_OF_MEMORY}
        self.configuration[config_id] = value
        self._apply_settings()
        return {"status": EzspError.SUCCESS}

    def _set_policy(self, policy_id: int, decision: int) -> Answer:
        self.policies[policy_id] = decision
        return {"status": EzspError.SUCCESS}

    def _get_policy(self, policy_id: int) -> Answer:
        if policy_id not in self.policies:
            return {"status": EzspError.INVALID_ID, "decision": 0}
        return {"status": EzspError.SUCCESS, "decision": self.policies[policy_id]}

    def _get_value(self, value_id: int) -> Answer:
        value = self._values.get(value_id)
        if value_id == ValueId.FREE_BUFFERS:
            value = bytes((250,))
        elif value_id == ValueId.VERSION_INFO:
            version = STACK_VERSIONS[self.version]
            # build, major, minor, patch, special, and a type that says general availability
            value = struct.pack("<HBBBBB", 0, version >> 12, version >> 8 & 15, version >> 4 & 15, 0, 0xAA)
        elif value_id == ValueId.NWK_FRAME_COUNTER:
            value = self.stack.keys.nwk_out.value.to_bytes(4, "little")
        if value is None:
            return {"status": EzspError.INVALID_ID, "value": b""}
        return {"status": EzspError.SUCCESS, "value": value}

    def _set_value(self, value_id: int, value: bytes) -> Answer:
        if value_id == ValueId.NWK_FRAME_COUNTER:
            if self.stack.info is not None or len(value) != 4:
                return {"status": EzspError.INVALID_CALL}
            self.stack.set_network_counter(int.from_bytes(value, "little"))
        elif value_id in self._values:
            self._values[value_id] = value
        else:
            return {"status": EzspError.INVALID_ID}
        return {"status": EzspError.SUCCESS}

    def _get_extended_value(self, value_id: int, characteristics: int) -> Answer:
        if value_id == 0x00 and characteristics in self.endpoints:  # endpoint flags: enabled
            return {"status": EzspError.SUCCESS, "value": b"\x01\0"}
        return {"status": EzspError.INVALID_ID, "value": b"\0\0"}

    def _add_endpoint(
        self,
        *,
        endpoint: int,
        profile_id: int,
        device_id: int,
        device_version: int,
        input_clusters: list[int],
        output_clusters: list[int],
        **_counts: int,
    ) -> Answer:
        if self.stack.info is not None and endpoint not in self.endpoints:
            return {"status": EzspError.INVALID_CALL}
        if not 0 < endpoint < 0xF3:
            return {"status": EzspError.INVALID_VALUE}
        self.endpoints[endpoint] = SimpleDescriptor(
            endpoint=endpoint,
            profile_id=profile_id,
            device_id=device_id,
            device_version=device_version,
            input_clusters=tuple(input_clusters),
            output_clusters=tuple(output_clusters),
        )
        return {"status": EzspError.SUCCESS}

    # --- tokens ---------------------------------------------------------------------------------------

    def _get_mfg_token(self, token_id: int) -> Answer:
        default = _MFG_TOKENS.get(token_id, b"")
        return {"data": self.nvm.get(f"stick/mfg/{token_id:02x}") or default}

    def _set_mfg_token(self, token_id: int, data: bytes) -> Answer:
        """Manufacturing tokens are in one-time memory: each can be written once."""
        default, name = _MFG_TOKENS.get(token_id), f"stick/mfg/{token_id:02x}"
        if default is None or len(data) != len(default) or self.nvm.get(name) is not None:
            return {"status": Status.INVALID_CALL}
        self.nvm.put(name, data)
        self.nvm.commit()
        return _OK

    def _get_token(self, token_id: int) -> Answer:
        stored = self.nvm.get(f"stick/user/{token_id:02x}")
        if token_id > 7:
            return {"status": Status.BAD_ARGUMENT, "data": bytes(8)}
        return {"status": Status.SUCCESS, "data": stored or _FF8}

    def _set_token(self, token_id: int, data: bytes) -> Answer:
        if token_id > 7:
            return {"status": Status.BAD_ARGUMENT}
        self.nvm.put(f"stick/user/{token_id:02x}", data)
        self.nvm.commit()
        return _OK

    def _token_data(self, token: int) -> bytes | None:
        stack, info = self.stack, self.stack.info
        stored = self.nvm.get(f"stick/token/{token:05x}/0")
        if token == Token.NODE_DATA and info is not None:
            return struct.pack(
                "<HbBBBHQ",
                info.pan_id,
                8,
                info.channel,
                2,
                NODE_TYPES[stack.role],
                info.short_address,
                info.extended_pan_id,
            )
        if token == Token.NETWORK_MANAGEMENT and info is not None:
            return struct.pack("<IHBB", channel_mask(CHANNELS), stack.zdo.manager, stack.nwk.update_id, 0)
        return stored or _DEFAULT_TOKENS.get(token)

    def _get_token_data(self, token: int, index: int) -> Answer:
        data = self._token_data(token) if index == 0 else None
        if data is None:  # the octets are left out then
            return Status.NOT_FOUND.to_bytes(1, "little") if self.version < 14 else struct.pack("<I", 0x2D)
        return {"status": Status.SUCCESS, "data": data}

    def _set_token_data(self, token: int, index: int, data: bytes) -> Answer:
        default = _DEFAULT_TOKENS.get(token)
        if default is None or index:
            return {"status": Status.NOT_FOUND}
        if token == Token.NETWORK_MANAGEMENT and len(data) == 8 and self.stack.info is not None:
            self.stack.nwk.update_id = data[6]
            self.stack.nwk.is_dirty = True
            self.stack.settle(self._now_us)
        self.nvm.put(f"stick/token/{token:05x}/0", data)
        self.nvm.commit()
        return _OK

    def _get_token_count(self) -> Answer:
        return {"count": len(_TOKENS)}

    def _get_token_info(self, index: int) -> Answer:
        token = _TOKENS[index] if index < len(_TOKENS) else 0
        info = {
            "token": token,
            "is_counter": False,
            "is_indexed": False,
            "size_octets": len(self._token_data(token) or b""),
            "array_size": 1,
        }
        return {"status": Status.SUCCESS if token else Status.INDEX_OUT_OF_RANGE, "info": info}

    def _factory_reset(self, keeps_counters: bool, keeps_boot_counter: bool) -> Answer:
        for name in self.nvm.keys(""):
            is_counter = name.startswith("ctr/")
            is_of_factory = name.startswith(("stick/mfg/", "stick/token/1e12a"))
            if not is_of_factory and not (is_counter and keeps_counters):
                self.nvm.delete(name)
        self.nvm.commit()
        return {}

    def _reset_node(self) -> Answer:
        self.power_cycle(ResetCode.SOFTWARE)
        return None

    # --- utilities ------------------------------------------------------------------------------------

    def _nothing(self) -> Answer:
        return {}

    def _library_status(self, library_id: int) -> Answer:
        # 0x80: there, and not a stub. Consumer images have stubs in place of all that needs a licence.
        is_real = library_id in (0x00, 0x01, 0x02, 0x03, 0x05)
        return {"status": 0x80 | library_id if is_real else 0x00}

    def _echo(self, data: bytes) -> Answer:
        return {"echo": data}

    def _random(self) -> Answer:
        return {"status": Status.SUCCESS, "value": self._rng.randrange(1 << 16)}

    def _custom_frame(self, payload: bytes) -> Answer:
        """Stock firmware has no extension to hand this to."""
        return {"status": Status.LIBRARY_NOT_PRESENT, "reply": b""}

    def _xncp_info(self) -> Answer:
        return {"status": Status.LIBRARY_NOT_PRESENT, "manufacturer_id": 0, "version": 0}

    def _read_counters(self) -> Answer:
        self._counters[Counter.ASH_FRAMING_ERROR] = min(self._ash.bad_count, 0xFFFF)
        return {"values": self._counters}

    def _read_and_clear_counters(self) -> Answer:
        self._read_counters()
        values, self._counters = self._counters, [0] * Counter.COUNT
        return {"values": values}

    def _entropy(self) -> Answer:
        return {"source": 0x01}  # the radio

    def _phy_count(self) -> Answer:
        return {"count": 1}

    def _accepted(self, **_values: object) -> Answer:
        """Taken note of: nothing here depends on it."""
        return _OK

    def _manufacturer_code(self, code: int) -> Answer:
        self._code = code
        self._apply_settings()
        return _OK

    _answers: ClassVar[Answers] = {
        **EzspCore._answers,
        "getConfigurationValue": _get_configuration,
        "setConfigurationValue": _set_configuration,
        "setPolicy": _set_policy,
        "getPolicy": _get_policy,
        "getValue": _get_value,
        "setValue": _set_value,
        "getExtendedValue": _get_extended_value,
        "addEndpoint": _add_endpoint,
        "getMfgToken": _get_mfg_token,
        "setMfgToken": _set_mfg_token,
        "getToken": _get_token,
        "setToken": _set_token,
        "getTokenData": _get_token_data,
        "setTokenData": _set_token_data,
        "getTokenCount": _get_token_count,
        "getTokenInfo": _get_token_info,
        "tokenFactoryReset": _factory_reset,
        "resetNode": _reset_node,
        "nop": _nothing,
        "gpSinkTableClearAll": _nothing,
        "getLibraryStatus": _library_status,
        "echo": _echo,
        "getRandomNumber": _random,
        "customFrame": _custom_frame,
        "getXncpInfo": _xncp_info,
        "readCounters": _read_counters,
        "readAndClearCounters": _read_and_clear_counters,
        "getTrueRandomEntropySource": _entropy,
        "getPhyInterfaceCount": _phy_count,
        "setManufacturerCode": _manufacturer_code,
        "setPowerDescriptor": _accepted,
        "setPassiveAckConfig": _accepted,
        "debugWrite": _accepted,
    }
