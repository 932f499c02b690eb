"""The JSON that home automation reads, golden."""

from __future__ import annotations

import json

from smets1.devices.cad import cad_messages, cad_state, cad_topic
from smets1.devices.display import DisplayModel

CAD = 0x00DB1234567890A6
HEARD = 1_717_419_900_000_000  # 2024-06-03 13:05:00

ELECTRICITY = {
    "current_summation_delivered": 5_069_004,
    "supply_status": 2,
    "instantaneous_demand": 2547,
    "current_day_consumption_delivered": 7971,
    "current_week_consumption_delivered": 18_962,
    "current_month_consumption_delivered": 72_764,
    "payment_control_configuration": 0x0497,
    "credit_remaining": 1_234_999,
}


def test_nothing_is_said_of_a_meter_not_heard():
    assert cad_messages(DisplayModel(is_ppmid=False, has_gas=True), CAD) == []


def test_electricity():
    model = DisplayModel(is_ppmid=False, has_gas=False)
    model.electricity.take(ELECTRICITY, utc_us=HEARD + 123)
    model.electricity.price_mp_per_kwh = 28_620
    model.electricity.standing_mp = 45_670
    model.electricity.values["current_summation_received"] = 123_456
    ((topic, body),) = cad_messages(model, CAD, mpan="1234567890123", supplier="A Supplier")
    assert topic == "glow/1234567890A6/SENSOR/electricitymeter" == cad_topic(CAD, is_gas=False)
    assert json.loads(body) == {
        "electricitymeter": {
            "timestamp": "2024-06-03T13:05:00Z",
            "energy": {
                "export": {"cumulative": 123.456, "units": "kWh"},
                "import": {
                    "cumulative": 5069.004,
                    "day": 7.971,
                    "week": 18.962,
                    "month": 72.764,
                    "units": "kWh",
                    "mpan": "1234567890123",
                    "supplier": "A Supplier",
                    "supplystatus": "enabled",
                    "price": {"unitrate": 0.2862, "standingcharge": 0.4567},
                },
            },
            "power": {"value": 2.547, "units": "kW"},
            "prepayment": {"balance": 12.34999, "currency": "GBP"},
        }
    }


def test_gas_counts_cubic_metres_and_has_no_power():
    model = DisplayModel(is_ppmid=False, has_gas=True)
    model.gas.take(
        {"current_summation_delivered": 1_234_567, "current_day_alternative_consumption_delivered": 31_000},
        utc_us=HEARD,
    )
    ((topic, body),) = cad_messages(model, CAD)
    assert topic.endswith("/SENSOR/gasmeter")
    assert json.loads(body)["gasmeter"]["energy"]["import"] == {
        "cumulative": 13_852.623,
        "cumulativevol": 1234.567,
        "cumulativevolunits": "m3",
        "day": 31.0,
        "dayvol": 31.0,
        "dayweekmonthvolunits": "kWh",
        "units": "kWh",
    }
    assert json.loads(body)["gasmeter"]["power"] == {"value": 0.0, "units": "kW"}


def test_every_member_that_integrations_index_without_asking_is_there_for_electricity():
    """As Home Assistant's integration of that form reads them: one that is missing ends its whole update."""
    model = DisplayModel(is_ppmid=False, has_gas=False)
    model.electricity.take(ELECTRICITY | {"current_summation_received": 0}, utc_us=HEARD)
    model.electricity.price_mp_per_kwh, model.electricity.standing_mp = 28_620, 0
    ((_, body),) = cad_messages(model, CAD)
    meter = json.loads(body)["electricitymeter"]
    energy = meter["energy"]
    numbers = [energy["import"][name] for name in ("cumulative", "day", "week", "month")]
    numbers += [energy["export"]["cumulative"], meter["power"]["value"]]
    numbers += [energy["import"]["price"][name] for name in ("unitrate", "standingcharge")]
    assert all(isinstance(number, float) for number in numbers)


def test_every_member_that_integrations_index_without_asking_is_there_for_gas():
    model = DisplayModel(is_ppmid=False, has_gas=True)
    spans = {f"current_{span}_alternative_consumption_delivered": 0 for span in ("day", "week", "month")}
    model.gas.take({"current_summation_delivered": 0, **spans}, utc_us=HEARD)
    model.gas.price_mp_per_kwh, model.gas.standing_mp = 10_300, 0
    ((_, body),) = cad_messages(model, CAD)
    found = json.loads(body)["gasmeter"]["energy"]["import"]
    names = ("cumulative", "cumulativevol", "day", "week", "month", "dayvol", "weekvol", "monthvol")
    numbers = [found[name] for name in names] + [
        found["price"][name] for name in ("unitrate", "standingcharge")
    ]
    assert all(isinstance(number, float) for number in numbers)


def test_what_the_device_is_itself():
    topic, body = cad_state(CAD, utc_us=HEARD, software="00000001", hardware="Stick", is_joined=True, lqi=255)
    assert topic == "glow/1234567890A6/STATE"
    assert json.loads(body) == {
        "software": "00000001",
        "timestamp": "2024-06-03T13:05:00Z",
        "hardware": "Stick",
        "ethmac": "1234567890A6",
        "smetsversion": "SMETS1",
        "eui": "00:DB:12:34:56:78:90:A6",
        "zigbee": "1.2.5",
        "han": {"rssi": -45, "status": "joined", "lqi": 255},
    }
