"""A CAD in a home: joins by its install code, follows, republishes; and a real mosquitto client reads it."""

from __future__ import annotations

import asyncio
import json
import random
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from smets1.devices.cad import cad_topic
from smets1.errors import InputError
from smets1.hardware.clock import run
from smets1.hardware.radio import KeyOrigin
from smets1.tools.broker import free_port
from smets1.tools.controls import differences, parameters, set_parameter
from smets1.tools.duis_ask import ask
from smets1.tools.home import open_home
from smets1.tools.home_file import parse_home

DEVICES = "".join(
    f'[[device]]\nrole = "{role}"\n' for role in ["chf", "gpf", "esme", "gsme", "ppmid", "ihd", "cad"]
)
QUIET = "[han]\nreport_interval_s = 60\n[prepayment]\nbalance_pounds = 20\n"
CAD = 0x00DB1234567890A7


class Listener:
    """A program of the household that subscribes."""

    def __init__(self) -> None:
        self.messages: list[tuple[str, Any]] = []

    def on_message(self, topic: str, payload: bytes) -> None:
        self.messages.append((topic, json.loads(payload)))

    def on_up(self) -> None: ...

    def on_down(self, reason: str) -> None: ...

    def of(self, topic: str) -> list[Any]:
        return [body for name, body in self.messages if name == topic]


async def listen(home: Any) -> Listener:
    listener = Listener()
    link = home.household(CAD).link("automation", random.Random(1))
    link.attach(listener)
    link.subscribe("glow/#")
    await link.connect()
    return listener


async def test_a_cad_joins_follows_and_republishes(smets1_home: Any) -> None:
    home = await smets1_home(toml=QUIET + DEVICES)
    assert home.cad.keyed.is_set()
    key = home.cad.port.link_key(home.chf.eui64)
    assert key is not None
    assert key.origin is KeyOrigin.ESTABLISHED
    listener = await listen(home)
    await home.clock.advance(hours=3)
    electricity = listener.of("glow/1234567890A7/SENSOR/electricitymeter")
    assert electricity == listener.of(cad_topic(CAD, is_gas=False))
    assert len(electricity) > 150  # a report a minute
    latest = electricity[-1]["electricitymeter"]
    assert "2023-01-16T02:58" < latest["timestamp"] < "2023-01-16T03:02"
    register = home.esme.meter.reading
    assert 0 <= register - latest["energy"]["import"]["cumulative"] * 1000 < 30
    assert latest["energy"]["import"]["price"] == {"unitrate": 0.34, "standingcharge": 0.46}
    assert latest["energy"]["export"] == {"cumulative": 0.0, "units": "kWh"}
    assert latest["prepayment"]["balance"] == pytest.approx(home.esme.account.balance_mp / 100_000, abs=0.02)
    assert latest["power"]["units"] == "kW"
    gas = listener.of(cad_topic(CAD, is_gas=True))[-1]["gasmeter"]
    reported = home.chf.gas.values["metering"]["current_summation_delivered"]
    assert gas["energy"]["import"]["cumulativevol"] == reported / 1000
    prices = gas["energy"]["import"]["price"]
    assert prices == {"unitrate": 0.103, "standingcharge": 0.28}, "by way of the mirror's copy of the tariff"
    assert gas["energy"]["import"]["dayvol"] == gas["energy"]["import"]["day"]
    states = listener.of("glow/1234567890A7/STATE")
    hours = [state["timestamp"][11:13] for state in states]
    assert hours == ["01", "02", "03"], "the first was told before anybody listened"
    assert states[-1]["han"]["status"] == "joined"
    assert -100 < states[-1]["han"]["rssi"] < 0 < states[-1]["han"]["lqi"]
    log = await ask(home, "8.9", home.chf.eui64)
    assert "00-DB-12-34-56-78-90-A7" in log.values("DeviceID")


async def test_the_present_is_told_after_the_broker_was_gone(smets1_home: Any) -> None:
    home = await smets1_home(toml=QUIET + DEVICES)
    listener = await listen(home)
    await home.clock.advance(minutes=5)
    home.household(CAD).stop()
    await home.clock.advance(hours=1)
    before = len(listener.messages)
    home.household(CAD).start()
    await home.clock.advance(minutes=6)
    later = listener.of(cad_topic(CAD, is_gas=False))
    assert len(listener.messages) > before
    assert later[-1]["electricitymeter"]["timestamp"] > "2023-01-16T01:05"
    stamps = [body["electricitymeter"]["timestamp"] for body in later]
    assert not [stamp for stamp in stamps if "T00:10" < stamp[10:] < "T01:04"]


async def test_its_parameters_are_seen_in_what_it_tells(smets1_home: Any) -> None:
    home = await smets1_home(toml=QUIET + DEVICES)
    listener = await listen(home)
    assert [row["name"] for row in parameters(home.cad)] == [
        *("supplier_name", "supplier_contact", "currency", "clock_synchronisation_interval"),
    ]
    set_parameter(home.cad, "supplier_name", "A Supplier")
    set_parameter(home.cad, "currency", "EUR")
    with pytest.raises(InputError):
        set_parameter(home.cad, "privacy_pin", "1234")
    assert differences(home.cad) == []
    await home.clock.advance(minutes=5)
    latest = listener.of(cad_topic(CAD, is_gas=False))[-1]["electricitymeter"]
    assert latest["energy"]["import"]["supplier"] == "A Supplier"
    assert latest["prepayment"]["currency"] == "EUR"


@pytest.mark.outsider
def test_a_mosquitto_client_reads_it(tmp_path: Path, program: Callable[[str], str]) -> None:
    """mosquitto in the middle, its own mosquitto_sub at the end: nothing of ours reads the messages."""
    broker, subscriber = program("mosquitto"), program("mosquitto_sub")
    port = free_port()
    config = tmp_path / "mosquitto.conf"
    config.write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\nlog_dest none\n")

    async def story() -> None:
        toml = "speed = 60\n" + QUIET + DEVICES + f'mqtt = "mqtt://127.0.0.1:{port}"\n'
        home = await open_home(config=parse_home(toml, tmp_path / "home.toml"), seed=1)
        words = [subscriber, "-h", "127.0.0.1", "-p", str(port), "-t", "glow/#", "-v", "-C", "4", "-W", "60"]
        heard = await asyncio.create_subprocess_exec(*words, stdout=asyncio.subprocess.PIPE)
        try:
            out, _ = await heard.communicate()
            assert heard.returncode == 0, "four messages within a minute"
            found = [line.split(" ", 1) for line in out.decode().splitlines()]
            topics = {topic for topic, _ in found}
            state = "glow/1234567890A7/STATE"
            assert topics <= {state, cad_topic(CAD, is_gas=False), cad_topic(CAD, is_gas=True)}
            bodies = [json.loads(body) for topic, body in found if topic.endswith("electricitymeter")]
            assert bodies[-1]["electricitymeter"]["energy"]["import"]["units"] == "kWh"
        finally:
            await home.close()

    with subprocess.Popen(
        [broker, "-c", str(config)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as it:
        try:
            run(story(), speed=60)
        finally:
            it.terminate()
