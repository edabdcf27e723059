"""`alledge keys` as a user meets it, and the files it will not take."""

import json
import subprocess
import sys

import pytest
from cryptography.hazmat.primitives import serialization as form
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from alledge.errors import UsageError
from alledge.signing import load_key, new_key, verifies


def alledge(*arguments):
    return subprocess.run([sys.executable, "-m", "alledge", *map(str, arguments)], capture_output=True, text=True,
                          check=False)


def pem(private, password=None):
    locked = form.NoEncryption() if password is None else form.BestAvailableEncryption(password)
    return private.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, locked)


def test_a_new_key_is_the_owners_alone_and_never_overwritten(tmp_path):
    path = tmp_path / "deep" / "lab.pem"
    made = json.loads(alledge("keys", "new", path, "--json").stdout)
    assert path.stat().st_mode & 0o777 == 0o600
    before = path.read_bytes()
    again = alledge("keys", "new", path)
    assert (again.returncode, "never overwritten" in again.stderr) == (2, True)
    assert path.read_bytes() == before
    shown = alledge("keys", "show", path)
    assert made["id"] in shown.stdout
    assert f'trusted_keys = ["{made["public_key"]}"]' in shown.stdout
    assert not shown.stderr


def test_a_key_that_others_can_read_is_shown_with_a_warning(tmp_path):
    new_key(tmp_path / "lab.pem")
    (tmp_path / "lab.pem").chmod(0o644)
    done = alledge("keys", "show", tmp_path / "lab.pem")
    assert done.returncode == 0
    assert "chmod 600" in done.stderr


def test_two_keys_differ_and_each_verifies_only_its_own(tmp_path):
    one, two = new_key(tmp_path / "a"), new_key(tmp_path / "b")
    assert one.public != two.public
    assert verifies(one.public, one.sign(b"text"), b"text")
    assert not verifies(two.public, one.sign(b"text"), b"text")
    assert not verifies(one.public, one.sign(b"text"), b"test")


@pytest.mark.parametrize(("content", "says"), [
    (None, "cannot read it"),
    (b"", "received something else"),
    (b"not a key", "received something else"),
    (ed25519.Ed25519PrivateKey.generate().public_key().public_bytes(form.Encoding.PEM,
                                                                    form.PublicFormat.SubjectPublicKeyInfo),
     "expected a private key"),
    (pem(ec.generate_private_key(ec.SECP256R1())), "expected an Ed25519 key"),
    (pem(ed25519.Ed25519PrivateKey.generate(), b"secret"), "encrypted"),
])
def test_what_is_no_signing_key_is_refused_in_one_sentence(tmp_path, content, says):
    path = tmp_path / "key.pem"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UsageError, match=says) as caught:
        load_key(path)
    assert "\n" not in str(caught.value)
