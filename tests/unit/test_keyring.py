"""The file of keys: what it may say, who may read it, and that no error shows a key."""

import os
from pathlib import Path

import pytest

from chrysalis_memory.errors import InvalidValue
from chrysalis_memory.replication.signing import new_secret
from chrysalis_memory.servers.keyring import Keyring

ONE, OTHER = new_secret(), new_secret()


def written(folder: Path, text: str, mode: int = 0o600) -> Path:
    path = folder / "keys.toml"
    path.write_text(text)
    path.chmod(mode)
    return path


def test_each_peer_has_its_key_and_its_rights(tmp_path: Path):
    keys = Keyring.read(
        written(
            tmp_path,
            f'[ada]\nkey = "{ONE}"\n\n[hub]\nkey = "{OTHER}"\nrelays = true\n'
            'importance_max = 0.8\naccess_max = 1000\nreplicas = ["r1"]\n',
        )
    )
    ada, hub = keys.get("ada"), keys.get("hub")

    assert ada is not None
    assert hub is not None
    assert (list(keys.names), keys.get("eve")) == (["ada", "hub"], None)
    assert (ada.rights.relays, ada.rights.importance_max) == (False, 1.0)
    assert (hub.rights.relays, hub.rights.importance_max, hub.rights.access_max) == (
        True, 0.8, 1000,
    )  # fmt: skip
    assert ada.rights.owners == hub.rights.owners == {"r1": "hub"}


@pytest.mark.skipif(os.name != "posix", reason="Windows has no modes of files")
@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o660, 0o620, 0o610])
def test_a_file_that_others_may_read_or_write_is_refused(tmp_path: Path, mode: int):
    path = written(tmp_path, f'[ada]\nkey = "{ONE}"\n', mode)
    with pytest.raises(InvalidValue) as refusal:
        Keyring.read(path)

    assert str(refusal.value) == (
        f"{path} holds keys and other users may read or write it (mode {mode:o}); "
        f"run: chmod 600 {path}"
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "there is no key of any peer"),
        (f'key = "{ONE}"', "key stands outside a table"),
        (f'[ada]\nkey = "{ONE}"\nrelay = true', r"\[ada\] relay: "),
        ("[ada]\nrelays = true", r"\[ada\] key: "),
        (f'[ada]\nkey = "{ONE[:40]}"', "at least 32 random bytes"),
        (f'[ada]\nkey = ["{ONE}"]', r"\[ada\] key: "),
        (f'[ada]\nkey = "{ONE}"\nimportance_max = 2', r"\[ada\] importance_max: "),
        (f'[ada]\nkey = "{ONE}"\naccess_max = -1', r"\[ada\] access_max: "),
        (f'[ada]\nkey = "{ONE}"\n[bob]\nkey = "{ONE}"', "'ada' and 'bob' share a key"),
        (f'[ada]\nkey = "{ONE}"\n[bob]\nkey = "{ONE.upper()}"', "'ada' and 'bob' share a key"),
        (
            f'[ada]\nkey = "{ONE}"\nreplicas = ["r"]\n[bob]\nkey = "{OTHER}"\nreplicas = ["r"]',
            "'ada' and 'bob' both have the replica 'r'",
        ),
        (f'["a b"]\nkey = "{ONE}"', "a peer is named by"),
        (f'[ada]\nkey = "{ONE}', "is not TOML"),
        (f"[ada]\nkey = {ONE}", "is not TOML"),
    ],
)
def test_what_is_wrong_with_the_file_is_said_without_a_key(tmp_path: Path, text: str, message: str):
    with pytest.raises(InvalidValue, match=message) as refusal:
        Keyring.read(written(tmp_path, text))

    assert str(tmp_path) in str(refusal.value)
    assert ONE[:40] not in str(refusal.value) + repr(refusal.value.__cause__)


def test_a_file_that_is_not_there_or_no_text_is_named(tmp_path: Path):
    path = tmp_path / "keys.toml"
    with pytest.raises(InvalidValue, match="cannot be read: No such file"):
        Keyring.read(path)
    path.write_bytes(b"\xff\xfe")
    path.chmod(0o600)
    with pytest.raises(InvalidValue, match=r"is not TOML in UTF-8$"):
        Keyring.read(path)


def test_keys_are_shown_by_their_names(tmp_path: Path):
    keys = Keyring.read(written(tmp_path, f'[ada]\nkey = "{ONE}"\n'))

    assert repr(keys) == "Keyring('ada')"
    assert ONE not in repr(keys.get("ada"))
