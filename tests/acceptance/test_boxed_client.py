"""A client that behaves as DCC Boxed's nodes do, at a home whose hub is away, whose gas meter sleeps, whose meter is busy.

Each request has its synchronous answer within the client's three seconds; I99 comes before the response, which is
POSTed to the client's own endpoint until it is taken: none is lost, none is taken twice.
"""

from __future__ import annotations

import json
import os
import queue
import socket
import subprocess
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from home_process import HomeProcess, Mosquitto, until
from tests.headend.conftest import request_xml

pytestmark = pytest.mark.outsider

GSME = "00-DB-12-34-56-78-90-A1"
NOBODY = "00-DB-12-34-56-78-90-77"
BALANCE = "<sr:ReadMeterBalance/>"
# What comes of the first attempts, in turn, for the responses in the order of their coming.
FAILURES = [[], ["500"], ["cut"], ["400", "cut", "503"]]

TOML = """
seed = 7
[han]
gas_wake_s = 240
[wan]
link = "{wan}"
[[headend.user]]
eui64 = "90-B3-D5-1F-30-01-00-00"
name = "supplier"
roles = ["IS", "GS"]
callback = "http://127.0.0.1:{port}/smartdcc/duis"
"""


class Client:
    """The node program; `said` is all that it has told."""

    def __init__(self, folder: Path, home_url: str, port: int) -> None:
        self.said: list[dict[str, Any]] = []
        environment = {
            **os.environ,
            "HOME_URL": home_url,
            "PORT": str(port),
            "FAILURES": json.dumps(FAILURES),
        }
        environment["NODE_PATH"] = str(folder / "node_modules")
        self._process = subprocess.Popen(
            ["node", str(Path(__file__).with_name("boxed_client.js"))],
            cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment,
        )  # fmt: skip
        self._listening: queue.Queue[int] = queue.Queue()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()
        self._listening.get(timeout=20)

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            said = json.loads(line)
            self.said.append(said)
            if "port" in said:
                self._listening.put(said["port"])

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(timeout=20)
        self._reader.join()
        self._process.stdout.close()

    def send(self, xml: bytes, path: str = "/api/v1/serviceS") -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"path": path, "xml": xml.decode()}) + "\n")
        self._process.stdin.flush()

    def ask(self, *requests: bytes) -> list[str]:
        """Codes of the synchronous answers, each of which must have come in time."""
        before = len(self.answers())
        for xml in requests:
            self.send(xml)
        until(lambda: len(self.answers()) >= before + len(requests), "synchronous answers", 10)
        return [str(one["answer"]) for one in self.answers()[before:]]

    def answers(self) -> list[dict[str, Any]]:
        assert [one for one in self.said if "refused" in one or "unreadable" in one] == []
        return [one for one in self.said if "answer" in one]

    def taken(self) -> list[dict[str, Any]]:
        return [one for one in self.said if "response" in one and "request" in one]


@pytest.fixture
def broker(program: Callable[[str], str], tmp_path: Path) -> Iterator[Mosquitto]:
    made = Mosquitto(program("mosquitto"), tmp_path)
    yield made
    made.close()


@pytest.fixture
def home(broker: Mosquitto, tmp_path: Path) -> Iterator[tuple[HomeProcess, int]]:
    """With the port at which its supplier is to listen."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    path = tmp_path / "home.toml"
    path.write_text(TOML.format(wan=broker.url, port=port), encoding="utf-8")
    with HomeProcess(path, "--speed", "60") as running:
        running.wait_keyed()
        yield running, port


def test_hub_away_meter_asleep_meter_busy(
    home: tuple[HomeProcess, int], broker: Mosquitto, duis_parser: Path
) -> None:
    running, port = home
    client = Client(duis_parser, running.url, port)
    counters = iter(range(1, 1000))

    def reads(count: int, target: str = "00-DB-12-34-56-78-90-A0") -> list[bytes]:
        return [request_xml("4.18", BALANCE, counter=next(counters), target=target) for _ in range(count)]

    def top_up() -> bytes:
        body = "<sr:TopUpDevice><sr:UTRN>73950067887105178605</sr:UTRN></sr:TopUpDevice>"
        return request_xml("2.2", body, counter=next(counters) << 32, target=GSME)

    try:
        assert client.ask(*reads(1)) == ["I99"]
        assert client.ask(*reads(1, target=NOBODY)) == ["E19"]
        assert client.ask(*reads(20)) == ["I99"] * 20, "the meter is busy with the first"
        assert client.ask(top_up()) == ["I99"], "the gas meter sleeps"
        until(lambda: len(client.taken()) >= 22, "the responses so far")
        broker.close()
        assert client.ask(*reads(3), top_up()) == ["I99"] * 4, "the hub is away"
        assert len(client.taken()) == 22
        broker.start()
        until(lambda: len(client.taken()) >= 26, "the responses of a hub that came back")
        until(lambda: all(each["delivered"] for each in running.final_responses()), "all known as taken")
    finally:
        client.close()
    asked = Counter(one["request"] for one in client.answers() if one["answer"] == "I99")
    assert Counter(one["request"] for one in client.taken()) == asked
    assert set(asked.values()) == {1}
    assert all(one["code"] == "I0" and one["expected"] for one in client.taken())
    failed = Counter(one["failed"] for one in client.said if "failed" in one)
    assert failed.keys() == {"500", "cut", "400", "503"}
    assert max(one["ms"] for one in client.answers()) < 3000
    assert running.stop() == 0
