"""One-line changes that break a safety rule of BLS; every one must be killed by a test.

(name, file, text as it stands, text of the mutant). The text must stand in the file exactly once.
"""

TESTS = ("tests/crypto/test_bls.py", "tests/crypto/test_bls_attacks.py", "tests/crypto/test_bls_vectors.py")

KEY, SET, CERTIFICATE = "csrc/bls/secret_key.cpp", "csrc/bls/validator_set.cpp", "csrc/bls/certificate.cpp"
CERTIFY, VOTES, SUBGROUP = "csrc/bls/certify.cpp", "csrc/bls/votes.cpp", "csrc/bls/subgroup.cpp"
LANES = "csrc/bls/lanes_avx512ifma.cpp"
SUITE, PAIRING, AGGREGATE, PYTHON = (
    "csrc/bls/suite.h",
    "csrc/bls/pairing.h",
    "csrc/bls/aggregate.cpp",
    "pyledger/crypto/bls.py",
)

MUTANTS = [
    # keys
    ("a secret of any value is taken", KEY, "if (!blst_sk_check(&key->scalar_)) return nullptr;", ""),
    ("a short seed is taken", KEY, "if (seed.size() < kSeedBytesMin) return nullptr;", ""),
    (
        "secrets are not wiped",
        KEY,
        "SecretKey::~SecretKey() { wipe(&scalar_, sizeof scalar_); }",
        "SecretKey::~SecretKey() {}",
    ),
    (
        "timeouts are signed as votes",
        SUITE,
        '"PYLEDGER_TIMEOUT_V1_BLS12381G1_XMD:SHA-256_SSWU_RO_POP_"',
        '"BLS_SIG_BLS12381G1_XMD:SHA-256_SSWU_RO_POP_"',
    ),
    (
        "proofs are signed as votes",
        SUITE,
        '"BLS_POP_BLS12381G1_XMD:SHA-256_SSWU_RO_POP_"',
        '"BLS_SIG_BLS12381G1_XMD:SHA-256_SSWU_RO_POP_"',
    ),
    # validator sets
    (
        "possession is not proven",
        SET,
        "if (const Verdict verdict = check_proofs(entries, threads); !verdict.ok()) return verdict;",
        "",
    ),
    ("a key may be there twice", SET, "if (repeated != n) return", "if (false) return"),
    ("keys outside the subgroup are taken", SET, "if (!outside.empty()) return", "if (false) return"),
    ("keys at infinity are taken", SET, "if (Key::is_infinity(keys_[i])) return", "if (false) return"),
    ("a weight may be zero", SET, "if (weights_[i] == 0) return", "if (false) return"),
    ("a weight has any size", SET, "if (weights_[i] > kWeightMax) return", "if (false) return"),
    ("two thirds are a quorum", SET, "* 2 / 3 + 1", "* 2 / 3"),
    (
        "bytes may follow a set",
        SET,
        "if (bytes.size() != kHeaderBytes + n * kEntryBytes)",
        "if (bytes.size() < kHeaderBytes + n * kEntryBytes)",
    ),
    ("a set may be of any size", SET, "if (n == 0 || n > kValidatorsMax) return", "if (n == 0) return"),
    ("absent keys are added, not taken off", SET, "Key::negate(minus);", ""),
    # certificates
    (
        "padding may be anything",
        CERTIFICATE,
        "if (used != 0 && bitmap.back() >> used != 0) return",
        "if (false) return",
    ),
    ("nobody need sign", CERTIFICATE, "return any ? nullptr :", "return true || any ? nullptr :"),
    (
        "bytes may follow a certificate",
        CERTIFICATE,
        "if (bytes.size() != kHeaderBytes + message_size",
        "if (bytes.size() < kHeaderBytes + message_size",
    ),
    (
        "any purpose is read",
        CERTIFICATE,
        "if (bytes[1] > static_cast<uint8_t>(Purpose::kTimeout)) return",
        "if (false) return",
    ),
    (
        "messages may be of any length",
        CERTIFICATE,
        "if (message_size == 0 || message_size > kMessageBytesMax)",
        "if (false)",
    ),
    ("signatures outside the subgroup are taken", CERTIFY, "if (!outside.empty()) return", "if (false) return"),
    (
        "signatures at infinity are taken",
        CERTIFY,
        "if (Signature::is_infinity(signatures[i])) return",
        "if (false) return",
    ),
    ("coefficients are all one", CERTIFY, "coefficients = random_coefficients(n);", "coefficients.assign(n, 1);"),
    (
        "no quorum is needed",
        CERTIFY,
        "if (validators_.weight_of(certificate.bitmap.data()) < validators_.quorum_weight())",
        "if (false)",
    ),
    ("any purpose will do", CERTIFY, "if (certificate.purpose != purpose) return", "if (false) return"),
    (
        "any number of validators will do",
        CERTIFY,
        "if (certificate.validators != validators_.size()) return",
        "if (false) return",
    ),
    ("any suite will do", CERTIFY, "if (certificate.scheme != Suite::kScheme) return", "if (false) return"),
    ("absentees count as signers", CERTIFY, "Signature::negate(sums[k]);", ""),
    ("the wrong half is searched", CERTIFY, "if (holds(first, middle)) {", "if (!holds(first, middle)) {"),
    ("later batches are not named right", CERTIFY, "verdict.index += first;", ""),
    (
        "later batches are not checked",
        CERTIFY,
        "first < items.size(); first += kItemsPerBatch",
        "first < 1; first += kItemsPerBatch",
    ),
    (
        "infinity goes into blst's loops",
        PAIRING,
        "if (Key::is_infinity(key) || Signature::is_infinity(point)) return;",
        "",
    ),
    ("a product is one if it is not empty", PAIRING, "return blst_fp12_is_one(&parts[0]);", "return true;"),
    # subgroup membership of many
    (
        "points are summed without coefficients",
        SUBGROUP,
        "if (trits[i] != 0) terms.push_back(trits[i] == 1 ? &points[i] : &negated[i]);",
        "terms.push_back(trits[i] == 1 ? &points[i] : &points[i] + 0 * (negated - negated));",
    ),
    ("one random sum is enough", SUBGROUP, "constexpr size_t kSums = 41;", "constexpr size_t kSums = 1;"),
    ("only the first coordinate is compared", LANES, "return same_x & same_y;", "return same_x;"),
    (
        "a point is inside if any of its lanes is",
        SUBGROUP,
        "in_g1_eight(words) : 0",
        "(in_g1_eight(words) ? 0xff : 0) : 0",
    ),
    # votes
    (
        "votes outside the subgroup are kept",
        VOTES,
        "std::vector<size_t> outside = find_outside_subgroup<Signature>(points, threads);",
        "std::vector<size_t> outside;",
    ),
    (
        "votes at infinity are taken",
        VOTES,
        'if (Signature::is_infinity(point)) return "the signature is the point at infinity";',
        "",
    ),
    (
        "whoever comes first shuts out the right vote",
        VOTES,
        "if (state_[index] == State::kProven || !is_right(index, point)) return",
        "if (true) return",
    ),
    (
        "whoever comes second replaces the right vote",
        VOTES,
        "if (state_[index] == State::kProven || !is_right(index, point)) return",
        "if (false) return",
    ),
    (
        "a right sum proves each vote",
        VOTES,
        "drop_bad(Check::kRandom, inside, threads, bad);",
        "drop_bad(Check::kSum, inside, threads, bad);",
    ),
    ("a bad left half makes the right half bad", VOTES, "bad.size() == before, threads, bad);", "true, threads, bad);"),
    ("bad votes stay in the sum", VOTES, "for (size_t k = before; k < bad.size(); k++) drop(bad[k]);", "(void)before;"),
    ("an aggregate at infinity is certified", VOTES, "if (Signature::is_infinity(total)) return {};", ""),
    # aggregates and Python
    (
        "aggregates take points outside the subgroup",
        AGGREGATE,
        'if (!Group::in_group(out)) return "outside the prime-order subgroup";',
        "",
    ),
    ("aggregates take infinity", AGGREGATE, 'if (Group::is_infinity(out)) return "the point at infinity";', ""),
    (
        "a certificate is given below the quorum",
        PYTHON,
        "self._native.settle(self._threads)\n            if self._native.weight()",
        "self._native.settle(self._threads)\n            if 4 * self._native.weight()",
    ),
    (
        "certificates verify for any purpose",
        PYTHON,
        "verify_chain([self], validators, purpose=purpose, threads=1)",
        "verify_chain([self], validators, purpose=self.purpose, threads=1)",
    ),
]
