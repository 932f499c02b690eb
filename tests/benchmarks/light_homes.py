"""A thousand hubs as light as can be, in one process and on one MQTT connection: `light_homes.py BROKER_PORT`.

Each request gets at once the answer that a meter's balance would give, by the rules of docs/wan.md but with
no memory: what is measured is the head end.
"""

from __future__ import annotations

import asyncio
import socket
import sys

import aiomqtt
import cbor2

from smets1.firmware.zcl.clusters.prepayment import PREPAYMENT
from smets1.firmware.zcl.frame import general_frame
from smets1.firmware.zcl.general import ReadAttributesResponse, ReadRecord
from smets1.firmware.zcl.status import Side

_BALANCE = PREPAYMENT.attribute("credit_remaining")
ANSWER = general_frame(
    ReadAttributesResponse((ReadRecord(_BALANCE.attribute_id, 0, _BALANCE.type.type_id, 1_250_000),)),
    sender=Side.SERVER,
)
NO_DELAY = ((socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),)


async def main(port: int) -> None:
    client = aiomqtt.Client("127.0.0.1", port, identifier="light", socket_options=NO_DELAY, timeout=60)
    async with client, asyncio.TaskGroup() as group:
        client.pending_calls_threshold = 10_000
        await client.subscribe("hub/+/request", qos=1)
        print("ready", flush=True)
        async for message in client.messages:
            assert isinstance(message.payload, bytes)
            request = cbor2.loads(message.payload)
            answer = {
                "version": 1, "kind": "response", "request_id": request["request_id"], "status": 0,
                "frame": ANSWER, "device_utc_us": None, "from_gsme": False,
            }  # fmt: skip
            topic = message.topic.value.replace("/request", "/response")
            group.create_task(client.publish(topic, cbor2.dumps(answer), qos=1))


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
