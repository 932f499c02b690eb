"""The embedded broker's life; its traffic is tested in tests/firmware/wan/test_mqtt.py."""

from __future__ import annotations

import socket

import pytest

from smets1.errors import InputError, MisuseError
from smets1.tools.broker import EmbeddedBroker, free_port

pytest.importorskip("amqtt")


def test_start_twice_and_close_twice() -> None:
    broker = EmbeddedBroker()
    broker.start()
    socket.create_connection(("127.0.0.1", broker.port), 5).close()
    with pytest.raises(MisuseError):
        broker.start()
    broker.close()
    broker.close()
    with pytest.raises(OSError):
        socket.create_connection(("127.0.0.1", broker.port), 5)


def test_port_in_use() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(InputError, match=f"cannot use 127.0.0.1:{port}: .*another port"):
            EmbeddedBroker(port=port).start()


def test_chosen_port() -> None:
    port = free_port()
    with EmbeddedBroker(port=port) as broker:
        assert broker.url == f"mqtt://127.0.0.1:{port}"
