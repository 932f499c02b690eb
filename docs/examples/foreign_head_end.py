"""A head end of your own: reads a meter's total register through its hub, by MQTT and CBOR.

Uses nothing of smets1, only aiomqtt and cbor2 and what docs/wan.md says.
Run a home with an MQTT broker, then:
    python foreign_head_end.py --hub 00-DB-12-34-56-78-90-A2 --meter 00-DB-12-34-56-78-90-A0
"""

import argparse
import asyncio
import time
import uuid

import aiomqtt
import cbor2

METERING, CURRENT_SUMMATION_DELIVERED = 0x0702, 0x0000
STATUS_NAMES = ["DONE", "REFUSED", "UNREACHABLE", "EXPIRED", "UNKNOWN_TARGET", "MALFORMED", "FAILED"]
# A ZCL frame: global, from the client; sequence 1; Read Attributes; one attribute id, little-endian.
READ_REGISTER = bytes([0x00, 0x01, 0x00]) + CURRENT_SUMMATION_DELIVERED.to_bytes(2, "little")


def octets(eui64: str) -> bytes:
    return bytes.fromhex(eui64.replace("-", ""))


async def read_register(host: str, port: int, hub: str, meter: str, *, lifetime_s: int = 600) -> int:
    """The meter's total import in its own units. Answers are repeated until receipted."""
    base, request_id = f"hub/{octets(hub).hex()}", str(uuid.uuid4())
    request = {
        "version": 1,
        "kind": "request",
        "request_id": request_id,
        "expires_utc_us": int((time.time() + lifetime_s) * 1_000_000),
        "target": octets(meter),
        "endpoint": 1,
        "cluster_id": METERING,
        "frame": READ_REGISTER,
    }
    async with aiomqtt.Client(host, port, identifier="foreign-head-end", clean_session=False) as client:
        await client.subscribe(f"{base}/response", qos=1)
        await client.publish(f"{base}/request", cbor2.dumps(request), qos=1)
        async for message in client.messages:
            response = cbor2.loads(message.payload)
            receipt = {"version": 1, "kind": "receipt", "ids": [response["request_id"]]}
            await client.publish(f"{base}/receipt", cbor2.dumps(receipt), qos=1)
            if response["request_id"] != request_id:
                continue  # an answer to an earlier run
            if response["status"] != 0:
                raise SystemExit(f"the hub says {STATUS_NAMES[response['status']]}")
            # ZCL Read Attributes Response: header (3), then id (2), status (1), type (1), value (uint48).
            record = response["frame"][3:]
            if record[2] != 0:
                raise SystemExit(f"the meter says ZCL status 0x{record[2]:02X}")
            return int.from_bytes(record[4:10], "little")
    raise SystemExit("the broker has gone")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--broker", default="127.0.0.1:1883")
    parser.add_argument("--hub", required=True)
    parser.add_argument("--meter", required=True)
    parser.add_argument(
        "--lifetime", type=int, default=600, help="seconds until the hub may refuse the request"
    )
    given = parser.parse_args()
    name, _, tcp_port = given.broker.rpartition(":")
    print(asyncio.run(read_register(name, int(tcp_port), given.hub, given.meter, lifetime_s=given.lifetime)))
