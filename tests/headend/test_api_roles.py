"""Who may ask for what: each of the 129 variants posted over HTTP, once in each of the seven roles."""

from __future__ import annotations

from collections import Counter
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from lxml import etree
from tests.headend.conftest import ESME, Rig, code_of, request_xml

from smets1.eui64 import format_eui64, parse_eui64
from smets1.headend.api import make_app
from smets1.headend.catalogue import CATALOGUE, ServiceVariant, Smets1Support
from smets1.headend.duis.codes import DeviceType, UserRole
from smets1.headend.non_device import BODIES
from smets1.headend.srv import PLANS
from smets1.headend.users import ServiceUser

Client = TestClient[web.Request, web.Application]

# Source: migration guide 2019-03, table 3.
COUNTS = {"IS": 64, "ES": 11, "GS": 57, "ED": 25, "GT": 17, "RSA": 12, "OU": 16}
_FIRST_USER = parse_eui64("90-B3-D5-1F-30-0A-00-00")
USERS = {
    role: ServiceUser(eui64=_FIRST_USER + number, name=role.value, roles=(role,))
    for number, role in enumerate(UserRole)
}
_AT = {
    DeviceType.ESME: ESME,
    DeviceType.GSME: ESME + 1,
    DeviceType.CHF: ESME + 2,
    DeviceType.GPF: ESME + 3,
    DeviceType.PPMID: ESME + 4,
}
_NEVER = ("E1", "E2", "E3", "E4", "E5", "E11", "E12", "E13", "E19")
_GAS_ROLES = (UserRole.GS, UserRole.GT)


def post(variant: ServiceVariant, role: UserRole, counter: int) -> tuple[bytes, str]:
    """The shortest request of a variant, to a device that this role has to do with, and its door."""
    originator = format_eui64(USERS[role].eui64)
    if variant.srv in BODIES:
        body, target = BODIES[variant.srv], "90-B3-D5-1F-30-00-00-02"
    else:
        plan = PLANS.get(variant.srv)
        devices = plan.devices if plan else frozenset(_AT)
        wanted = (DeviceType.GSME, DeviceType.GPF) if role in _GAS_ROLES else (DeviceType.ESME,)
        fitting = [device for device in (*wanted, *_AT) if device in devices]
        body, target = plan.body_name if plan else "Anything", format_eui64(_AT[fitting[0]])
    xml = request_xml(
        variant.srv,
        f"<sr:{body}/>",
        originator=originator,
        target=target,
        counter=counter,
        reference=variant.service_reference,
        cv=8 if variant.non_device else 1,
    )
    return xml, "serviceD" if variant.non_device else "serviceS"


async def code_over_http(client: Client, xml: bytes, path: str) -> tuple[str, str | None]:
    """Response code, and alert code where the answer is one."""
    headers = {"Content-Type": "application/xml"}
    async with client.post(f"/api/v1/{path}", data=xml, headers=headers) as answer:
        assert answer.status == 200
        response = etree.fromstring(await answer.read())
    return code_of(response), response.findtext(".//{*}DCCAlertCode")


async def test_eligible_roles_are_accepted_and_all_others_refused(make_rig: Any) -> None:
    """Each of the seven counts of the guide, by what the front door says to 903 requests."""
    rig: Rig = await make_rig(users=tuple(USERS.values()))
    rig.hub.is_silent = True
    accepted: Counter[str] = Counter()
    refused: Counter[tuple[str, str]] = Counter()
    counter = 0
    async with TestClient(TestServer(make_app(rig.head_end))) as client:
        for variant in CATALOGUE.values():
            for role in UserRole:
                counter += 1
                code, alert = await code_over_http(client, *post(variant, role, counter))
                where = (variant.srv, role, code, alert)
                if variant.smets1 is Smets1Support.AFTER_DUIS_3:
                    assert code == "E11", where
                elif variant.smets1 is Smets1Support.NO:
                    assert (code, alert) == (("I0", "N60") if variant.non_device else ("I99", None)), where
                elif role not in variant.roles:
                    assert code == "E2", where
                else:
                    assert code == "I99" if not variant.non_device else code not in _NEVER, where
                    accepted[role] += 1
                    continue
                refused[role, alert or code] += 1
        waiting = await code_of_alerts(rig)
    assert accepted == COUNTS
    for role, count in COUNTS.items():
        assert refused[role, "E2"] == 72 - count
        assert refused[role, "N60"] + refused[role, "I99"] == 51
        assert refused[role, "E11"] == 6
    assert waiting == {"N60": sum(refused[role, "I99"] for role in COUNTS)}, "I99 first, the alert after it"


async def code_of_alerts(rig: Rig) -> Counter[str]:
    """Of the final responses, which so far are alerts only: the hub is silent."""
    alerts: Counter[str] = Counter()
    for response in rig.head_end.responses(limit=2000):
        for element in etree.fromstring(response.xml).iter("{*}DCCAlertCode"):
            alerts[str(element.text)] += 1
    return alerts


async def test_a_critical_service_asks_for_the_role_at_both_doors(make_rig: Any) -> None:
    """Transform gives a Pre-Command to those only who may send it."""
    rig: Rig = await make_rig(users=tuple(USERS.values()))
    counter = 0
    async with TestClient(TestServer(make_app(rig.head_end))) as client:
        for variant in CATALOGUE.values():
            if not variant.critical or variant.smets1 is not Smets1Support.YES:
                continue
            for role in UserRole:
                counter += 1
                xml, _ = post(variant, role, counter)
                xml = xml.replace(b"<sr:CommandVariant>1<", b"<sr:CommandVariant>4<")
                code, _ = await code_over_http(client, xml, "serviceT")
                assert code == ("I0" if role in variant.roles else "E2"), (variant.srv, role)
    assert counter > 100
