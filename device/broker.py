"""An MQTT 5 broker as something that takes one message after another, or refuses."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Condition, Event
from typing import Any
from urllib.parse import unquote, urlsplit

from alledge.errors import BackendMissing, SinkError, UsageError

TOPIC = "alledge/results"  # where results go when the URL names no topic
_BEAT_S = 0.5  # how soon a wait notices that it is to end
_RECONNECT_S = (1, 10)  # least and most seconds between two attempts


class Broker:
    """A connection that comes back by itself. paho sends again what was not acknowledged before it broke."""

    def __init__(self, client: Any, topic: str, name: str) -> None:
        self._client, self._topic, self._name = client, topic, name
        self._answered: dict[int, bool] = {}
        self._changed = Condition()
        client.on_publish = self._on_publish

    def send(self, message: bytes, stop: Event) -> bool:
        """Send, and wait until the broker has it, for days if need be; False when `stop` was set before.

        Raises:
            SinkError: when the broker refuses it.
        """
        number = self._client.publish(self._topic, message, qos=1).mid
        with self._changed:
            while number not in self._answered:
                if stop.is_set():
                    return False
                self._changed.wait(_BEAT_S)
            taken = self._answered.pop(number)
        if not taken:
            raise SinkError(f"{self._name}: the broker refuses results on topic {self._topic!r}; allow this device to "
                            "publish there")
        return True

    def _on_publish(self, client: Any, data: Any, number: int, reason: Any, properties: Any) -> None:
        with self._changed:
            self._answered[number] = not reason.is_failure
            self._changed.notify()


@contextmanager
def open_broker(url: str) -> Iterator[Broker]:
    """Begin to connect to `mqtt://user:password@host:1883/topic` (`mqtts` for TLS, port 8883).

    Raises:
        UsageError: for a URL that is none.
        BackendMissing: without paho-mqtt.
    """
    try:
        import paho.mqtt.client as mqtt
    except ImportError as error:
        raise BackendMissing("MQTT needs paho-mqtt: pip install 'alledge[mqtt]'") from error
    host, port, topic, user, password, secure = _parts(url)
    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, f"alledge-{uuid.uuid4().hex[:12]}", protocol=mqtt.MQTTv5)
    client.reconnect_delay_set(*_RECONNECT_S)
    if user:
        client.username_pw_set(user, password)
    if secure:
        client.tls_set()
    client.connect_async(host, port)
    client.loop_start()
    try:
        yield Broker(client, topic, f"mqtt://{host}:{port}")
    finally:
        client.disconnect()
        client.loop_stop()


def _parts(url: str) -> tuple[str, int, str, str, str, bool]:
    """Host, port, topic, user, password, and whether to use TLS."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        host, port, parts = "", None, urlsplit("")
    topic = unquote(parts.path).strip("/") or TOPIC
    if parts.scheme not in ("mqtt", "mqtts") or not host or "+" in topic or "\0" in topic or {*"?#"} & {*url}:
        shown = url.rpartition("@")[2]  # not the password
        raise UsageError(f"expected a broker as mqtt://host/topic or mqtts://host:8883/topic, received {shown!r}")
    secure = parts.scheme == "mqtts"
    return (host, port or (8883 if secure else 1883), topic, unquote(parts.username or ""),
            unquote(parts.password or ""), secure)
