"""Sticks that other programs open: `smets1 dongle`, ptys, TCP, and a home with a device on a stick."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from bench_rcp import CHANNEL, HUB, METER, STICK, RadioEar

from smets1.errors import InputError, LostError
from smets1.hardware.air import Air
from smets1.hardware.clock import EmulatorLoop, run
from smets1.hardware.radio import KeyOrigin, TransmitOutcome
from smets1.hardware.rcp import RcpRadio, open_pipe
from smets1.hardware.rcp.hdlc import HdlcDecoder, hdlc_frame
from smets1.hardware.rcp.pipe import SerialPipe, TcpPipe
from smets1.tools.cli import main
from smets1.tools.dongle import Dongle, PtyPort, TcpPort
from smets1.tools.home import open_home

RESET = hdlc_frame(bytes.fromhex("8001"))
HAS_RESET = bytes.fromhex("80060072")
BEACON_REQUEST = bytes.fromhex("0308A9FFFFFFFF07")


def the_loop() -> EmulatorLoop:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, EmulatorLoop)
    return loop


# --- the text of a radio spec -------------------------------------------------------------------------------


def test_ports_of_a_radio_spec() -> None:
    serial = open_pipe("/dev/ttyACM0")
    assert isinstance(serial, SerialPipe)
    assert (serial.path, serial.baud) == ("/dev/ttyACM0", 460_800)
    slow = open_pipe("/dev/ttyUSB0@115200")
    assert isinstance(slow, SerialPipe)
    assert (slow.path, slow.baud) == ("/dev/ttyUSB0", 115_200)
    net = open_pipe("tcp://[::1]:6638")
    assert isinstance(net, TcpPipe)
    assert (net.host, net.port) == ("::1", 6638)


@pytest.mark.parametrize("port", ["", "tcp://", "tcp://host", "tcp://:1", "tcp://host:0", "tcp://host:65536"])
def test_ports_that_are_none(port: str) -> None:
    with pytest.raises(InputError, match="write"):
        open_pipe(port)


# --- lines between two real file descriptors ------------------------------------------------------------------


async def talk(port: PtyPort | TcpPort) -> None:
    """Two radios, one of them on a stick behind a real line: frames both ways, the line lost and found."""
    loop = the_loop()
    air = Air(loop, random.Random(7))
    dongle = Dongle(air, port, STICK)
    await dongle.start()
    radio = RcpRadio(open_pipe(str(port)), METER, loop)
    ear, other_ear = RadioEar(), RadioEar()
    other = air.radio(HUB)
    other.set_channel(CHANNEL)
    other.attach(other_ear)
    try:
        radio.attach(ear)
        radio.set_channel(CHANNEL)
        async with asyncio.timeout(5):
            await radio.up.wait()
            for number in range(20):
                radio.transmit(BEACON_REQUEST[:2] + bytes((number,)) + BEACON_REQUEST[3:])
                await ear.more()
            other.transmit(BEACON_REQUEST)
            await ear.more()
        assert ear.outcomes == [TransmitOutcome.SENT] * 20
        assert [psdu[2] for psdu in other_ear.frames] == list(range(20))
        assert ear.frames == [BEACON_REQUEST]
    finally:
        radio.close()
        await dongle.close()


def test_a_pty(tmp_path: Path) -> None:
    run(talk(PtyPort(tmp_path / "ttyRCP")), speed=1)
    assert not (tmp_path / "ttyRCP").is_symlink()


def test_a_tcp_port() -> None:
    run(talk(TcpPort("127.0.0.1", 0)), speed=1)


def test_a_link_of_a_run_that_was_killed_is_replaced_and_a_file_is_not(tmp_path: Path) -> None:
    link, file = tmp_path / "ttyRCP", tmp_path / "file"
    link.symlink_to("/dev/pts/nobody")
    file.write_text("mine")

    async def scene() -> None:
        air = Air(the_loop(), random.Random(7))
        dongle = Dongle(air, PtyPort(link), STICK)
        await dongle.start()
        assert os.path.exists(link)
        await dongle.close()
        with pytest.raises(InputError, match="is no link"):
            await Dongle(air, PtyPort(file), STICK).start()
        with pytest.raises(InputError, match=r"nowhere/ttyRCP: No such file or directory$"):
            await Dongle(air, PtyPort(tmp_path / "nowhere" / "ttyRCP"), STICK).start()

    run(scene(), speed=1)
    assert not link.is_symlink()
    assert file.read_text() == "mine"


def test_a_living_stick_keeps_its_name(tmp_path: Path) -> None:
    link, elsewhere = tmp_path / "ttyRCP", tmp_path / "same"
    elsewhere.symlink_to(tmp_path)

    async def scene() -> None:
        air = Air(the_loop(), random.Random(7))
        dongle = Dongle(air, PtyPort(link), STICK)
        await dongle.start()
        target = os.readlink(link)
        for name in (link, elsewhere / "ttyRCP"):
            with pytest.raises(InputError, match="ttyRCP is the name of a stick that runs"):
                await Dongle(air, PtyPort(name), STICK).start()
        assert os.readlink(link) == target
        await dongle.close()
        again = Dongle(air, PtyPort(link), STICK)
        await again.start()
        assert link.is_symlink()
        await again.close()

    run(scene(), speed=1)
    assert not link.is_symlink()


def test_a_link_to_something_else_than_a_pty_is_not_ours_to_replace(tmp_path: Path) -> None:
    link = tmp_path / "ttyRCP"
    link.symlink_to("/dev/ttyUSB7")

    async def scene() -> None:
        with pytest.raises(InputError, match="leads to /dev/ttyUSB7, which is no pty: choose another name"):
            await Dongle(Air(the_loop(), random.Random(7)), PtyPort(link), STICK).start()

    run(scene(), speed=1)
    assert os.readlink(link) == "/dev/ttyUSB7"


def test_hosts_come_and_go_on_tcp() -> None:
    async def scene() -> None:
        port = TcpPort("127.0.0.1", 0)
        dongle = Dongle(Air(the_loop(), random.Random(7)), port, STICK)
        await dongle.start()
        for _ in range(3):
            reader, writer = await asyncio.open_connection("127.0.0.1", port.port)
            writer.write(RESET)
            decoder = HdlcDecoder()
            frames: list[bytes] = []
            async with asyncio.timeout(5):
                while HAS_RESET not in frames:
                    frames += decoder.feed(await reader.read(1000))
            writer.close()
            await writer.wait_closed()
        taken = Dongle(Air(the_loop(), random.Random(7)), TcpPort("127.0.0.1", port.port), STICK)
        with pytest.raises(LostError, match="in use"):
            await taken.start()
        await taken.close()
        await dongle.close()

    run(scene(), speed=1)


def test_a_port_that_is_not_there_is_tried_again(tmp_path: Path) -> None:
    async def scene() -> None:
        loop = the_loop()
        link = tmp_path / "ttyLate"
        radio = RcpRadio(open_pipe(str(link)), METER, loop)
        radio.attach(RadioEar())
        await asyncio.sleep(0.3)
        assert not radio.up.is_set()
        dongle = Dongle(Air(loop, random.Random(7)), PtyPort(link), STICK)
        await dongle.start()
        async with asyncio.timeout(10):
            await radio.up.wait()
        radio.close()
        await dongle.close()

    run(scene(), speed=5)


# --- a home -----------------------------------------------------------------------------------------------

HOME = """
[[device]]
role = "chf"
[[device]]
role = "gpf"
[[device]]
role = "ihd"
radio = "rcp:tcp://127.0.0.1:{port}"
"""


def test_a_device_of_a_home_on_a_stick_joins_and_establishes_its_key() -> None:
    async def scene() -> None:
        port = TcpPort("127.0.0.1", 0)
        # a stick that waits for its host before there is an air to put it on
        holder = socket.create_server(("127.0.0.1", 0))
        port.port = holder.getsockname()[1]
        holder.close()
        home = await open_home(toml=HOME.format(port=port.port), waits=False, seed=7)
        dongle = Dongle(home.air, port, STICK)
        await dongle.start()
        try:
            await home.joined(120)
            network = home.ihd.port.network
            assert network is not None
            key = home.ihd.port.link_key(network.trust_centre)
            assert key is not None
            assert key.origin is KeyOrigin.ESTABLISHED
        finally:
            await home.close()
            await dongle.close()

    run(scene(), speed=20)


def test_a_stick_needs_a_finite_speed() -> None:
    async def scene() -> None:
        with pytest.raises(InputError, match="finite speed"):
            await open_home(toml=HOME.format(port=1), waits=False)

    run(scene(), speed=float("inf"))


# --- the command --------------------------------------------------------------------------------------------


@contextmanager
def command(repository: Path, *words: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "smets1.tools.cli", "dongle", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(repository / "src")},
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def told(process: subprocess.Popen[str]) -> dict[str, Any]:
    assert process.stdout is not None
    answer: dict[str, Any] = json.loads(process.stdout.readline())
    return answer


def test_the_command_offers_sticks_and_ends_in_good_order(repository: Path, tmp_path: Path) -> None:
    link, capture = tmp_path / "ttyRCP", tmp_path / "air.pcapng"
    words = ("--rcp", "--link", str(link), "--tcp", "127.0.0.1:0", "--json", "--capture", str(capture))
    with command(repository, *words) as process:
        assert told(process) == {"stick": "rcp", "port": str(link), "eui64": "00-DB-00-00-00-00-00-01"}
        second = told(process)
        assert second["eui64"] == "00-DB-00-00-00-00-00-02"
        host, _, port = second["port"].removeprefix("tcp://").partition(":")
        with socket.create_connection((host, int(port)), timeout=10) as line:
            line.sendall(RESET)
            assert HAS_RESET in HdlcDecoder().feed(line.recv(1000))
        assert link.is_symlink()
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
    assert not link.is_symlink()
    assert capture.stat().st_size > 0


def test_a_stick_of_no_kind_is_the_one_that_zigbee_programs_expect(repository: Path, tmp_path: Path) -> None:
    with command(repository, "--link", str(tmp_path / "tty"), "--json") as process:
        assert told(process)["stick"] == "ezsp"
    with command(repository, "--rcp", "--json") as process:
        assert told(process)["stick"] == "rcp"


def test_the_name_of_another_process_is_free_when_it_has_ended(repository: Path, tmp_path: Path) -> None:
    link = tmp_path / "ttyRCP"
    words = ("--rcp", "--link", str(link), "--json")
    with command(repository, *words) as first:
        assert told(first)["port"] == str(link)
        target = os.readlink(link)
        with command(repository, *words) as second:
            assert second.wait(10) == 1
            assert second.stderr is not None
            line = f"smets1 dongle: {link} is the name of a stick that runs: end that, or choose another name"
            assert second.stderr.read() == f"{line}\n"
        assert os.readlink(link) == target
        first.kill()  # as by power: its link stays, and leads to a pty that others may get
        first.wait(10)
        assert link.is_symlink()
        with command(repository, *words) as third:
            assert told(third)["port"] == str(link)
            assert os.path.exists(link)


HUB_HOME = """
seed = 7
[[device]]
role = "chf"
{hub}
[[device]]
role = "gpf"
{hub_runs}
[[device]]
role = "ihd"
{ihd}
"""


@pytest.mark.slow
def test_a_hub_on_a_stick_and_the_devices_of_another_process(repository: Path, tmp_path: Path) -> None:
    """In real time: the stick and an IHD in one process, the hub with the stick's serial port in another."""
    link, away = tmp_path / "ttyRCP", "runs_here = false"
    devices, hub = tmp_path / "devices.toml", tmp_path / "hub.toml"
    devices.write_text(HUB_HOME.format(hub=away, hub_runs=away, ihd=""))
    hub.write_text(HUB_HOME.format(hub=f'radio = "rcp:{link}"', hub_runs="", ihd=away))
    with command(repository, "--rcp", "--link", str(link), "--home", str(devices), "--json") as sticks:
        while "stick" not in told(sticks):
            pass
        running = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "smets1.tools.cli",
                "run",
                str(hub),
                "--speed",
                "1",
                "--http",
                "127.0.0.1:0",
            ],
            stdout=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": str(repository / "src")},
        )
        overdue = threading.Timer(90, sticks.kill)  # ends the reading below
        overdue.start()
        try:
            while "Ihd" not in (text := told(sticks)["text"]) or "keyed" not in text:
                pass
        finally:
            overdue.cancel()
            running.kill()
            running.wait()


def test_usage(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    with pytest.raises(SystemExit):
        main(["dongle", "--ezsp", "--rcp"])
    assert "--rcp: not allowed with" in capsys.readouterr().err
    with pytest.raises(SystemExit) as stop:
        main(["dongle", "--rcp", "--tcp", "nowhere"])
    assert stop.value.code == 2
    assert "HOST:PORT" in capsys.readouterr().err
    assert main(["dongle", "--rcp", "--keys", str(tmp_path / "k")]) == 2
    assert "--home" in capsys.readouterr().err
