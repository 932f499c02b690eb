"""The commands and callbacks of EZSP 13, and what 14 changed: number, request, answer.

One table of one document each; `schema.py` reads the texts. A callback (a name that ends in Handler) has no
request: its "answer" is what the stick tells of itself.
Source: Silicon Labs UG100 for EmberZNet 7.4 (version 13) and its successor for 8.0 (version 14).
Left out: Green Power, ZLL, manufacturing tests, the boot loader, multi-PHY, and the certificate commands.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from types import MappingProxyType
from typing import Final

from smets1.hardware.ezsp.schema import Schema, schema

__all__ = ["VERSIONS", "Command", "commands", "commands_by_id"]

VERSIONS: Final = (13, 14)


@dataclass(frozen=True, slots=True)
class Command:
    name: str
    frame_id: int
    request: Schema
    answer: Schema

    @property
    def is_callback(self) -> bool:
        return self.name.endswith("Handler")


_STATUS: Final = "status:status"
_ERROR: Final = "status:error"

_COMMANDS_13: Final[dict[str, tuple[int, str, str]]] = {
    # configuration
    "version": (0x0000, "desired_version:u8", "version:u8 stack_type:u8 stack_version:u16"),
    "getLibraryStatus": (0x0001, "library_id:u8", "status:u8"),
    "addEndpoint": (
        0x0002,
        (
            "endpoint:u8 profile_id:u16 device_id:u16 device_version:u8 input_count:u8 output_count:u8"
            " input_clusters:u16[input_count] output_clusters:u16[output_count]"
        ),
        _ERROR,
    ),
    "getExtendedValue": (0x0003, "value_id:u8 characteristics:u32", "status:error value:lv"),
    "getConfigurationValue": (0x0052, "config_id:u8", "status:error value:u16"),
    "setConfigurationValue": (0x0053, "config_id:u8 value:u16", _ERROR),
    "setPolicy": (0x0055, "policy_id:u8 decision:u8", _ERROR),
    "getPolicy": (0x0056, "policy_id:u8", "status:error decision:u8"),
    "getValue": (0x00AA, "value_id:u8", "status:error value:lv"),
    "setValue": (0x00AB, "value_id:u8 value:lv", _ERROR),
    "setPassiveAckConfig": (0x0105, "config:u8 min_acks_needed:u8", _STATUS),
    # utilities
    "nop": (0x0005, "", ""),
    "callback": (0x0006, "", ""),
    "noCallbacks": (0x0007, "", ""),
    "setToken": (0x0009, "token_id:u8 data:o8", _STATUS),
    "getToken": (0x000A, "token_id:u8", "status:status data:o8"),
    "getMfgToken": (0x000B, "token_id:u8", "data:lv"),
    "setMfgToken": (0x000C, "token_id:u8 data:lv", _STATUS),
    "stackTokenChangedHandler": (0x000D, "", "address:u16"),
    "debugWrite": (0x0012, "is_binary:bool message:lv", _STATUS),
    "getXncpInfo": (0x0013, "", "status:status manufacturer_id:u16 version:u16"),
    "customFrame": (0x0047, "payload:lv", "status:status reply:lv"),
    "getRandomNumber": (0x0049, "", "status:status value:u16"),
    "invalidCommand": (0x0058, "", _ERROR),
    "readAndClearCounters": (0x0065, "", "values:u16*"),
    "readCounters": (0x00F1, "", "values:u16*"),
    "echo": (0x0081, "data:lv", "echo:lv"),
    "delayTest": (0x009D, "delay_ms:u16", ""),
    "getPhyInterfaceCount": (0x00FC, "", "count:u8"),
    "getTrueRandomEntropySource": (0x004F, "", "source:u8"),
    "getTokenCount": (0x0100, "", "count:u8"),
    "getTokenInfo": (0x0101, "index:u8", "status:status info:token_info"),
    "getTokenData": (0x0102, "token:u32 index:u32", "status:status data:lv32"),
    "setTokenData": (0x0103, "token:u32 index:u32 data:lv32", _STATUS),
    "resetNode": (0x0104, "", ""),
    # networking
    "setConcentrator": (
        0x0010,
        (
            "is_on:bool kind:u16 min_time_s:u16 max_time_s:u16 route_error_threshold:u8"
            " delivery_failure_threshold:u8 max_hops:u8"
        ),
        _STATUS,
    ),
    "setManufacturerCode": (0x0015, "code:u16", ""),
    "setPowerDescriptor": (0x0016, "descriptor:u16", ""),
    "networkInit": (0x0017, "bitmask:u16", _STATUS),
    "networkState": (0x0018, "", "state:u8"),
    "stackStatusHandler": (0x0019, "", _STATUS),
    "startScan": (0x001A, "kind:u8 channel_mask:u32 duration:u8", _STATUS),
    "networkFoundHandler": (0x001B, "", "found:found lqi:u8 rssi_dbm:i8"),
    "scanCompleteHandler": (0x001C, "", "channel:u8 status:status"),
    "stopScan": (0x001D, "", _STATUS),
    "formNetwork": (0x001E, "parameters:network", _STATUS),
    "joinNetwork": (0x001F, "node_type:u8 parameters:network", _STATUS),
    "leaveNetwork": (0x0020, "", _STATUS),
    "findAndRejoinNetwork": (0x0021, "has_network_key:bool channel_mask:u32", _STATUS),
    "permitJoining": (0x0022, "duration_s:u8", _STATUS),
    "childJoinHandler": (0x0023, "", "index:u8 is_joining:bool short_address:u16 eui64:eui node_type:u8"),
    "getEui64": (0x0026, "", "eui64:eui"),
    "getNodeId": (0x0027, "", "short_address:u16"),
    "getNetworkParameters": (0x0028, "", "status:status node_type:u8 parameters:network"),
    "getParentChildParameters": (0x0029, "", "child_count:u8 parent_eui64:eui parent:u16"),
    "getChildData": (0x004A, "index:u8", "status:status child:child"),
    "setChildData": (0x00AC, "index:u8 child:child", _STATUS),
    "childId": (0x0106, "index:u8", "short_address:u16"),
    "energyScanResultHandler": (0x0048, "", "channel:u8 rssi_dbm:i8"),
    "setSourceRouteDiscoveryMode": (0x005A, "mode:u8", "remaining_ms:u32"),
    "getNeighbor": (0x0079, "index:u8", "status:status neighbour:neighbour"),
    "neighborCount": (0x007A, "", "count:u8"),
    "getRouteTableEntry": (0x007B, "index:u8", "status:status route:route"),
    "getNeighborFrameCounter": (0x003E, "eui64:eui", "status:status counter:u32"),
    "setNeighborFrameCounter": (0x00AD, "eui64:eui counter:u32", _STATUS),
    "setRoutingShortcutThreshold": (0x00D0, "cost:u8", _STATUS),
    "getRoutingShortcutThreshold": (0x00D1, "", "cost:u8"),
    "setBrokenRouteErrorCode": (0x0011, "code:u8", _STATUS),
    "energyScanRequest": (0x009C, "target:u16 channel_mask:u32 duration:u8 count:u16", _STATUS),
    "setRadioPower": (0x0099, "power_dbm:i8", _STATUS),
    "setRadioChannel": (0x009A, "channel:u8", _STATUS),
    "setRadioIeee802154CcaMode": (0x0095, "mode:u8", _STATUS),
    "setLogicalAndRadioChannel": (0x00B9, "channel:u8", _STATUS),
    "getLogicalChannel": (0x00BA, "", "channel:u8"),
    "getRadioParameters": (0x00FD, "phy_index:u8", "status:status parameters:phy"),
    # binding
    "clearBindingTable": (0x002A, "", _STATUS),
    "setBinding": (0x002B, "index:u8 binding:binding", _STATUS),
    "getBinding": (0x002C, "index:u8", "status:status binding:binding"),
    "deleteBinding": (0x002D, "index:u8", _STATUS),
    # messaging
    "maximumPayloadLength": (0x0033, "", "octets:u8"),
    "sendUnicast": (
        0x0034,
        "kind:u8 destination:u16 aps:aps tag:u8 message:lv",
        "status:status sequence:u8",
    ),
    "sendBroadcast": (
        0x0036,
        "destination:u16 aps:aps radius:u8 tag:u8 message:lv",
        "status:status sequence:u8",
    ),
    "sendMulticast": (
        0x0038,
        "aps:aps hops:u8 nonmember_radius:u8 tag:u8 message:lv",
        "status:status sequence:u8",
    ),
    "sendReply": (0x0039, "destination:u16 aps:aps message:lv", _STATUS),
    "messageSentHandler": (
        0x003F,
        "",
        "kind:u8 destination:u16 aps:aps tag:u8 status:status message:lv",
    ),
    "pollForData": (0x0042, "interval:u16 units:u8 failure_limit:u8", _STATUS),
    "pollCompleteHandler": (0x0043, "", _STATUS),
    "pollHandler": (0x0044, "", "child:u16 is_transmit_expected:bool"),
    "incomingMessageHandler": (
        0x0045,
        "",
        "kind:u8 aps:aps lqi:u8 rssi_dbm:i8 sender:u16 binding_index:u8 address_index:u8 message:lv",
    ),
    "incomingRouteRecordHandler": (0x0059, "", "source:u16 eui64:eui lqi:u8 rssi_dbm:i8 relays:u16s"),
    "incomingManyToOneRouteRequestHandler": (0x007D, "", "source:u16 eui64:eui cost:u8"),
    "incomingRouteErrorHandler": (0x0080, "", "status:status target:u16"),
    "incomingSenderEui64Handler": (0x0062, "", "eui64:eui"),
    "incomingNetworkStatusHandler": (0x00C4, "", "code:u8 target:u16"),
    "idConflictHandler": (0x007C, "", "short_address:u16"),
    "setSourceRoute": (0x00AE, "destination:u16 relays:u16s", _STATUS),
    "addressTableEntryIsActive": (0x005B, "index:u8", "is_active:bool"),
    "setAddressTableRemoteEui64": (0x005C, "index:u8 eui64:eui", _STATUS),
    "setAddressTableRemoteNodeId": (0x005D, "index:u8 short_address:u16", ""),
    "getAddressTableRemoteEui64": (0x005E, "index:u8", "eui64:eui"),
    "getAddressTableRemoteNodeId": (0x005F, "index:u8", "short_address:u16"),
    "replaceAddressTableEntry": (
        0x0082,
        "index:u8 new_eui64:eui new_short:u16 new_extended_timeout:bool",
        "status:status old_eui64:eui old_short:u16 old_extended_timeout:bool",
    ),
    "lookupNodeIdByEui64": (0x0060, "eui64:eui", "short_address:u16"),
    "lookupEui64ByNodeId": (0x0061, "short_address:u16", "status:status eui64:eui"),
    "getMulticastTableEntry": (0x0063, "index:u8", "status:status entry:multicast"),
    "setMulticastTableEntry": (0x0064, "index:u8 entry:multicast", _STATUS),
    "setExtendedTimeout": (0x007E, "eui64:eui is_extended:bool", ""),
    "getExtendedTimeout": (0x007F, "eui64:eui", "is_extended:bool"),
    # security
    "setInitialSecurityState": (0x0068, "state:initial_security", _STATUS),
    "getCurrentSecurityState": (0x0069, "", "status:status state:current_security"),
    "requestLinkKey": (0x0014, "partner:eui", _STATUS),
    "clearTransientLinkKeys": (0x006B, "", ""),
    "findKeyTableEntry": (0x0075, "eui64:eui is_link_key:bool", "index:u8"),
    "eraseKeyTableEntry": (0x0076, "index:u8", _STATUS),
    "clearKeyTable": (0x00B1, "", _STATUS),
    "tokenFactoryReset": (0x0077, "keeps_counters:bool keeps_boot_counter:bool", ""),
    "switchNetworkKeyHandler": (0x006E, "", "sequence:u8"),
    "zigbeeKeyEstablishmentHandler": (0x009B, "", "partner:eui status:u8"),
    "getApsKeyInfo": (0x010C, "context:context", "eui64:eui data:key_data status:sl"),
    "exportLinkKeyByEui": (0x010D, "eui64:eui", "key:key index:u8 data:key_data status:sl"),
    "importLinkKey": (0x010E, "index:u8 eui64:eui key:key", "status:sl"),
    "exportLinkKeyByIndex": (0x010F, "index:u8", "eui64:eui key:key data:key_data status:sl"),
    "checkKeyContext": (0x0110, "context:context", "status:sl"),
    "importTransientKey": (0x0111, "eui64:eui key:key flags:u8", "status:sl"),
    "exportTransientKeyByIndex": (0x0112, "index:u8", "context:context key:key data:key_data status:sl"),
    "exportTransientKeyByEui": (0x0113, "eui64:eui", "context:context key:key data:key_data status:sl"),
    "exportKey": (0x0114, "context:context", "key:key status:sl"),
    "importKey": (0x0115, "context:context key:key", "status:sl"),
    "getNetworkKeyInfo": (0x0116, "", "status:sl info:network_key"),
    # trust centre
    "trustCenterJoinHandler": (
        0x0024,
        "",
        "short_address:u16 eui64:eui update:u8 decision:u8 parent:u16",
    ),
    "broadcastNextNetworkKey": (0x0073, "key:key", _STATUS),
    "broadcastNetworkKeySwitch": (0x0074, "", _STATUS),
    "removeDevice": (0x00A8, "destination:u16 destination_eui64:eui target:eui", _STATUS),
    # Green Power: what a host clears when it starts
    "gpSinkTableClearAll": (0x00E2, "", ""),
}

_CHANGES_14: Final[dict[str, tuple[int, str, str]]] = {
    "setManufacturerCode": (0x0015, "code:u16", _STATUS),
    "setPowerDescriptor": (0x0016, "descriptor:u16", _STATUS),
    "leaveNetwork": (0x0020, "options:u8", _STATUS),
    "findAndRejoinNetwork": (
        0x0021,
        "has_network_key:bool channel_mask:u32 reason:u8 node_type:u8",
        _STATUS,
    ),
    "sendUnicast": (
        0x0034,
        "kind:u8 destination:u16 aps:aps tag:u16 message:lv",
        "status:status sequence:u8",
    ),
    "sendBroadcast": (
        0x0036,
        "alias:u16 destination:u16 nwk_sequence:u8 aps:aps radius:u8 tag:u16 message:lv",
        "status:status sequence:u8",
    ),
    "sendMulticast": (
        0x0038,
        "aps:aps hops:u8 broadcast_address:u16 alias:u16 nwk_sequence:u8 tag:u16 message:lv",
        "status:status sequence:u8",
    ),
    "messageSentHandler": (
        0x003F,
        "",
        "status:status kind:u8 destination:u16 aps:aps tag:u16 message:lv",
    ),
    "incomingMessageHandler": (
        0x0045,
        "",
        (
            "kind:u8 aps:aps sender:u16 eui64:eui binding_index:u8 address_index:u8 lqi:u8 rssi_dbm:i8"
            " timestamp:u32 message:lv"
        ),
    ),
    "setAddressTableInfo": (0x005C, "index:u8 eui64:eui short_address:u16", _STATUS),
    "getAddressTableInfo": (0x005E, "index:u8", "status:status short_address:u16 eui64:eui"),
    "lookupNodeIdByEui64": (0x0060, "eui64:eui", "status:status short_address:u16"),
    "setExtendedTimeout": (0x007E, "eui64:eui is_extended:bool", _STATUS),
    "getExtendedTimeout": (0x007F, "eui64:eui", _STATUS),
    "getApsKeyInfo": (0x010C, "context:context", "status:sl data:key_data context:context"),
    "exportLinkKeyByEui": (0x010D, "eui64:eui", "status:sl context:context key:key data:key_data"),
    "exportLinkKeyByIndex": (0x010F, "index:u8", "status:sl context:context key:key data:key_data"),
    # bellows sends the flags of version 13 here as well: what is left over of a request is not looked at
    "importTransientKey": (0x0111, "eui64:eui key:key", "status:sl"),
    "exportTransientKeyByIndex": (0x0112, "index:u8", "status:sl context:context key:key data:key_data"),
    "exportTransientKeyByEui": (0x0113, "eui64:eui", "status:sl context:context key:key data:key_data"),
    "exportKey": (0x0114, "context:context", "status:sl key:key context:context"),
    "importKey": (0x0115, "context:context key:key", "status:sl context:context"),
}
_GONE_14: Final = (
    "setAddressTableRemoteEui64",
    "setAddressTableRemoteNodeId",
    "getAddressTableRemoteEui64",
    "getAddressTableRemoteNodeId",
    "incomingSenderEui64Handler",
)


@cache
def commands(version: int) -> MappingProxyType[str, Command]:
    """The table of a version (13 or 14), by name."""
    table = dict(_COMMANDS_13)
    if version >= 14:
        table.update(_CHANGES_14)
        for name in _GONE_14:
            del table[name]
    return MappingProxyType(
        {
            name: Command(name, frame_id, schema(request, version), schema(answer, version))
            for name, (frame_id, request, answer) in table.items()
        }
    )


@cache
def commands_by_id(version: int) -> MappingProxyType[int, Command]:
    return MappingProxyType({command.frame_id: command for command in commands(version).values()})
