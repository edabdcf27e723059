"""Makes this machine the device that this file was packed for. RESEARCH USE ONLY.

    sudo python3 FILE install [--dry-run] [--root DIR]
    sudo python3 FILE uninstall [--dry-run] [--root DIR]

No network is used. `alledge device pack` puts this text into a pack as its __main__.py; a Jetson Nano's Python 3.6 runs
it, so it is in that Python's words.
"""

import json
import os
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from typing import List, Optional

OLDEST = (3, 10)


def main(arguments: List[str]) -> int:
    """Unpack alledge's own code into a folder that is gone afterwards, and have it do the work."""
    pack = os.path.abspath(os.path.dirname(__file__))
    if not arguments or arguments[0] not in ("install", "uninstall"):
        sys.stderr.write(__doc__)
        return 0 if arguments in (["-h"], ["--help"]) else 2
    with tempfile.TemporaryDirectory(prefix="alledge-") as work, zipfile.ZipFile(pack) as file:
        about = json.loads(file.read("pack.json").decode("utf-8"))
        python = find_python(file, about["python"], work)
        if not python:
            sys.stderr.write("error: expected Python %d.%d or newer, this is %d.%d; make the pack with "
                             "--python-archive\n" % (OLDEST + tuple(sys.version_info[:2])))
            return 4
        with zipfile.ZipFile(file.extract(about["alledge_wheel"], work)) as wheel:
            wheel.extractall(os.path.join(work, "code"))
        environment = dict(os.environ, PYTHONPATH=os.path.join(work, "code"), PYTHONDONTWRITEBYTECODE="1")
        return subprocess.call([python, "-m", "alledge.device.provision", pack] + arguments, env=environment)


def find_python(file: zipfile.ZipFile, archive: str, work: str) -> Optional[str]:
    """This Python, or where it is too old the one that the pack brings; None when it brings none."""
    if sys.version_info >= OLDEST:
        return sys.executable
    if not archive:
        return None
    with tarfile.open(file.extract(archive, work)) as unpacked:
        unpacked.extractall(work)
    return os.path.join(work, "python", "bin", "python3")


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except (zipfile.BadZipFile, tarfile.TarError, KeyError, ValueError, EOFError) as fault:
        sys.exit("error: this pack is damaged (%s): copy it again" % fault)
    except KeyboardInterrupt:
        sys.exit(130)
