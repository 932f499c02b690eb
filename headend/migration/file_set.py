"""What makes files a set: the same header, and the shape that their Group ID asks for.

DA: MCF + MVF + MEF, no MGF (16.4, 16.5, 16.15); the MEF holds SUAKeyDetails and neither
EncryptedS1SPGroupInformation nor EncryptedMasterKey (16.16). Every other group: an MGF as well, and in the
MEF the reverse (12.14 to 12.16, 13.15 to 13.17, 14.15 to 14.17; the guide names MDS and IOC clauses, ours go
by the group). Source: TMAD consultation, table 4, rows 17 to 23, 29, 30, 36, 37, 46.
"""

from __future__ import annotations

from typing import Final

from smets1.headend.duis.codes import DeviceType
from smets1.headend.migration.envelope import FileRefusedError
from smets1.headend.migration.files import (
    EncryptedInstallation,
    FileKind,
    Installation,
    MigrationCommonFile,
    MigrationGroupEncryptedFile,
    MigrationHeader,
)

__all__ = ["DA", "GROUPS", "check_header", "check_shape", "missing_keys", "required_files"]

DA: Final = "DA"
GROUPS: Final = ("CA", DA, "EA", "EB")
_SHAPE_CLAUSES: Final = {"CA": "12.15", DA: "16.16", "EA": "14.16", "EB": "14.16"}


def required_files(group_id: str) -> frozenset[FileKind]:
    """The S1SP Required File Set. Raises FileRefusedError for a group that there is not."""
    _require_group(group_id)
    common = frozenset({FileKind.MCF, FileKind.MVF, FileKind.MEF})
    return common if group_id == DA else common | {FileKind.MGF}


def check_shape(mef: MigrationGroupEncryptedFile) -> None:
    """Raises FileRefusedError with the clause of the group."""
    group_id = mef.header.group_id
    _require_group(group_id)
    for home in mef.installations:
        fault = _fault_da(home) if group_id == DA else _fault_other(home)
        if fault is not None:
            raise FileRefusedError(_SHAPE_CLAUSES[group_id], f"{fault} for Group ID {group_id}")


def _require_group(group_id: str) -> None:
    if group_id not in GROUPS:
        raise FileRefusedError("5.1", f"there is no Group ID {group_id}")


def _fault_da(home: EncryptedInstallation) -> str | None:
    if home.s1sp_group_information is not None:
        return "EncryptedS1SPGroupInformation must not be included"
    if home.master_key is None or home.master_key.sua_keys is None:
        return "SUAKeyDetails must be included"
    if home.master_key.encrypted_master_key is not None:
        return "EncryptedMasterKey must not be included"
    return None


def _fault_other(home: EncryptedInstallation) -> str | None:
    if home.master_key is not None and home.master_key.sua_keys is not None:
        return "SUAKeyDetails must not be included"
    if home.s1sp_group_information is None:
        return "EncryptedS1SPGroupInformation must be included"
    if home.master_key is None or home.master_key.encrypted_master_key is None:
        return "EncryptedMasterKey must be included"
    return None


def check_header(header: MigrationHeader, common: MigrationCommonFile | None) -> MigrationCommonFile:
    """The MCF of the set that a file says it belongs to. Raises FileRefusedError (16.4)."""
    if common is None:
        raise FileRefusedError("16.4", f"there is no Migration Common File of file set {header.file_set}")
    if common.header != header:
        raise FileRefusedError("16.4", "its Migration Header is not that of the Migration Common File")
    return common


def missing_keys(home: Installation, encrypted: EncryptedInstallation) -> list[str]:
    """Meters of the home for which the MEF has no SUA key, or keys of devices that are none of its meters."""
    assert encrypted.master_key is not None, "of the right shape"
    assert encrypted.master_key.sua_keys is not None, "of the right shape"
    given = [detail.device for detail in encrypted.master_key.sua_keys.details]
    wanted = home.meters
    faults = [f"no SUAKeyDetails of {_kind(home, device)}" for device in wanted if given.count(device) != 1]
    return faults + ["SUAKeyDetails of a device that is no meter of the home"] * any(
        device not in wanted for device in given
    )


def _kind(home: Installation, device: int) -> DeviceType:
    return next(entry.device_type for entry in home.devices if entry.device == device)
