"""Is a damaged configuration refused in one sentence, whatever the damage? What is still sound is opened.

    python benchmarks/fuzz_config.py [--files 5000] [--seed 0]

A configuration that uses every section is damaged at random: bytes flipped, pieces cut out, doubled, put in or cut off,
and in half of the files values replaced by odd ones. `alledge daemon` reads it as at its start; where it finds no
fault, everything is opened and closed again. Anything but one line for each fault, and one line when opening fails,
counts as a traceback.

Prints one JSON document. Exit code 1 when there was a traceback.
"""

import argparse
import json
import os
import random
import sys
import tempfile
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from alledge.config import draft_config  # noqa: E402
from alledge.device.conflicts import faults_of  # noqa: E402
from alledge.device.station import open_station  # noqa: E402
from alledge.errors import AlledgeError  # noqa: E402
from tests.device.conftest import make_bundle, onnx_model  # noqa: E402

LONGEST = 10_000  # characters: a path of thousands is quoted as it is
SOUND = """[camera]
uri = "synthetic://?seed=1&size=64"
[bundle]
path = "small.alledge"
trusted_keys = []
[engine]
name = "onnx"
threads = 2
[display]
name = "png"
rate = 5.0
options = {path = "screens", size = "240x240"}
[trigger]
name = "interval"
options = {seconds = 1.5}
[sample]
id = "S-0001"
least = 5
[results]
database = "results.db"
jsonl = "results.jsonl"
archive = "captures"
quota = 100
floor = 0
note = "May-Grünwald"
"""
ODD = ['"', "'", "[", "]", "{", "}", "=", "\n", '"\\u0000"', "1e999", "nan", "-inf", "-1", "9" * 30, "9" * 5000, "true",
       "[" * 3000, "...", "\0", "1979-05-27", "[led]\npin = 4\n", "''", '"""', "#", "\r", "0x", "\\", "[results]", "é",
       '"/dev/null"', '"/proc/1/mem"', '"' + "x" * 300 + '"', "[camera.uri]", '""', '"."', "0", "1", "2.5", '"x"',
       '"a/b"']


def damaged(chance: random.Random) -> bytes:
    """A few damages, one after the other."""
    data = bytearray(SOUND.encode())
    values = chance.random() < 0.5
    for _ in range(chance.choice((1, 1, 2, 3, 8))):
        data = data or bytearray(b"x")
        at, kind = chance.randrange(len(data)), 5 if values else chance.randrange(5)
        if kind == 0:
            data[at] = chance.randrange(256)
        elif kind == 1:
            del data[at:at + chance.randrange(1, 40)]
        elif kind == 2:
            data[at:at] = chance.choice(ODD).encode()
        elif kind == 3:
            other = chance.randrange(len(data))
            data[at:at] = data[other:other + 30]
        elif kind == 4:
            del data[at:]
        else:
            start = data.find(b"=", at)
            end = data.find(b"\n", start)
            if 0 <= start < end:
                data[start:end] = b"= " + chance.choice(ODD).encode()
    return bytes(data)


def came_to(path: Path) -> str:
    """What a daemon would do with it: "refused", "cannot be opened", "opened", or the traceback."""
    try:
        config = draft_config(path)
        said = faults_of(config)
        if not said:
            with open_station(config, patient=True, tell=lambda sentence: None):
                return "opened"
        outcome = "refused"
    except AlledgeError as error:
        said, outcome = [str(error)], "cannot be opened"
    except Exception as error:
        return f"traceback: {type(error).__name__}: {error}"[:200]
    wrong = [text for text in said if "\n" in text or not 0 < len(text) <= LONGEST]
    return f"no sentence: {wrong[0]!r}"[:200] if wrong else outcome


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    chance, found = random.Random(options.seed), Counter[str]()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        make_bundle(Path("small.alledge"), onnx_model())
        Path("scope.toml").write_text(SOUND)
        if (sound := came_to(Path("scope.toml"))) != "opened":
            raise SystemExit(f"the undamaged one: {sound}")
        for _ in range(options.files):
            Path("scope.toml").write_bytes(damaged(chance))
            found[came_to(Path("scope.toml"))] += 1
        os.chdir("/")
    print(json.dumps(found))
    return int(bool(set(found) - {"refused", "cannot be opened", "opened"}))


if __name__ == "__main__":
    raise SystemExit(main())
