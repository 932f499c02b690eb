"""The judge: what an independent dissector reads in a capture, and what it could not read.

    rows = read_capture(path, home.keys.lines())
    assert faults(rows) == []
    follow(rows, Step("Association Request"), Step("Transport Key"), Step("Device Announcement"))

tshark is given the keys of the run and nothing else of ours. What counts as a fault: an octet it calls
malformed, an FCS that is wrong, an expert's error, a payload it could not decrypt, and an application payload
that it left as octets although it is no part of a fragmented one.
"""

from __future__ import annotations

import shutil
import subprocess
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from smets1.firmware.zcl.clusters import CLUSTERS
from smets1.firmware.zcl.status import Side
from smets1.hardware.pcapng import PcapngWriter, read_pcapng

TSHARK = shutil.which("tshark")
_FIELDS = (
    "frame.number", "frame.time_epoch", "frame.protocols", "wpan.src16", "wpan.dst16",
    "zbee_nwk.src", "zbee_nwk.dst", "zbee_aps.cluster", "zbee_aps.counter", "zbee_aps.fragmentation",
    "zbee_zcl.dir", "zbee_zcl.cmd.mc", "_ws.malformed", "zbee_sec.encrypted_payload",
    "wpan.fcs_ok", "_ws.expert.severity", "zbee_nwk.src64", "_ws.col.Info",
)  # fmt: skip
_EXPERT_ERROR = 0x00800000
_LONGEST_TRANSFER_S = 40.0
_UNKNOWN = "Unknown Command: "


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One frame as tshark reads it. Addresses are NWK ones where there are any, else MAC; None: neither."""

    number: int
    time_s: float
    layers: tuple[str, ...]
    source: int | None
    destination: int | None
    cluster_id: int | None
    aps_counter: int | None
    is_fragment: bool
    is_from_server: bool
    name: str
    fault: str | None

    @property
    def is_zcl(self) -> bool:
        return "zbee_zcl" in self.layers


@dataclass(frozen=True, slots=True)
class Step:
    """What is to be found next: a name, and who says it to whom, and when (UTC), where that matters."""

    name: str
    cluster_id: int | None = None
    source: int | None = None
    destination: int | None = None
    between_s: tuple[float, float] | None = None

    def fits(self, row: Row) -> bool:
        return (
            row.name == self.name
            and self.cluster_id in (None, row.cluster_id)
            and self.source in (None, row.source)
            and self.destination in (None, row.destination)
            and (self.between_s is None or self.between_s[0] <= row.time_s <= self.between_s[1])
        )


def run_tshark(path: Path, keys: Sequence[str], *options: str) -> Iterator[str]:
    """Lines of tshark's output. `keys` are lines of a zigbee_pc_keys file."""
    assert TSHARK is not None, "tests that judge are skipped without tshark"
    given = [part for line in keys for part in ("-o", f"uat:zigbee_pc_keys:{line}")]
    command = [TSHARK, "-r", str(path), *given, *options]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300)
    return iter(done.stdout.splitlines())


def read_capture(path: Path, keys: Sequence[str]) -> list[Row]:
    """Every frame of a pcapng, in order."""
    options = [part for field in _FIELDS for part in ("-e", field)]
    options += ["-E", "separator=|", "-E", "occurrence=f"]
    return [_row(line) for line in run_tshark(path, keys, "-T", "fields", *options)]


def _row(line: str) -> Row:
    cells = dict(zip(_FIELDS, line.split("|", len(_FIELDS) - 1), strict=True))
    layers = tuple(cells["frame.protocols"].split(":"))
    cluster_id = _number(cells["zbee_aps.cluster"])
    is_fragment = _number(cells["zbee_aps.fragmentation"]) not in (None, 0)
    is_from_server = cells["zbee_zcl.dir"] in ("1", "0x01", "0x00000001")
    return Row(
        number=int(cells["frame.number"]),
        time_s=float(cells["frame.time_epoch"]),
        layers=layers,
        source=_number(cells["zbee_nwk.src"] or cells["wpan.src16"]),
        destination=_number(cells["zbee_nwk.dst"] or cells["wpan.dst16"]),
        cluster_id=cluster_id,
        aps_counter=_number(cells["zbee_aps.counter"]),
        is_fragment=is_fragment,
        is_from_server=is_from_server,
        name=_name(cells, cluster_id, is_from_server),
        fault=_fault(cells, layers, is_fragment),
    )


def _number(text: str) -> int | None:
    return int(text, 0) if text else None


