"""Results to a real Mosquitto that is away, comes, is killed and comes again."""

import json
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from threading import Event, Timer
from typing import Any

import pytest

from alledge.device.broker import _parts
from alledge.device.forwarding import deliver_waiting, forwarding, progress_of
from alledge.device.sink import open_sink
from alledge.errors import SinkError, UsageError
from alledge.verdict import Verdict

VERDICT = Verdict("benign", 0.9, {"benign": 0.9}, source="Jane Doe.png", note="Jane", sample="S-0001")


class Mosquitto:
    """The broker, which keeps its sessions on disk at once."""

    def __init__(self, folder: Path) -> None:
        with closing(socket.socket()) as free:
            free.bind(("127.0.0.1", 0))
            self.port = int(free.getsockname()[1])
        self._process: subprocess.Popen[bytes] | None = None
        self.settings = folder / "mosquitto.conf"
        self.settings.write_text(
            f"listener {self.port} 127.0.0.1\nallow_anonymous true\npersistence true\npersistence_location {folder}/\n"
            "autosave_on_changes true\nautosave_interval 1\nuser root\nmax_queued_messages 0\n")

    @property
    def url(self) -> str:
        return f"mqtt://127.0.0.1:{self.port}/alledge/scope-1"

    def start(self) -> None:
        self._process = subprocess.Popen([shutil.which("mosquitto") or "/usr/sbin/mosquitto", "-c", self.settings],
                                         stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    pytest.importorskip("paho.mqtt.client")
    if not (shutil.which("mosquitto") or Path("/usr/sbin/mosquitto").exists()):
        pytest.skip("there is no mosquitto here (apt install mosquitto)")
    made = Mosquitto(tmp_path)
    yield made
    made.kill()


@contextmanager
def receiver(port: int, subscribed: Event) -> Iterator[list[dict[str, Any]]]:
    """All messages that came, in order, those that came twice as well; its session outlives connections."""
    import paho.mqtt.client as mqtt

    came: list[dict[str, Any]] = []
    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, "receiver", clean_session=False)
    client.reconnect_delay_set(1, 1)
    client.on_connect = lambda c, *rest: c.subscribe("alledge/#", qos=1)
    client.on_subscribe = lambda *rest: subscribed.set()
    client.on_message = lambda c, data, message: came.append(json.loads(message.payload))
    client.connect_async("127.0.0.1", port)
    client.loop_start()
    yield came
    client.disconnect()
    client.loop_stop()


def wait_until(true: Callable[[], bool], seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not come to pass"
        time.sleep(0.02)


def test_an_offline_time_is_delivered_later_once_by_key_and_in_order(broker: Mosquitto, tmp_path: Path) -> None:
    path, subscribed = tmp_path / "results.db", Event()
    broker.start()
    with closing(open_sink("sqlite", path)) as sink, receiver(broker.port, subscribed) as came:
        subscribed.wait(20)  # what nobody asked for, a broker drops
        time.sleep(0.5)  # it keeps the subscription on disk only after it has said yes
        broker.kill()
        kept = [sink.write(VERDICT) for _ in range(20)]  # nobody is there
        with forwarding(path, broker.url):
            with pytest.raises(SinkError, match="another process delivers"), forwarding(path, broker.url):
                pass
            broker.start()
            wait_until(lambda: len({row["key"] for row in came}) == 20)
            broker.kill()
            kept += [sink.write(VERDICT) for _ in range(20)]
            broker.start()
            wait_until(lambda: len({row["key"] for row in came}) == 40)
            wait_until(lambda: progress_of(path).sequence == 40)
        kept.append(sink.write(replace(VERDICT, sample="S-0002")))
        assert deliver_waiting(path, broker.url, Event()) == 1  # and not one of the 40 again
        wait_until(lambda: came[-1]["sample"] == "S-0002")
        assert deliver_waiting(path, broker.url, Event(), again=40) == 2
    first = list(dict.fromkeys(row["key"] for row in came))
    assert first == [row.hash for row in kept]
    assert not any("Jane" in json.dumps(row) for row in came)


def test_a_new_database_in_the_old_ones_place_begins_at_its_beginning(broker: Mosquitto, tmp_path: Path) -> None:
    path = tmp_path / "results.db"
    broker.start()
    for count in (3, 2):
        with closing(open_sink("sqlite", path)) as sink:
            for _ in range(count):
                sink.write(VERDICT)
        assert deliver_waiting(path, broker.url, Event()) == count
        path.unlink()


def test_a_broker_that_refuses_says_why(broker: Mosquitto, tmp_path: Path) -> None:
    path, access = tmp_path / "results.db", tmp_path / "access"
    access.write_text("topic write allowed/#\n")
    access.chmod(0o600)
    broker.settings.write_text(f"{broker.settings.read_text()}acl_file {access}\n")
    with closing(open_sink("sqlite", path)) as sink:
        sink.write(VERDICT)
    told: list[str] = []
    stop = Event()
    Timer(1, broker.start).start()
    with pytest.raises(SinkError, match="refuses results on topic 'alledge/scope-1'"):
        deliver_waiting(path, broker.url, stop, tell=told.append)
    assert told == [f"mqtt://127.0.0.1:{broker.port}: not reached (Connection refused); results wait, trying on"]
    assert progress_of(path).sequence == 0
    assert deliver_waiting(path, broker.url.replace("alledge", "allowed"), stop) == 1
    broker.kill()
    broker.settings.write_text(broker.settings.read_text().replace("anonymous true", "anonymous false"))
    broker.start()
    with pytest.raises(SinkError, match=r"refuses this device \(Not authorized\)"):
        deliver_waiting(path, broker.url, stop, again=1)


@pytest.mark.parametrize("url", ["http://host/topic", "mqtt:///topic", "mqtt://host/a/#", "mqtt://host:port/a",
                                 "mqtt://me:secret@host/+"])
def test_what_is_no_broker_is_refused_without_its_password(url: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="expected a broker as mqtt://host/topic") as refusal:
        _parts(url)
    assert "secret" not in str(refusal.value)


def test_parts_of_a_url() -> None:
    assert _parts("mqtt://host") == ("host", 1883, "alledge/results", "", "", False)
    assert _parts("mqtts://me:s%40@host/a/b") == ("host", 8883, "a/b", "me", "s@", True)
