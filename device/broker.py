"""An MQTT 5 broker as something that takes one message after another, goes away, or refuses."""

import uuid
from collections.abc import Callable
from threading import Condition, Event
from typing import Any
from urllib.parse import unquote, urlsplit

from alledge.errors import BackendMissing, SinkError, UsageError

TOPIC = "alledge/results"  # where results go when the URL names no topic
_BEAT_S = 0.5  # how soon a wait notices that it is to end
_LEAST_PAUSE_S, _MOST_PAUSE_S = 0.5, 10.0  # between two attempts to connect
_ANSWER_S = 10.0  # a broker that takes longer to answer is not there


class ConnectionLost(Exception):
    """Raised when the broker went away before it answered. What it took shortly before it may have forgotten."""


class Broker:
    """An MQTT 5 broker. Each connection is a new one: nothing is sent again behind the caller's back.

    Args:
        url: as `mqtt://user:password@host:1883/topic`; `mqtts` for TLS, port 8883.
        tell: called once for each time that it cannot be reached, with why.

    Raises:
        UsageError: for a URL that is none.
        BackendMissing: without paho-mqtt.
    """

    def __init__(self, url: str, tell: Callable[[str], None] = lambda sentence: None) -> None:
        self._tell, self._trouble = tell, ""
        self._host, self._port, self._topic, self._user, self._password, self._secure = _parts(url)
        self._mqtt = _library()
        self._client: Any = None
        self._up: bool | None = None  # None while it is not known yet
        self._refusal = ""
        self._answered: dict[int, bool] = {}
        self._changed = Condition()

    def connect(self, stop: Event) -> bool:
        """Wait until there is a connection, for days if need be; False when `stop` was set before.

        Raises:
            SinkError: when the broker refuses this device.
        """
        pause, told = _LEAST_PAUSE_S, False
        while not self._up:
            if stop.is_set():
                return False
            if self._try():
                break
            if self._refusal:
                raise SinkError(f"mqtt://{self._host}:{self._port}: the broker refuses this device "
                                f"({self._refusal}); check user and password of [results] mqtt")
            if not told:
                self._tell(f"mqtt://{self._host}:{self._port}: not reached ({self._trouble}); results wait, trying on")
            told = True
            stop.wait(pause)
            pause = min(2 * pause, _MOST_PAUSE_S)
        return True

    def send(self, message: bytes, stop: Event) -> bool:
        """Send, and wait until the broker has it; False when `stop` was set before.

        Raises:
            ConnectionLost: when the connection ends before it has.
            SinkError: when the broker refuses it.
        """
        number = self._client.publish(self._topic, message, qos=1).mid
        with self._changed:
            while number not in self._answered:
                if not self._up:
                    raise ConnectionLost
                if stop.is_set():
                    return False
                self._changed.wait(_BEAT_S)
            taken = self._answered.pop(number)
        if not taken:
            raise SinkError(f"mqtt://{self._host}:{self._port}: the broker refuses results on topic {self._topic!r}; "
                            "allow this device to publish there")
        return True

    def close(self) -> None:
        """End the connection."""
        if self._client is not None:
            self._client.disconnect()
            self._client.loop_stop()
            self._client = None

    def _try(self) -> bool:
        self.close()
        client = self._client = self._mqtt.Client(
            self._mqtt.CallbackAPIVersion.VERSION2, f"alledge-{uuid.uuid4().hex[:12]}", protocol=self._mqtt.MQTTv5,
            reconnect_on_failure=False)
        if self._user:
            client.username_pw_set(self._user, self._password)
        if self._secure:
            client.tls_set()
        client.on_connect = lambda c, data, flags, reason, about: self._on_state(not reason.is_failure, str(reason))
        client.on_disconnect = lambda c, data, flags, reason, about: self._on_state(False, "")
        client.on_publish = self._on_publish
        self._up, self._refusal, self._answered = None, "", {}
        try:
            client.connect(self._host, self._port)
        except OSError as error:  # nobody there, or not yet
            self._trouble = error.strerror or str(error)
            return False
        self._trouble = "no answer"
        client.loop_start()
        with self._changed:
            self._changed.wait_for(lambda: self._up is not None, _ANSWER_S)
            return bool(self._up)

    def _on_state(self, up: bool, reason: str) -> None:
        with self._changed:
            self._up = up
            self._refusal = self._refusal or ("" if up else reason)
            self._changed.notify()

    def _on_publish(self, client: Any, data: Any, number: int, reason: Any, about: Any) -> None:
        with self._changed:
            self._answered[number] = not reason.is_failure
            self._changed.notify()


def _library() -> Any:
    try:
        import paho.mqtt.client
    except ImportError as error:
        raise BackendMissing("MQTT needs paho-mqtt: pip install 'alledge[mqtt]'") from error
    return paho.mqtt.client


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
