"""Are all results delivered while the broker is killed and started again at random?

    python benchmarks/store_mqtt.py [--results 10000] [--seed 0]

A real Mosquitto (Debian: apt install mosquitto) that keeps its sessions on disk at once, killed with SIGKILL after 0.2
to 2 s and started again after 0 to 1 s, for as long as results are delivered. The receiver's session outlives its
connections; it notes every message that comes, those that come twice as well. All results are in the database before
the first is delivered, as after an offline week. Once in between, the forwarding process itself is killed as well.

Prints one JSON document. Exit code 1 when a receiver that keeps each key once has not exactly all results in order.
"""

import argparse
import json
import os
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path
from threading import Event, Thread
from typing import Any

import paho.mqtt.client as mqtt

from alledge.device.sink.sqlite import SqliteSink
from alledge.verdict import Verdict

PATIENCE_S = 20  # after the last was sent; the broker is still killed again and again


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    chance, begin = random.Random(options.seed), time.monotonic()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with closing(SqliteSink(folder / "results.db")) as sink:
            futures = [sink.submit(Verdict("benign", 0.9, {"benign": 0.9}, source=f"{n}.png"))
                       for n in range(options.results)]
            keys = [future.result().hash for future in futures]
        came, kills = delivered(folder, keys, chance)
    first = list(dict.fromkeys(came))
    found = {"results": len(keys), "messages": len(came), "broker_kills": kills, "forwarder_kills": 1,
             "missing": len(set(keys) - set(came)), "strange": len(set(came) - set(keys)),
             "again_under_their_key": len(came) - len(first), "each_key_kept_once_is_all_in_order": first == keys,
             "seconds": round(time.monotonic() - begin), "load": round(os.getloadavg()[0], 1)}
    print(json.dumps(found))
    return int(bool(found["missing"] or found["strange"] or first != keys))


def delivered(folder: Path, keys: list[str], chance: random.Random) -> tuple[list[str], int]:
    """All messages that came, in their order, and how often the broker was killed."""
    with closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    settings = folder / "mosquitto.conf"
    settings.write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\npersistence true\nautosave_interval 1\n"
                        f"persistence_location {folder}/\nautosave_on_changes true\nuser root\nmax_queued_messages 0\n")
    came: list[str] = []
    subscribed, stop, kills = Event(), Event(), [0]
    receiver = receive(port, came, subscribed)
    trouble = Thread(target=kill_again_and_again, args=(settings, chance, stop, kills))
    trouble.start()
    subscribed.wait()  # what nobody asked for, a broker drops
    forwarder = forward(folder / "results.db", port)
    while len(set(came)) < len(keys) // 2:
        time.sleep(0.05)
    forwarder.kill()
    forwarder.wait()
    forward(folder / "results.db", port).wait()
    end = time.monotonic() + PATIENCE_S
    while len(set(came)) < len(keys) and time.monotonic() < end:
        time.sleep(0.05)
    stop.set()
    trouble.join()
    receiver.loop_stop()
    return came, kills[0]


def receive(port: int, came: list[str], subscribed: Event) -> Any:
    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, "receiver", clean_session=False)
    client.reconnect_delay_set(1, 1)
    client.on_connect = lambda c, *rest: c.subscribe("alledge/#", qos=1)
    client.on_subscribe = lambda *rest: subscribed.set()
    client.on_message = lambda c, data, message: came.append(json.loads(message.payload)["key"])
    client.connect_async("127.0.0.1", port)
    client.loop_start()
    return client


def kill_again_and_again(settings: Path, chance: random.Random, stop: Event, kills: list[int]) -> None:
    program = shutil.which("mosquitto") or "/usr/sbin/mosquitto"
    while not stop.is_set():
        broker = subprocess.Popen([program, "-c", settings], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(chance.uniform(0.2, 2))
        broker.kill()
        broker.wait()
        kills[0] += 1
        time.sleep(chance.uniform(0, 1))


def forward(database: Path, port: int) -> "subprocess.Popen[bytes]":
    """Deliver what waits, as a user does."""
    return subprocess.Popen([sys.executable, "-m", "alledge", "results", "forward", "--results", database, "--to",
                             f"mqtt://127.0.0.1:{port}/alledge/scope-1"], stdout=sys.stderr)


if __name__ == "__main__":
    raise SystemExit(main())
