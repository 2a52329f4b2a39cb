// BLS keys, validator sets, votes and certificates. Refusals come back as (reason, index) or reason; pyledger/crypto
// turns them into its errors.
#include <memory>
#include <span>
#include <stdexcept>
#include <string_view>
#include <variant>
#include <vector>

#include "bindings/bindings.h"
#include "bls/aggregate.h"
#include "bls/certificate.h"
#include "bls/certify.h"
#include "bls/secret_key.h"
#include "bls/validator_set.h"
#include "bls/votes.h"

namespace pyledger::bindings {
namespace {

using bls::MinPk;
using bls::MinSig;
using bls::Purpose;

std::span<const uint8_t> view(const py::bytes& bytes) {
  const std::string_view text(bytes);
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

py::bytes to_bytes(std::span<const uint8_t> bytes) {
  return py::bytes(reinterpret_cast<const char*>(bytes.data()), bytes.size());
}

py::object to_object(const bls::Verdict& verdict) {
  if (verdict.ok()) return py::none();
  return py::make_tuple(verdict.reason, verdict.index);
}

py::object to_object(const char* reason) {
  if (reason == nullptr) return py::none();
  return py::str(reason);
}

Purpose purpose_of(int number) {
  if (number != 0 && number != 1) throw py::value_error("purpose: expected 0 (vote) or 1 (timeout)");
  return static_cast<Purpose>(number);
}

// Calls f<Suite>() for the suite of this scheme id.
template <class F>
auto with_suite(int scheme, const F& f) {
  if (scheme == MinSig::kScheme) return f.template operator()<MinSig>();
  if (scheme == MinPk::kScheme) return f.template operator()<MinPk>();
  throw py::value_error("scheme: expected 1 (min-sig) or 2 (min-pk)");
}

template <class Suite>
using Shared = std::shared_ptr<const bls::ValidatorSet<Suite>>;

struct Validators {
  std::variant<Shared<MinSig>, Shared<MinPk>> set;
};

struct Votes {
  std::variant<bls::VoteSet<MinSig>, bls::VoteSet<MinPk>> set;
};

py::object read_validators(int scheme, const py::bytes& encoded, unsigned threads) {
  return with_suite(scheme, [&]<class Suite>() -> py::object {
    auto set = std::make_shared<bls::ValidatorSet<Suite>>();
    bls::Verdict verdict;
    {
      const auto bytes = view(encoded);
      py::gil_scoped_release unlocked;
      verdict = bls::ValidatorSet<Suite>::read(bytes, threads, *set);
    }
    if (!verdict.ok()) return to_object(verdict);
    return py::cast(std::make_unique<Validators>(Validators{Shared<Suite>(std::move(set))}));
  });
}

py::object verify_certificates(const Validators& validators, const std::vector<py::bytes>& encoded, int purpose,
                               unsigned threads) {
  std::vector<bls::CertificateView> certificates(encoded.size());
  for (size_t i = 0; i < encoded.size(); i++) {
    const char* reason = bls::read_certificate(view(encoded[i]), certificates[i]);
    if (reason != nullptr) return to_object(bls::Verdict{reason, i});
  }
  bls::Verdict verdict;
  {
    const Purpose expected = purpose_of(purpose);
    py::gil_scoped_release unlocked;
    verdict = std::visit(
        [&](const auto& set) {
          return bls::verify_certificates(*set, std::span<const bls::CertificateView>(certificates), expected, threads);
        },
        validators.set);
  }
  return to_object(verdict);
}

// Votes on different messages: (index, message, signature) each.
py::object verify_votes(const Validators& validators, const std::vector<size_t>& indices,
                        const std::vector<py::bytes>& messages, const std::vector<py::bytes>& signatures, int purpose,
                        unsigned threads) {
  return std::visit(
      [&]<class Suite>(const Shared<Suite>& set) {
        std::vector<bls::Signed<Suite>> items;
        for (size_t i = 0; i < indices.size(); i++) {
          const auto signature = view(signatures[i]);
          if (indices[i] >= set->size()) return to_object(bls::Verdict{"there is no validator of this index", i});
          if (signature.size() != Suite::Signature::kBytes) {
            return to_object(bls::Verdict{"the signature is not of this suite's length", i});
          }
          items.push_back({&set->key(indices[i]), view(messages[i]), signature.data()});
        }
        const Purpose expected = purpose_of(purpose);
        bls::Verdict verdict;
        {
          py::gil_scoped_release unlocked;
          verdict = bls::verify_signatures<Suite>(items, expected, threads);
        }
        return to_object(verdict);
      },
      validators.set);
}

py::object read_certificate(const py::bytes& encoded) {
  bls::CertificateView certificate;
  const char* reason = bls::read_certificate(view(encoded), certificate);
  if (reason != nullptr) return to_object(reason);
  return py::make_tuple(certificate.scheme, static_cast<int>(certificate.purpose), certificate.validators,
                        to_bytes(certificate.message), to_bytes(certificate.bitmap), to_bytes(certificate.signature));
}

std::vector<bls::ByteView> views(const std::vector<py::bytes>& items) {
  std::vector<bls::ByteView> out;
  for (const py::bytes& item : items) out.push_back(view(item));
  return out;
}

// The sum as bytes, or (reason, index).
py::object aggregate(int scheme, const std::vector<py::bytes>& signatures) {
  return with_suite(scheme, [&]<class Suite>() -> py::object {
    uint8_t out[Suite::Signature::kBytes];
    const bls::Verdict verdict = bls::aggregate_signatures<Suite>(views(signatures), out);
    if (!verdict.ok()) return to_object(verdict);
    return to_bytes(out);
  });
}

py::object verify_aggregate(int scheme, const std::vector<py::bytes>& keys, const std::vector<py::bytes>& messages,
                            const py::bytes& signature, const py::bytes& tag) {
  const auto key_views = views(keys), message_views = views(messages);
  const auto signature_view = view(signature);
  const std::string_view tag_view(tag);
  bls::Verdict verdict;
  {
    py::gil_scoped_release unlocked;
    verdict = with_suite(scheme, [&]<class Suite>() {
      return bls::verify_aggregate<Suite>(key_views, message_views, signature_view, tag_view);
    });
  }
  return to_object(verdict);
}

// RFC 9380 into the signature group of the suite, compressed.
py::bytes hash_to_curve(int scheme, const py::bytes& message, const py::bytes& tag) {
  return with_suite(scheme, [&]<class Suite>() {
    typename Suite::Signature::Point point;
    Suite::Signature::hash(point, view(message).data(), view(message).size(), std::string_view(tag));
    uint8_t out[Suite::Signature::kBytes];
    Suite::Signature::encode(out, point);
    return to_bytes(out);
  });
}

py::bytes tag_of(int scheme, int purpose) {
  return with_suite(scheme,
                    [&]<class Suite>() { return py::bytes(std::string(bls::tag<Suite>(purpose_of(purpose)))); });
}

void register_aggregates(py::module_& module) {
  module.def("bls_aggregate", &aggregate, py::arg("scheme"), py::arg("signatures"));
  module.def("bls_verify_aggregate", &verify_aggregate, py::arg("scheme"), py::arg("keys"), py::arg("messages"),
             py::arg("signature"), py::arg("tag"));
  module.def("bls_hash_to_curve", &hash_to_curve, py::arg("scheme"), py::arg("message"), py::arg("tag"));
  module.def("bls_tag", &tag_of, py::arg("scheme"), py::arg("purpose"));
}

void register_keys(py::module_& module) {
  py::class_<bls::SecretKey>(module, "BlsSecretKey")
      .def_static("generate", &bls::SecretKey::generate)
      .def_static(
          "from_seed", [](const py::bytes& seed) { return bls::SecretKey::from_seed(view(seed)); }, py::arg("seed"))
      .def_static(
          "from_bytes", [](const py::bytes& bytes) { return bls::SecretKey::from_bytes(view(bytes)); },
          py::arg("bytes_32"))
      .def(
          "public_key",
          [](const bls::SecretKey& key, int scheme) {
            return to_bytes(with_suite(scheme, [&]<class Suite>() { return key.public_key<Suite>(); }));
          },
          py::arg("scheme"))
      .def(
          "proof_of_possession",
          [](const bls::SecretKey& key, int scheme) {
            return to_bytes(with_suite(scheme, [&]<class Suite>() { return key.proof_of_possession<Suite>(); }));
          },
          py::arg("scheme"))
      .def(
          "sign",
          [](const bls::SecretKey& key, int scheme, int purpose, const py::bytes& message) {
            const Purpose checked = purpose_of(purpose);
            return to_bytes(with_suite(scheme, [&]<class Suite>() { return key.sign<Suite>(view(message), checked); }));
          },
          py::arg("scheme"), py::arg("purpose"), py::arg("message"));
}

void register_validators(py::module_& module) {
  py::class_<Validators>(module, "BlsValidators")
      .def("total_weight",
           [](const Validators& v) { return std::visit([](const auto& set) { return set->total_weight(); }, v.set); })
      .def("quorum_weight",
           [](const Validators& v) { return std::visit([](const auto& set) { return set->quorum_weight(); }, v.set); });
  module.def("bls_read_validators", &read_validators, py::arg("scheme"), py::arg("encoded"), py::arg("threads"));
  module.def("bls_read_certificate", &read_certificate, py::arg("encoded"));
  module.def("bls_verify_certificates", &verify_certificates, py::arg("validators"), py::arg("encoded"),
             py::arg("purpose"), py::arg("threads"));
  module.def("bls_verify_votes", &verify_votes, py::arg("validators"), py::arg("indices"), py::arg("messages"),
             py::arg("signatures"), py::arg("purpose"), py::arg("threads"));
}

// Runs a method of the vote set without the interpreter lock.
template <class F>
auto unlocked(Votes& votes, const F& f) {
  py::gil_scoped_release released;
  return std::visit(f, votes.set);
}

void register_votes(py::module_& module) {
  py::class_<Votes>(module, "BlsVotes")
      .def(py::init([](const Validators& validators, const py::bytes& message, int purpose) {
             return std::visit(
                 [&]<class Suite>(const Shared<Suite>& set) {
                   return Votes{bls::VoteSet<Suite>(set, view(message), purpose_of(purpose))};
                 },
                 validators.set);
           }),
           py::arg("validators"), py::arg("message"), py::arg("purpose"))
      .def(
          "add",
          [](Votes& votes, size_t index, const py::bytes& signature) {
            return to_object(std::visit([&](auto& set) { return set.add(index, view(signature)); }, votes.set));
          },
          py::arg("index"), py::arg("signature"))
      .def(
          "sign",
          [](Votes& votes, size_t index, const bls::SecretKey& key) {
            unlocked(votes, [&](auto& set) {
              if (index >= set.size()) throw py::index_error("index: there is no validator of this index");
              set.sign(index, key);
            });
          },
          py::arg("index"), py::arg("key"))
      .def(
          "has",
          [](Votes& votes, size_t index) { return std::visit([&](auto& set) { return set.has(index); }, votes.set); },
          py::arg("index"))
      .def(
          "proven",
          [](Votes& votes, size_t index) {
            return std::visit([&](auto& set) { return set.proven(index); }, votes.set);
          },
          py::arg("index"))
      .def("weight", [](Votes& votes) { return std::visit([](auto& set) { return set.weight(); }, votes.set); })
      .def(
          "settle",
          [](Votes& votes, unsigned threads) {
            return unlocked(votes, [&](auto& set) { return set.settle(threads); });
          },
          py::arg("threads"))
      .def(
          "prove",
          [](Votes& votes, unsigned threads) { return unlocked(votes, [&](auto& set) { return set.prove(threads); }); },
          py::arg("threads"))
      .def("certificate",
           [](Votes& votes) { return to_bytes(std::visit([](auto& set) { return set.certificate(); }, votes.set)); })
      .def(
          "signature",
          [](Votes& votes, size_t index) {
            return to_bytes(std::visit([&](auto& set) { return set.signature(index); }, votes.set));
          },
          py::arg("index"));
}

}  // namespace

void register_bls(py::module_& module) {
  register_keys(module);
  register_validators(module);
  register_votes(module);
  register_aggregates(module);
}

}  // namespace pyledger::bindings
