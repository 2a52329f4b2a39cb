"""Vectors of others: RFC 9380, Wycheproof, and the BLS tests of the Ethereum consensus layer."""

import json
from pathlib import Path
from typing import Any

import pytest

from pyledger import _core
from pyledger.crypto import bls
from pyledger.errors import InputError, SignatureError

VECTORS = Path(__file__).parents[1] / "vectors"
MIN_SIG, MIN_PK = 1, 2
P = 0x1A0111EA397FE69A4B1BA7B6434BACD764774B84F38512BF6730D2A0F6B0F6241EABFFFEB153FFFFB9FEFFFFFFFFAAAB
POP_TAG = b"BLS_SIG_BLS12381G2_XMD:SHA-256_SSWU_RO_POP_"


def load(name: str) -> Any:
    return json.loads((VECTORS / name).read_text())


def compressed(x: list[int], y: list[int]) -> bytes:
    """Encode affine coordinates (c0 first) as draft-irtf-cfrg-pairing-friendly-curves, appendix C, says."""
    larger = next((c > (P - 1) // 2 for c in reversed(y) if c), False)
    data = b"".join(c.to_bytes(48, "big") for c in reversed(x))
    return bytes([data[0] | 0x80 | larger << 5]) + data[1:]


def coordinates(text: str) -> list[int]:
    return [int(part, 16) for part in text.split(",")]


@pytest.mark.parametrize(("group", "scheme"), [("G1", MIN_SIG), ("G2", MIN_PK)])
def test_hash_to_curve_gives_the_points_of_rfc_9380(group: str, scheme: int) -> None:
    suite = load(f"rfc9380/BLS12381{group}_XMD_SHA-256_SSWU_RO_.json")
    assert len(suite["vectors"]) == 5
    for vector in suite["vectors"]:
        expected = compressed(coordinates(vector["P"]["x"]), coordinates(vector["P"]["y"]))
        assert _core.bls_hash_to_curve(scheme, vector["msg"].encode(), suite["dst"].encode()) == expected


def wycheproof(name: str) -> list[Any]:
    groups = load(f"wycheproof_bls/bls_{name}_test.json")["testGroups"]
    return [
        pytest.param(group, test, id=f"{test['tcId']} {test['comment']}") for group in groups for test in group["tests"]
    ]


def accepts(keys: list[str], messages: list[str], signature: str, tag: bytes) -> bool:
    fault = _core.bls_verify_aggregate(
        MIN_PK,
        [bytes.fromhex(key) for key in keys],
        [bytes.fromhex(message) for message in messages],
        bytes.fromhex(signature),
        tag,
    )
    return fault is None


@pytest.mark.parametrize(("group", "test"), wycheproof("hash_to_g2"))
def test_hash_to_g2_agrees_with_wycheproof(group: Any, test: Any) -> None:
    made = _core.bls_hash_to_curve(MIN_PK, bytes.fromhex(test["msg"]), group["dst"].encode())
    assert (made.hex() == test["expected"]) == (test["result"] == "valid")


@pytest.mark.parametrize(("group", "test"), wycheproof("sig_g2_basic_verify") + wycheproof("sig_g2_pop_verify"))
def test_single_signature_is_judged_as_wycheproof_says(group: Any, test: Any) -> None:
    accepted = accepts([group["publicKey"]["pk"]], [test["msg"]], test["sig"], group["ciphersuite"].encode())
    assert accepted == (test["result"] == "valid")


@pytest.mark.parametrize(("group", "test"), wycheproof("sig_g2_aggregate_verify"))
def test_aggregate_is_judged_as_wycheproof_says(group: Any, test: Any) -> None:
    accepted = accepts(test["pubkeys"], test["messages"], test["sig"], group["ciphersuite"].encode())
    assert accepted == (test["result"] == "valid")


def ethereum(kind: str) -> list[Any]:
    cases = load("bls12_381_tests/v0.1.1.json")[kind]
    return [pytest.param(case["input"], case["output"], id=name) for name, case in cases.items()]


def plain(text: str) -> str:
    return text.removeprefix("0x")


@pytest.mark.parametrize(("given", "expected"), ethereum("sign"))
def test_signing_gives_ethereums_signatures(given: Any, expected: str | None) -> None:
    secret = bytes.fromhex(plain(given["privkey"]))
    if expected is None:
        with pytest.raises(InputError):
            bls.SecretKey.from_bytes(secret, "min-pk")
        return
    key = bls.SecretKey.from_bytes(secret, "min-pk")
    assert key.sign(bytes.fromhex(plain(given["message"]))).hex() == plain(expected)


@pytest.mark.parametrize(("given", "expected"), ethereum("verify"))
def test_single_signature_is_judged_as_ethereum_says(given: Any, expected: bool) -> None:
    accepted = accepts([plain(given["pubkey"])], [plain(given["message"])], plain(given["signature"]), POP_TAG)
    assert accepted == expected


@pytest.mark.parametrize(("given", "expected"), ethereum("aggregate_verify"))
def test_aggregate_is_judged_as_ethereum_says(given: Any, expected: bool) -> None:
    keys, messages = [plain(k) for k in given["pubkeys"]], [plain(m) for m in given["messages"]]
    assert accepts(keys, messages, plain(given["signature"]), POP_TAG) == expected


@pytest.mark.parametrize(("given", "expected"), ethereum("fast_aggregate_verify"))
def test_aggregate_on_one_message_is_judged_as_ethereum_says(given: Any, expected: bool) -> None:
    keys = [plain(k) for k in given["pubkeys"]]
    assert accepts(keys, [plain(given["message"])] * len(keys), plain(given["signature"]), POP_TAG) == expected


@pytest.mark.parametrize(("given", "expected"), ethereum("batch_verify"))
def test_set_of_signatures_is_judged_as_ethereum_says(given: Any, expected: bool) -> None:
    parts = zip(given["pubkeys"], given["messages"], given["signatures"], strict=True)
    assert all(accepts([plain(k)], [plain(m)], plain(s), POP_TAG) for k, m, s in parts) == expected


@pytest.mark.parametrize(("given", "expected"), ethereum("aggregate"))
def test_signatures_add_up_as_ethereum_says(given: list[str], expected: str | None) -> None:
    signatures = [bytes.fromhex(plain(signature)) for signature in given]
    infinity = bytes([0xC0]) + bytes(95)
    if expected is None or infinity in signatures:  # stricter than the draft: infinity is never a signature here
        with pytest.raises((InputError, SignatureError)):
            bls.aggregate_signatures(signatures, "min-pk")
    else:
        assert bls.aggregate_signatures(signatures, "min-pk").hex() == plain(expected)


@pytest.mark.parametrize(("given", "expected"), ethereum("deserialization_G1") + ethereum("deserialization_G2"))
def test_point_encodings_are_judged_as_ethereum_says(given: Any, expected: bool) -> None:
    data = bytes.fromhex(next(iter(given.values())))
    suite: bls.Suite = "min-sig" if "pubkey" in given else "min-pk"  # the suite whose signatures are in this group
    if data.startswith(b"\xc0") and not any(data[1:]) and expected:
        with pytest.raises(SignatureError, match="infinity"):
            bls.aggregate_signatures([data], suite)
    elif expected:
        assert bls.aggregate_signatures([data], suite) == data
    else:
        with pytest.raises(SignatureError):
            bls.aggregate_signatures([data], suite)


def test_key_generation_gives_the_keys_of_eip_2333() -> None:
    # KeyGen of the draft with the hashed salt is derive_master_SK of EIP-2333; its test case 0.
    seed = bytes.fromhex(
        "c55257c360c07c72029aebc1b53c05ed0362ada38ead3e3e9efa3708e53495531f09a6987599d18264c1e1c92f2cf141630c7a3c4ab7c81b2f001698e7463b04"
    )
    master = 6083874454709270928345386274498605044986640685124978867557563392430687146096
    assert bls.SecretKey.from_seed(seed).public_key == bls.SecretKey.from_bytes(master.to_bytes(32, "big")).public_key