def _name(cells: dict[str, str], cluster_id: int | None, is_from_server: bool) -> str:
    """tshark's words without addresses and counters; our own name for commands of our own clusters.

    A manufacturer's cluster is octets to tshark: that it decrypted them, and read header and command id, is
    its verdict; what the id is called only the manufacturer can know.
    """
    name = cells["_ws.col.Info"].split(",")[0].strip()
    if cells["zbee_zcl.cmd.mc"] and name.startswith(_UNKNOWN) and cluster_id in CLUSTERS:
        cluster = CLUSTERS[cluster_id]
        sender = Side.SERVER if is_from_server else Side.CLIENT
        command = cluster.commands_by_id.get((sender, int(name.removeprefix(_UNKNOWN), 0)))
        if command is not None:
            return f"{cluster.name}.{command.name}"
    return name


def _fault(cells: dict[str, str], layers: tuple[str, ...], is_fragment: bool) -> str | None:
    if cells["_ws.malformed"] or "_ws.malformed" in layers:
        return "malformed"
    if cells["zbee_sec.encrypted_payload"]:
        return "not decrypted"
    if cells["wpan.fcs_ok"] in ("0", "False"):
        return "wrong FCS"
    if (_number(cells["_ws.expert.severity"]) or 0) >= _EXPERT_ERROR:
        return "expert error"
    if "data" in layers and not is_fragment and "zbee_zcl" not in layers:
        return "payload left as octets"
    return None


def faults(rows: Iterable[Row]) -> list[str]:
    """What tshark could not read in a capture; empty where nothing is."""
    return [f"frame {row.number}: {row.fault}: {row.name}" for row in rows if row.fault]


def abandoned(path: Path, keys: Sequence[str], rows: Sequence[Row]) -> list[str]:
    """Fragmented messages that were begun and never put together: given up, or cut off by the end.

    In a long capture tshark now and then fails to put together two messages to two devices whose
    blocks alternate, although the blocks are all there. So what it leaves is cut out and judged alone.
    """
    return [
        f"frame {row.number}: never put together"
        for row in _never_whole(rows)
        if not _is_whole_alone(path, keys, row)
    ]


def _never_whole(rows: Sequence[Row]) -> list[Row]:
    """The first fragment of each message of which no fragment near by completes it."""
    whole: dict[tuple[int | None, ...], list[float]] = {}
    for row in rows:
        if row.is_fragment and row.is_zcl:
            whole.setdefault(_message(row), []).append(row.time_s)
    found: list[Row] = []
    last: dict[tuple[int | None, ...], float] = {}
    for row in rows:
        if row.is_fragment and "data" in row.layers:
            # the counter comes round after 256 messages: only a time near by is this one's
            ends = whole.get(_message(row), [])
            if not any(abs(end_s - row.time_s) < _LONGEST_TRANSFER_S for end_s in ends):
                if row.time_s - last.get(_message(row), -_LONGEST_TRANSFER_S) >= _LONGEST_TRANSFER_S:
                    found.append(row)
                last[_message(row)] = row.time_s
    return found


def _is_whole_alone(path: Path, keys: Sequence[str], begun: Row) -> bool:
    """Whether tshark puts the message together where it sees only that one, from its first block on."""
    cut = path.with_name(f"{path.stem}-frame{begun.number}.pcapng")
    frames = list(read_pcapng(path.read_bytes()))
    epoch_us = round(begun.time_s * 1e6)
    with cut.open("wb") as file:
        writer = PcapngWriter(file)
        for frame in frames[begun.number - 1 :]:
            if frame.time_us - epoch_us > _LONGEST_TRANSFER_S * 1e6:
                break
            writer.write(frame.time_us, frame.octets)
        writer.flush()
    return any(
        row.is_zcl and row.is_fragment and _message(row) == _message(begun) for row in read_capture(cut, keys)
    )


def _message(row: Row) -> tuple[int | None, ...]:
    return row.source, row.destination, row.cluster_id, row.aps_counter


def follow(rows: Sequence[Row], *steps: Step) -> list[Row]:
    """The rows that fit the steps, each after the one before; fails with what was not found."""
    found: list[Row] = []
    rest = iter(rows)
    for step in steps:
        row = next((row for row in rest if step.fits(row)), None)
        if row is None:
            where = f"after frame {found[-1].number} ({found[-1].name})" if found else "at all"
            near = Counter(row.name for row in rows).most_common(40)
            raise AssertionError(f"{step} does not come {where}; there are {near}")
        found.append(row)
    return found
