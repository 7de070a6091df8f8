"""The JSON Schema says what the models say."""

from __future__ import annotations

import tomllib
from typing import Any

import jsonschema
import pytest

from sealgate.policy.fields import leaves, shape_at, shape_of, written
from sealgate.policy.model import Policy
from sealgate.policy.schema import policy_schema
from sealgate.policy.template import policy_template

VALIDATOR = jsonschema.Draft202012Validator(policy_schema())


def test_it_is_a_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(policy_schema())


EXAMPLE = """
version = 1
site = {names = ["api.example.com", "*.api.example.com"], app = "orders:app", workers = 2}
listen = {https = ["0.0.0.0:443"], http = []}
http.hsts.max_age = 31536000
limits = {body = "20MiB", headers = "32KiB"}
timeouts.request = "1.5m"
[[clients.authorities]]
name = "partners"
file = "partners.pem"
[clients.groups]
ops = [{ authority = "partners", cn = "alice" }]
night = []
[certificate]
source = "acme"
[certificate.acme]
fallback = ["https://acme.example/directory", { directory = "https://b.example/d", ca_file = "b.pem" }]
external_account = { kid = "one", hmac = { file = "hmac" } }
dns.rfc2136 = { server = "192.0.2.53", key_name = "sealgate.", key = { env = "TSIG" } }
"""


def test_an_example_fits() -> None:
    VALIDATOR.validate(tomllib.loads(EXAMPLE))
    VALIDATOR.validate({})


@pytest.mark.parametrize(
    "text",
    [
        "sites = {}",
        "clients.groups.Ops = []",
        "clients.groups.ops = 'alice'",
        "clients.groups.ops = [{ cn = 'alice' }]",
        "clients.groups.ops = [{ authority = 'private' }]",
        "clients.groups.ops = [{ authority = 'private', cn = 'a', dns = 'a.example' }]",
        "site.engin = 1",
        "site.engine = 'haproxy'",
        "site.workers = 0",
        "site.workers = '1'",
        "site.names = 'localhost'",
        "site.names = []",
        "timeouts.idle = 30",
        "timeouts.idle = '30 s'",
        "limits.body = '1MB'",
        "tls.profile = 'old@5.7'",
        "http.hsts.preload = 1",
        "clients.authorities = [{name = 'A B'}]",
        "version = 2",
        "certificate.acme.external_account = {kid = 'one'}",
        "certificate.acme.challenge = 'http-02'",
        "certificate.acme.fallback = [1]",
    ],
)
def test_what_does_not_fit(text: str) -> None:
    with pytest.raises(jsonschema.ValidationError):
        VALIDATOR.validate(tomllib.loads(text))


def _property(path: tuple[str, ...]) -> dict[str, Any]:
    schema = node = policy_schema()
    for part in path:
        node = node["properties"][part]
        reference = node.get("$ref", "")
        node = {**schema["$defs"][reference.rpartition("/")[2]], **node} if reference else node
    return node


def _may_be_absent(path: tuple[str, ...]) -> bool:
    """Is it in a table that is there as a whole or not at all?"""
    tables = [shape_at(shape_of(Policy), path[:n]) for n in range(len(path))]
    return any(table is not None and table.optional for table in tables)


def test_every_key_is_described_with_a_default_that_a_file_could_hold() -> None:
    for path, shape in leaves(shape_of(Policy)):
        node = _property(path)
        absent = _may_be_absent(path)
        assert "default" in node or absent, path
        if path != ("version",):
            assert node.get("description"), path
        if not absent and (shape.element is None or shape.element.model is None):
            default: object = Policy()
            for part in path:
                default = getattr(default, part)
            assert node["default"] == tomllib.loads(f"v = {written(shape, default)}")["v"], path


def test_a_file_of_all_defaults_fits_and_means_the_same() -> None:
    """What the schema and the template write as defaults is what the models have as defaults."""
    text = policy_template({})
    in_force = "\n".join(line.removeprefix("# ") for line in text.splitlines())
    data = tomllib.loads(in_force)
    VALIDATOR.validate(data)
    assert Policy.model_validate(data) == Policy()
