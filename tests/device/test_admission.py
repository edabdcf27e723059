"""Which bundles a device takes: through every command that would load a model, before it does."""

import json
import subprocess
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from alledge.bundle import Bundle, write_bundle
from alledge.signing import SigningKey, new_key

Cli = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> SigningKey:
    return new_key(tmp_path_factory.mktemp("keys") / "lab.pem")


@pytest.fixture
def trusting(tmp_path: Path, key: SigningKey) -> Path:
    """The configuration of a device that trusts `key`."""
    path = tmp_path / "device.toml"
    path.write_text(f'[bundle]\ntrusted_keys = ["{key.public}"]\n')
    return path


def again(bundle: Bundle, path: Path, key: SigningKey | None = None, **changes: Any) -> Bundle:
    """The same bundle, signed or with other terms."""
    members = {m.name: bundle.read(m.name) for m in bundle.manifest.members}
    return write_bundle(path, bundle.manifest.model_copy(update=changes), members, key)


@pytest.mark.parametrize("command", ["run", "bench", "doctor"])
def test_a_device_that_trusts_a_key_refuses_what_it_did_not_sign(alledge: Cli, onnx_bundle: Bundle, trusting: Path,
                                                                 command: str) -> None:
    camera = ("--camera", "synthetic://") if command == "run" else ()
    done = alledge(command, onnx_bundle.path, "--config", trusting, *camera)
    assert done.returncode == (1 if command == "doctor" else 5)
    assert "is unsigned, but only bundles signed by" in done.stdout + done.stderr


def test_a_bundle_signed_by_a_trusted_key_runs(alledge: Cli, onnx_bundle: Bundle, trusting: Path, tmp_path: Path,
                                               key: SigningKey) -> None:
    signed = again(onnx_bundle, tmp_path / "s.alledge", key)
    done = alledge("run", signed.path, "--config", trusting, "--camera", "synthetic://?size=96", "--frames", 1,
                   "--results", tmp_path / "r.db")
    assert done.returncode == 0, done.stderr


def test_an_expired_bundle_does_not_run_and_can_still_be_looked_at(alledge: Cli, onnx_bundle: Bundle,
                                                                   tmp_path: Path) -> None:
    old = again(onnx_bundle, tmp_path / "old.alledge", expires=date(2020, 1, 31), release=3)
    done = alledge("run", old.path, "--camera", "synthetic://?size=96")
    assert (done.returncode, "expired on 2020-01-31" in done.stderr) == (5, True)
    assert "release 3, expired on 2020-01-31" in alledge("inspect", old.path).stdout


def test_inspect_says_in_words_who_signed(alledge: Cli, onnx_bundle: Bundle, trusting: Path, tmp_path: Path,
                                          key: SigningKey) -> None:
    signed = again(onnx_bundle, tmp_path / "s.alledge", key)
    said = [json.loads(alledge("inspect", path, *more, "--json").stdout)["signature_state"] for path, *more in
            ([onnx_bundle.path], [signed.path], [signed.path, "--config", trusting])]
    assert said[0] == "unsigned"
    assert said[1].startswith("signed by an unknown key")
    assert said[2].startswith("signed by a trusted key")


def test_a_key_that_is_none_is_a_fault_of_the_configuration(alledge: Cli, onnx_bundle: Bundle, tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text('[bundle]\ntrusted_keys = ["lab.pem"]\n')
    done = alledge("inspect", onnx_bundle.path, "--config", tmp_path / "c.toml")
    assert done.returncode == 2
    assert "bundle.trusted_keys: expected 64 hex digits" in done.stderr


def test_a_bundle_that_did_not_meet_its_gate_says_so_everywhere(alledge: Cli, onnx_bundle: Bundle,
                                                                tmp_path: Path) -> None:
    metrics = {"allow_drop": True, "gates": {"agreement": {"passed": False, "measured": 0.9}}}
    dropped = again(onnx_bundle, tmp_path / "d.alledge", metrics=metrics)
    asked = ("run", dropped.path, "--camera", "synthetic://?size=96", "--frames", 1, "--results", tmp_path / "r.db")
    assert "GATE NOT MET" in alledge(*asked).stdout
    assert json.loads(alledge(*asked, "--json").stdout)["caveat"] == "GATE NOT MET"
    assert "GATE NOT MET" in alledge("results", "list", "--results", tmp_path / "r.db").stdout
    assert "GATE NOT MET: agreement; accepted with --allow-drop" in alledge("inspect", dropped.path).stdout
    assert "GATE NOT MET" in alledge("doctor", dropped.path).stdout
