"""The home's HTTP face, over real sockets and at a finite speed."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession

from smets1.errors import InputError, LostError
from smets1.eui64 import format_eui64
from smets1.hardware.clock import run
from smets1.headend.catalogue import find_variant
from smets1.tools.commands.srv import ready_request
from smets1.tools.home import Home, open_home
from smets1.tools.home_file import parse_home
from smets1.tools.http import HttpServer

TOML = "speed = 60\n[han]\nreport_interval_s = 600\n[prepayment]\nbalance_pounds = 20\n"
Story = Callable[[Home, HttpServer, ClientSession], Coroutine[Any, Any, None]]


def play(story: Story, *, token: str = "", host: str = "127.0.0.1", toml: str = TOML) -> None:
    async def main() -> None:
        home = await open_home(seed=1, config=parse_home(toml, Path("home.toml")), waits=True)
        server = HttpServer(home, host=host, port=0, token=token)
        try:
            await server.start()
            async with ClientSession() as session:
                await story(home, server, session)
        finally:
            await server.close()
            await home.close()

    run(main(), speed=60)


def test_the_home_and_its_devices() -> None:
    async def story(home: Home, server: HttpServer, session: ClientSession) -> None:
        async with session.get(f"{server.url}/api/v1/home") as answer:
            assert answer.status == 200
            body = await answer.json()
        assert body["seed"] == 1
        assert body["utc"].startswith("2023-01-16T00:0")
        kinds = {device["kind"]: device for device in body["devices"]}
        assert sorted(kinds) == ["chf", "esme", "gsme", "ihd", "ppmid"]
        assert all(device["is_keyed"] for device in kinds.values())
        assert kinds["esme"]["supply"] == "on"
        assert kinds["esme"]["payment_mode"] == "prepayment"
        assert 1_990_000 < kinds["esme"]["balance_mp"] <= 2_000_000
        assert "volume_dm3" in kinds["gsme"]
        assert kinds["chf"]["short_address"] == "0x0000"
        async with session.get(f"{server.url}/api/v1/devices/00-DB-12-34-56-78-90-A0") as answer:
            assert (await answer.json())["eui64"] == "00-DB-12-34-56-78-90-A0"
        async with session.get(f"{server.url}/api/v1/devices/00-DB-12-34-56-78-90-A5/screen") as answer:
            pages = (await answer.json())["pages"]
        assert pages == home.ihd.screen
        for path, status in (
            ("devices/nonsense", 400),
            ("devices/00-DB-12-34-56-78-90-FF", 404),
            ("devices/00-DB-12-34-56-78-90-A2/screen", 404),  # the hub has no display
            ("nothing", 404),
        ):
            async with session.get(f"{server.url}/api/v1/{path}") as answer:
                assert answer.status == status, path

    play(story)


def test_the_air_is_spoilt_and_mended_live() -> None:
    async def story(home: Home, server: HttpServer, session: ClientSession) -> None:
        url = f"{server.url}/api/v1/faults"
        ihd, esme = format_eui64(home.ihd.eui64), format_eui64(home.esme.eui64)

        async def post(body: Any) -> tuple[int, Any]:
            octets = body if isinstance(body, bytes) else json.dumps(body).encode()
            async with session.post(url, data=octets) as answer:
                is_json = answer.content_type == "application/json"
                return answer.status, await (answer.json() if is_json else answer.text())

        status, now = await post({"loss": 0.25, "away": [{"device": ihd, "end_s": 600}]})
        assert status == 200
        assert now["default"] == {"loss": 0.25}
        assert now["away"] == [ihd]
        async with session.get(url) as answer:
            assert await answer.json() == now
        await asyncio.sleep(700)
        async with session.get(url) as answer:
            assert (await answer.json())["away"] == []
        for body, wrong in (
            (b"{", "the body must be a JSON object"),
            (b"[" * 100_000, "the body must be a JSON object"),
            ([], "the body must be a JSON object"),
            ({"lost": 0.1}, "unknown key 'lost' in [faults]: did you mean 'loss'?"),
            ({"loss": "much"}, "loss must be a number from 0 to 1"),
            ({"loss": float("nan")}, "loss"),
            ({"cut": [{"from": esme}]}, "to is missing in [faults.cut]"),
            ({"cut": [7]}, "cut must be a list of tables"),
            ({"away": [{"device": "00-00-00-00-00-00-00-01"}]}, "is no device of this home"),
        ):
            status, text = await post(body)
            assert status == 400, body
            assert wrong in text
            assert "\n" not in text
        async with session.get(url) as answer:
            assert (await answer.json())["default"] == {"loss": 0.25}  # a refused one changes nothing
        assert (await post({}))[0] == 200
        assert home.air.faults.is_clear

    play(story)


def test_one_fault_is_added_and_taken_away_beside_the_others() -> None:
    async def story(home: Home, server: HttpServer, session: ClientSession) -> None:
        url = f"{server.url}/api/v1/faults"
        ihd, esme, hub = (format_eui64(device.eui64) for device in (home.ihd, home.esme, home.chf))

        async def ask(method: str, path: str = "", body: Any = None) -> tuple[int, Any]:
            octets = None if body is None else json.dumps(body).encode()
            async with session.request(method, url + path, data=octets) as answer:
                is_json = answer.content_type == "application/json"
                return answer.status, await (answer.json() if is_json else answer.text())

        _, before = await ask("POST", body={"loss": 0.25, "cut": [{"from": esme, "to": ihd}]})
        (cut,) = before["plan"]
        assert cut == {"id": cut["id"], "kind": "cut", "from": esme, "to": ihd, "start_s": 0}
        more = {
            "corrupt": 0.1,
            "node": [{"device": ihd, "delay_ms": 2, "x_m": 1, "y_m": 2}],
            "link": [{"from": hub, "to": ihd, "loss": 0.5}],
            "away": [{"device": ihd, "start_s": 60, "end_s": 120}],
            "interference": [{"length_ms": 5, "every_ms": 20, "channel": 15, "devices": [ihd]}],
        }
        status, now = await ask("PATCH", body=more)
        assert status == 200
        assert now["default"] == {"loss": 0.25, "corrupt": 0.1}
        assert now["cuts"] == [{"from": esme, "to": ihd}]
        assert now["nodes"] == {ihd: {"delay_us": 2000}}
        assert now["links"] == [{"from": hub, "to": ihd, "loss": 0.5}]
        assert [row["kind"] for row in now["plan"]] == ["cut", "away", "interference"]
        noise = now["plan"][2]
        assert noise["devices"] == [ihd]
        assert noise["every_ms"] == 20
        _, now = await ask("PATCH", body={"node": [{"device": ihd, "loss": 0.125}]})
        assert now["nodes"] == {ihd: {"loss": 0.125, "delay_us": 2000}}, "keys that are not named stay"
        status, text = await ask("PATCH", body={"cut": [{"from": esme}]})
        assert (status, "to is missing" in text) == (400, True)
        assert (await ask("GET"))[1] == now

        for path in (
            f"/plan/{cut['id']}", f"/plan/{noise['id']}", f"/node/{ihd}", f"/link/{hub}/{ihd}", "/default",
        ):  # fmt: skip
            assert (await ask("DELETE", path))[0] == 200, path
            assert (await ask("DELETE", path))[0] == 404, path
        await asyncio.sleep(61)
        _, now = await ask("GET")
        assert now["away"] == [ihd], "what was not taken away comes at its time"
        await asyncio.sleep(60)
        assert (await ask("GET"))[1]["plan"] == []
        assert home.air.faults.is_clear
        for path, wrong in (("/plan/x", 400), ("/plan/9999999999", 400), ("/node/x", 400), ("/nothing", 404)):
            assert (await ask("DELETE", path))[0] == wrong, path

    play(story)


def test_keys_of_every_face() -> None:
    """A person at the meter, at the PPMID and at the IHD; what cannot be pressed is said in one line."""

    async def story(home: Home, server: HttpServer, session: ClientSession) -> None:
        def url(eui64: int, what: str) -> str:
            return f"{server.url}/api/v1/devices/{format_eui64(eui64)}/{what}"

        async def press(eui64: int, body: object) -> tuple[int, Any]:
            async with session.post(url(eui64, "keys"), json=body) as answer:
                return answer.status, await (answer.json() if answer.status == 200 else answer.text())

        token = home.headend.make_utrn(home.esme.eui64, pounds=10)
        before_mp = home.esme.account.balance_mp
        status, seen = await press(home.esme.eui64, {"keys": f"A {token[:10]}-{token[10:]} B"})
        assert (status, seen["shown"], seen["lcd"]) == (200, ["£10.00"], "£10.00")
        assert home.esme.account.balance_mp > before_mp + 990_000
        async with session.get(url(home.gsme.eui64, "screen")) as answer:
            screen = await answer.json()
        assert list(screen["pages"]) == list("0123456789")
        assert screen["pages"]["9"][0] == "TOTAL"
        status, seen = await press(home.gsme.eui64, {"keys": "9", "held": True})
        assert seen["shown"] == ["ENGINEERING", "PIN "]
        status, seen = await press(home.ppmid.eui64, {"keys": "> >"})
        assert (seen["page"], seen["shown"][0]) == ("electricity use", "ELECTRICITY USE")
        status, seen = await press(home.ihd.eui64, {"keys": "<"})
        assert (seen["page"], seen["shown"]) == ("messages", ["MESSAGES", "No messages"])
        for eui64, body, complaint in (
            (home.esme.eui64, {"keys": "C"}, "there is no key 'C': the keys are 0 1 2 3 4 5 6 7 8 9 A B"),
            (home.ihd.eui64, {"keys": "A"}, "there is no key 'A'"),
            (home.esme.eui64, {"keys": 7}, "the body must be JSON"),
            (home.esme.eui64, ["A"], "the body must be JSON"),
            (home.esme.eui64, {"keys": "1" * 1001}, "at most 1000 characters"),
        ):
            status, text = await press(eui64, body)
            assert (status, "\n" in text) == (400, False)
            assert complaint in text
        assert (await press(home.chf.eui64, {"keys": "A"}))[0] == 404

    play(story)


def test_a_duis_request_by_post() -> None:
    async def story(home: Home, server: HttpServer, session: ClientSession) -> None:
        variant = find_variant("4.18")
        assert variant is not None
        xml = ready_request(variant, target=home.esme.eui64, now=home.clock.utc)
        url = f"{server.url}/api/v1/serviceS?wait=5"
        async with session.post(url, data=xml.encode()) as answer:
            assert answer.status == 200
            body = await answer.text()
        assert "<sr:ResponseCode>I0</sr:ResponseCode>" in body
        assert "MeterBalance" in body

    play(story)


def test_with_a_token() -> None:
    async def story(home: Home, server: HttpServer, session: ClientSession) -> None:
        url = f"{server.url}/api/v1/home"
        for headers, status in (
            ({}, 401),
            ({"Authorization": "Bearer wrong"}, 401),
            ({"Authorization": "open sesame"}, 401),
            ({"Authorization": "Basic open sesame"}, 401),
            ({"Authorization": "Bearer \u00e9"}, 401),
            ({"Authorization": "Bearer open sesame"}, 200),
        ):
            async with session.get(url, headers=headers) as answer:
                assert answer.status == status, headers
        async with session.post(f"{server.url}/api/v1/serviceS", data=b"<x/>") as answer:
            assert answer.status == 401

    play(story, token="open sesame", host="0.0.0.0")


def test_another_address_without_a_token_is_refused() -> None:
    async def story(home: Home, server: HttpServer, session: ClientSession) -> None:
        raise AssertionError("it listens")

    with pytest.raises(InputError, match="token"):
        play(story, host="0.0.0.0")


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.5", "localhost"])
def test_loopback_needs_none(host: str) -> None:
    async def story(home: Home, server: HttpServer, session: ClientSession) -> None:
        async with session.get(f"{server.url}/api/v1/home") as answer:
            assert answer.status == 200

    play(story, host=host)


def test_a_port_in_use() -> None:
    async def story(home: Home, server: HttpServer, session: ClientSession) -> None:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            port = taken.getsockname()[1]
            second = HttpServer(home, host="127.0.0.1", port=port)
            with pytest.raises(LostError, match=f"cannot listen on 127.0.0.1:{port}"):
                await second.start()
            await second.close()
        await asyncio.sleep(0)

    play(story)


def test_where_the_head_end_runs_elsewhere() -> None:
    async def story(home: Home, server: HttpServer, session: ClientSession) -> None:
        async with session.get(f"{server.url}/api/v1/home") as answer:
            assert answer.status == 200
        async with session.post(f"{server.url}/api/v1/serviceS", data=b"<x/>") as answer:
            assert answer.status == 404

    play(story, toml=TOML + "[headend]\nruns_here = false\n")


def test_a_laboratorys_hands() -> None:
    async def story(home: Home, server: HttpServer, session: ClientSession) -> None:
        device = f"{server.url}/api/v1/devices/00-DB-12-34-56-78-90-A0"
        async with session.post(f"{device}/sensors", json={"sensor": "magnet", "open": True}) as answer:
            assert answer.status == 200
            assert (await answer.json())["supply"] == "on"
        assert home.esme.meter.tamper.count == 1
        async with session.post(f"{device}/parameters", json={"name": "currency", "value": "EUR"}) as answer:
            assert answer.status == 200
        async with session.get(f"{device}/enrolment") as answer:
            found = (await answer.json())["differences"]
        assert found == [{"name": "currency", "part": 1, "is": "EUR", "must_be": "GBP"}]
        async with session.post(f"{device}/power", json={"on": False}) as answer:
            assert await answer.json() == {"eui64": "00-DB-12-34-56-78-90-A0", "has_power": False}
        async with session.get(f"{device}/parameters") as answer:
            assert answer.status == 404
        async with session.post(f"{device}/power", json={"on": True}) as answer:
            assert (await answer.json())["has_power"] is True

    play(story)


def test_a_disk_that_is_full_is_503_and_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise LostError("NVM cannot be written: no space left on device")

    async def story(home: Home, server: HttpServer, session: ClientSession) -> None:
        monkeypatch.setattr(home.esme, "press", full)
        monkeypatch.setattr(home.esme, "changed", full)
        device = f"{server.url}/api/v1/devices/00-DB-12-34-56-78-90-A0"
        for path, body in (("keys", {"keys": "A"}), ("voltage", {"mv": 230_000})):
            async with session.post(f"{device}/{path}", json=body) as answer:
                assert (answer.status, await answer.text()) == (
                    503,
                    "NVM cannot be written: no space left on device",
                )
        monkeypatch.undo()

    play(story)


@pytest.mark.parametrize(
    ("path", "body", "status", "words"),
    [
        ("A0/sensors", b'{"sensor": "nose", "open": true}', 400, "sensor is one of"),
        ("A0/sensors", b"{}", 400, "sensor is missing: one of "),
        ("A0/power", b'{"on": 1}', 400, "on is true or false, not 1"),
        ("A0/sensors", b'{"sensor": "magnet", "open": true, "x\\ny": 1}', 400, "has no 'x\\ny'"),
        ("A0/sensors", b"{", 400, "must be JSON"),
        ("A0/sensors", b"\xff", 400, "must be JSON"),
        ("A0/sensors", b"[" * 100_000, 400, "must be JSON"),
        ("A0/sensors", b"[1]", 400, "takes a JSON object"),
        ("A0/appliances", b'{"name": "a\\nb", "on": true, "watts": 1}', 400, "name is a text"),
        ("A0/clock", b'{"drift_ppm": 1e3}', 400, "drift_ppm is a whole number"),
        ("A0/battery", b'{"percent": 5}', 400, "no gas meter"),
        ("A0/power", b'{"on": true}', 400, "has power"),
        ("A0/parameters", b'{"name": "no\\nsuch", "value": 1}', 400, "no parameter 'no\\nsuch'"),
        ("A0/parameters", b'{"name": ["x"], "value": 1}', 400, "is a text"),
        ("A0/parameters", b'{"name": "currency"}', 400, "must be JSON, as"),
        (
            "A0/parameters",
            b'{"name": "currency", "value": {"a": 1}}',
            400,
            "it takes a text of the form GBP|EUR",
        ),
        ("A0/parameters", b'{"name": "payment_mode", "value": 9}', 400, "9: it takes 0 credit, 1 prepayment"),
        ("A0/parameters", b'{"name": "privacy_pin", "value": "98765"}', 400, "does not take that"),
        ("A0/keys", b"[" * 100_000, 400, "must be JSON, as"),
        ("FF/power", b'{"on": false}', 404, "in this home"),
        ("FF/sensors", b'{"sensor": "magnet", "open": true}', 404, "in this home"),
        ("nobody/power", b'{"on": false}', 400, "EUI-64"),
    ],
)
def test_what_does_not_fit_is_one_line(path: str, body: bytes, status: int, words: str) -> None:
    async def story(home: Home, server: HttpServer, session: ClientSession) -> None:
        head = "" if path.startswith("nobody") else "00-DB-12-34-56-78-90-"
        headers = {"Content-Type": "application/json; charset=no-such"}
        url = f"{server.url}/api/v1/devices/{head}{path}"
        async with session.post(url, data=body, headers=headers) as answer:
            text = await answer.text()
        assert (answer.status, words in text, "\n" in text) == (status, True, False), text
        assert len(text) < 200

    play(story)


def test_the_description_has_every_path() -> None:
    async def story(home: Home, server: HttpServer, session: ClientSession) -> None:
        async with session.get(f"{server.url}/api/v1/docs") as answer:
            described = await answer.json()
        assert server._runner is not None
        served = {
            (route.method.lower(), route.resource.canonical)
            for route in server._runner.app.router.routes()
            if route.resource is not None and route.method != "HEAD"
        }
        named = {
            (method, path)
            for path, item in described["paths"].items()
            for method in item.keys() - {"parameters"}
        }
        assert named == served
        async with session.get(
            f"{server.url}/api/v1/devices/00-DB-12-34-56-78-90-A0/enrolment?group=ZZ"
        ) as no:
            assert (no.status, "no table" in await no.text()) == (400, True)

    play(story)
