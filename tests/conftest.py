"""Fixtures that more than one folder of tests needs."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from alledge.synthetic import draw_field, write_dataset

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


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


def one_document(done: subprocess.CompletedProcess[str]) -> Any:
    """The single JSON document on stdout of a command that succeeded."""
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 1
    return json.loads(done.stdout)
