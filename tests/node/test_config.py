"""Configurations are read strictly: what is wrong is named by file, key and expectation; secrets are refused."""

import pytest

from pyledger.errors import InputError, StorageError
from pyledger.node.config import JetStream, Postgres, load_config

GOOD = """
name = "BANKAAXX"
role = "validator"
genesis = "../genesis"
data = "ledger"
[keys]
validator = "validator.key"
[transport]
kind = "postgres"
conninfo = "host=127.0.0.1 dbname=messages"
"""
NATS = GOOD.partition("[transport]")[0] + '[transport]\nkind = "jetstream"\n'


def load(tmp_path, text):
    path = tmp_path / "node.toml"
    path.write_text(text)
    return load_config(path)


def test_a_whole_configuration_is_read_with_paths_beside_its_file(tmp_path):
    config = load(tmp_path, GOOD.replace("[keys]", 'metrics = "127.0.0.1:9460"\n[limits]\nclients_max = 3\n[keys]'))
    assert config.data_folder == tmp_path / "ledger"
    assert isinstance(config.transport, Postgres)
    assert config.limits.clients_max == 3
    assert config.metrics_address == ("127.0.0.1", 9460)


def test_jetstream_needs_the_monitor_unless_any_sync_will_do(tmp_path):
    servers = 'servers = ["nats://127.0.0.1:4222"]\n'
    with pytest.raises(InputError, match="monitor_url"):
        load(tmp_path, NATS + servers)
    with pytest.raises(InputError, match=r"field 'transport\.sync': .* 'some'; expected always, any"):
        load(tmp_path, NATS + servers + 'sync = "some"\n')
    assert isinstance(load(tmp_path, NATS + servers + 'sync = "any"\n').transport, JetStream)
    assert load(tmp_path, NATS + servers + 'monitor_url = "http://127.0.0.1:8222"\n').transport.sync == "always"


@pytest.mark.parametrize(
    ("change", "field", "expected"),
    [
        (('name = "BANKAAXX"', ""), "name", "missing required field"),
        (('name = "BANKAAXX"', 'name = "a b"'), "name", "expected 1 to 32"),
        (('name = "BANKAAXX"', "name = 7"), "name", "Expected 'str', got 'int'"),
        (('role = "validator"', 'role = "king"'), "role", "'king'; expected validator, observer"),
        (
            ('data = "ledger"', 'data = "ledger"\nport = 1'),
            "port",
            "unknown field 'port'; expected name, role, genesis, data,",
        ),
        (('data = "ledger"', 'data = "ledger"\nmetrics = "9460"'), "metrics", "address:port"),
        (('data = "ledger"', 'data = "ledger"\nmetrics = "127.0.0.1:65536"'), "metrics", "port up to 65535"),
        (('data = "ledger"', 'data = "ledger"\nfolder = "x"'), "folder", "no key"),
        (
            ('data = "ledger"', 'data = "ledger"\nlog_level = "loud"'),
            "log_level",
            "'loud'; expected debug, info, warning, error",
        ),
        (('data = "ledger"', 'data = "ledger"\nobservers = ["a.b"]'), "observers", "expected 1 to 32"),
        (("[keys]", "[limits]\nclients_max = 0\n[keys]"), "limits.clients_max", ">= 1"),
        (('kind = "postgres"', 'kind = "pigeon"'), "transport.kind", "'pigeon'; expected postgres, jetstream"),
        (('kind = "postgres"', 'kind = "postgres"\nport = 1'), "transport", "expected conninfo, retention_seconds,"),
        (('kind = "postgres"', ""), "transport", "missing required field 'kind'"),
        (("[keys]", "[limits]\nspeed = 9\n[keys]"), "limits", "'speed'; expected block_interval_ms, round_timeout_ms,"),
        (('role = "validator"', 'role = "observer"'), "keys", "no keys"),
        (('[keys]\nvalidator = "validator.key"', ""), "keys", "expected for a validator"),
        (("dbname=messages", "password = hush"), "transport.conninfo", "password"),
        (("host=127.0.0.1 dbname=messages", "postgresql://u:hush@h/db"), "transport.conninfo", "password"),
    ],
)
def test_a_wrong_key_is_named_with_what_was_expected(tmp_path, change, field, expected):
    assert change[0] in GOOD
    with pytest.raises(InputError) as caught:
        load(tmp_path, GOOD.replace(*change))
    message = str(caught.value)
    assert "node.toml" in message
    assert field in message
    assert expected in message
    assert "hush" not in message


def test_a_user_in_a_nats_address_is_refused(tmp_path):
    with pytest.raises(InputError, match="credentials_file"):
        load(tmp_path, NATS + 'servers = ["nats://u:p@h:4222"]\nsync = "any"\n')


@pytest.mark.parametrize("text", ["name = ", "\x00", "= 1", "name = 'a'\nname = 'b'"])
def test_what_is_not_toml_is_refused(tmp_path, text):
    with pytest.raises(InputError, match="TOML"):
        load(tmp_path, text)


def test_a_missing_file_is_a_matter_of_files(tmp_path):
    with pytest.raises(StorageError, match=r"nowhere\.toml"):
        load_config(tmp_path / "nowhere.toml")


def test_a_passphrase_that_others_can_read_is_refused(tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("hush\n")
    config = load(tmp_path, GOOD.replace("[keys]", '[keys]\npassphrase_file = "secret"'))
    secret.chmod(0o644)
    with pytest.raises(InputError, match="0600"):
        config.open_validator_key()
    secret.chmod(0o600)
    with pytest.raises(StorageError, match=r"validator\.key"):
        config.open_validator_key()


def test_a_missing_passphrase_names_the_variable(tmp_path, monkeypatch):
    monkeypatch.delenv("PYLEDGER_PASSPHRASE", raising=False)
    with pytest.raises(InputError, match="PYLEDGER_PASSPHRASE"):
        load(tmp_path, GOOD).open_validator_key()
