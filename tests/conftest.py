"""Fixtures that more than one folder of tests needs."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from alledge.synthetic import draw_field, write_dataset

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])  # no example is timed
settings.load_profile("busy")
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # started in the background of a shell; the processes that tests interrupt would inherit the deafness
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Tests never read or fill the cache of whoever runs them."""
    os.environ["XDG_CACHE_HOME"] = str(tmp_path_factory.mktemp("cache"))
    os.environ.pop("ALLEDGE_CACHE", None)


@pytest.fixture(scope="session")
def smears(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small synthetic data set: 12 fields per class with split.csv."""
    root = tmp_path_factory.mktemp("smears")
    write_dataset(root, 12, seed=5, size=224)
    return root


@pytest.fixture(scope="session")
def field() -> Any:
    """One synthetic field of a malignant class, rgb and true nuclei."""
    return draw_field("pre_b", seed=3)


@pytest.fixture(scope="session")
def alledge() -> Callable[..., subprocess.CompletedProcess[str]]:
    """The command line, as a user runs it: `alledge("segment", path, "--out", folder)`."""

    def call(*arguments: object, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        return subprocess.run([sys.executable, "-m", "alledge", *map(str, arguments)], capture_output=True, text=True,
                              check=False, timeout=600, env={**os.environ, **(env or {})})

    return call
