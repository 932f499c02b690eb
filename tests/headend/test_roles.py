"""Who may ask for what: each of the 129 variants posted once in each of the seven roles."""

from __future__ import annotations

from collections import Counter
from typing import Any

from tests.headend.conftest import ESME, Rig, code_of, request_xml

from smets1.eui64 import format_eui64, parse_eui64
from smets1.headend.catalogue import CATALOGUE, ServiceVariant, Smets1Support
from smets1.headend.duis.codes import DeviceType, UserRole
from smets1.headend.non_device import BODIES
from smets1.headend.srv import PLANS
from smets1.headend.users import ServiceUser

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


async def test_eligible_roles_are_accepted_and_all_others_refused(make_rig: Any) -> None:
    rig: Rig = await make_rig(users=tuple(USERS.values()))
    rig.hub.is_silent = True
    accepted: Counter[str] = Counter()
    missing: Counter[str] = Counter()
    counter = 0
    for variant in CATALOGUE.values():
        is_built = variant.srv in PLANS or variant.srv in BODIES
        for role in UserRole:
            counter += 1
            xml, path = post(variant, role, counter)
            response = await rig.ask(xml, path, wait_s=None)
            code = code_of(response)
            alert = next((e.text for e in response.iter("{*}DCCAlertCode")), None)
            where = (variant.srv, role, code, alert)
            if variant.smets1 is Smets1Support.AFTER_DUIS_3:
                assert code == "E11", where
            elif variant.smets1 is Smets1Support.NO or not is_built:
                assert (code, alert) == (("I0", "N60") if variant.non_device else ("I99", None)), where
                missing[role] += variant.smets1 is Smets1Support.YES and role in variant.roles
            elif role not in variant.roles:
                assert code == "E2", where
            else:
                assert code == "I99" if not variant.non_device else code != "E2", where
                accepted[role] += 1
    assert {role: accepted[role] + missing[role] for role in COUNTS} == COUNTS
    assert sum(accepted.values()) == sum(COUNTS.values()) - sum(missing.values())
