#include "bls/certify.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "bls/pairing.h"
#include "bls/random.h"
#include "bls/subgroup.h"
#include "parallel/pool.h"

namespace pyledger::bls {
namespace {

constexpr size_t kItemsPerTask = 16;
constexpr size_t kItemsPerBatch = 4096;  // bounds the memory of a call
constexpr const char* kMismatch = "the signature does not match its message and signers";

// Signatures and hashed messages as points, and a coefficient for each, drawn once all inputs are fixed.
template <class Suite>
struct Batch {
  using Signature = typename Suite::Signature;
  std::vector<typename Signature::Affine> signatures, hashes;
  std::vector<uint64_t> coefficients;

  // Decodes and checks signatures and hashes messages; item(i) gives both as encoded.
  template <class Items>
  Verdict load(size_t n, const Items& item, Purpose purpose, unsigned threads) {
    signatures.resize(n);
    hashes.resize(n);
    std::vector<Verdict> verdicts((n + kItemsPerTask - 1) / kItemsPerTask);
    auto task = [&](size_t t) {
      verdicts[t] = load_range(t * kItemsPerTask, std::min(n, (t + 1) * kItemsPerTask), item, purpose);
    };
    parallel::run(threads, verdicts.size(), task);
    for (const Verdict& verdict : verdicts) {
      if (!verdict.ok()) return verdict;
    }
    const std::vector<size_t> outside = find_outside_subgroup<Signature>(signatures, threads);
    if (!outside.empty()) return {"the signature is outside the prime-order subgroup", outside.front()};
    coefficients = random_coefficients(n);
    return {};
  }

  // Coefficients from `first` on, or none for a single item, which needs none.
  const uint64_t* coefficients_of(size_t first, size_t last) const {
    return last - first == 1 ? nullptr : &coefficients[first];
  }

  // e(-G, SUM r_i s_i)
  void add_signatures(size_t first, size_t last, PairingProduct<Suite>& product, unsigned threads) const {
    typename Signature::Point sum;
    combine<Signature>(sum, &signatures[first], coefficients_of(first, last), last - first, threads);
    product.add(Suite::Key::negated_generator(), sum);
  }

 private:
  template <class Items>
  Verdict load_range(size_t first, size_t last, const Items& item, Purpose purpose) {
    typename Signature::Point points[kItemsPerTask];
    for (size_t i = first; i < last; i++) {
      const auto [message, signature] = item(i);
      if (!Signature::decode(signatures[i], signature))
        return {"the signature is not a canonical point of the curve", i};
      if (Signature::is_infinity(signatures[i])) return {"the signature is the point at infinity", i};
      Signature::hash(points[i - first], message.data(), message.size(), tag<Suite>(purpose));
    }
    Signature::to_affine(&hashes[first], points, last - first);
    return {};
  }
};

struct Encoded {
  std::span<const uint8_t> message;
  const uint8_t* signature;
};

// First item for which the statement is false, given that it is false for [first, last).
template <class Holds>
size_t bisect(size_t first, size_t last, const Holds& holds) {
  while (last - first > 1) {
    const size_t middle = first + (last - first) / 2;
    if (holds(first, middle)) {
      first = middle;
    } else {
      last = middle;
    }
  }
  return first;
}

template <class Suite>
class CertificateBatch {
  using Key = typename Suite::Key;
  using Signature = typename Suite::Signature;

 public:
  CertificateBatch(const ValidatorSet<Suite>& validators, std::span<const CertificateView> certificates,
                   unsigned threads)
      : validators_(validators), certificates_(certificates), threads_(threads) {}

  Verdict verify(Purpose purpose) {
    const size_t n = certificates_.size();
    for (size_t i = 0; i < n; i++) {
      if (const char* reason = check_form(certificates_[i], purpose)) return {reason, i};
    }
    auto item = [&](size_t i) { return Encoded{certificates_[i].message, certificates_[i].signature.data()}; };
    if (const Verdict verdict = batch_.load(n, item, purpose, threads_); !verdict.ok()) return verdict;
    if (holds(0, n)) return {};
    return {kMismatch, bisect(0, n, [this](size_t first, size_t last) { return holds(first, last); })};
  }

 private:
  const char* check_form(const CertificateView& certificate, Purpose purpose) const {
    if (certificate.scheme != Suite::kScheme) return "the certificate is of another suite than the validators";
    if (certificate.purpose != purpose) return "the certificate is for another purpose";
    if (certificate.validators != validators_.size()) return "the certificate is for another number of validators";
    if (validators_.weight_of(certificate.bitmap.data()) < validators_.quorum_weight())
      return "the signers are no quorum";
    return nullptr;
  }

  bool holds(size_t first, size_t last) const {
    const std::vector<size_t> order = order_by_signers(first, last);
    const std::vector<size_t> starts = group_starts(order);
    const std::vector<size_t> absentees = absent_anywhere(first, last);
    PairingProduct<Suite> product;
    batch_.add_signatures(first, last, product, threads_);
    if (starts.size() - 1 <= absentees.size() + 1) {
      add_groups(order, starts, product);
    } else {
      add_absentees(first, last, absentees, product);
    }
    return product.is_one(threads_);
  }

  bool same_signers(size_t a, size_t b) const {
    return std::memcmp(certificates_[a].bitmap.data(), certificates_[b].bitmap.data(),
                       certificates_[a].bitmap.size()) == 0;
  }

  std::vector<size_t> order_by_signers(size_t first, size_t last) const {
    std::vector<size_t> order(last - first);
    for (size_t i = first; i < last; i++) order[i - first] = i;
    std::sort(order.begin(), order.end(), [this](size_t a, size_t b) {
      const auto &left = certificates_[a].bitmap, &right = certificates_[b].bitmap;
      const int sign = std::memcmp(left.data(), right.data(), left.size());
      return sign != 0 ? sign < 0 : a < b;
    });
    return order;
  }

  // Where in `order` each run of equal signers begins, and its end.
  std::vector<size_t> group_starts(const std::vector<size_t>& order) const {
    std::vector<size_t> starts;
    for (size_t k = 0; k < order.size(); k++) {
      if (k == 0 || !same_signers(order[k - 1], order[k])) starts.push_back(k);
    }
    starts.push_back(order.size());
    return starts;
  }

  std::vector<size_t> absent_anywhere(size_t first, size_t last) const {
    std::vector<uint8_t> everywhere(bitmap_bytes(validators_.size()), 0xff);
    for (size_t i = first; i < last; i++) {
      for (size_t k = 0; k < everywhere.size(); k++) everywhere[k] &= certificates_[i].bitmap[k];
    }
    std::vector<size_t> absentees;
    for (size_t j = 0; j < validators_.size(); j++) {
      if (!bit(everywhere.data(), j)) absentees.push_back(j);
    }
    return absentees;
  }

  // PROD over groups e(K of the group, SUM r_i H_i)
  void add_groups(const std::vector<size_t>& order, const std::vector<size_t>& starts,
                  PairingProduct<Suite>& product) const {
    const size_t groups = starts.size() - 1;
    std::vector<typename Key::Affine> keys(groups);
    std::vector<typename Signature::Point> points(groups);
    auto task = [&](size_t g) {
      typename Key::Point key;
      validators_.sum_of_signers(certificates_[order[starts[g]]].bitmap.data(), key);
      Key::to_affine(keys[g], key);
      const unsigned inner_threads = groups == 1 ? threads_ : 1;
      combine_hashes({&order[starts[g]], starts[g + 1] - starts[g]}, order.size() == 1, points[g], inner_threads);
    };
    if (groups == 1) {
      task(0);
    } else {
      parallel::run(threads_, groups, task);
    }
    for (size_t g = 0; g < groups; g++) product.add(keys[g], points[g]);
  }

  void combine_hashes(std::span<const size_t> indices, bool plain, typename Signature::Point& out,
                      unsigned threads) const {
    std::vector<typename Signature::Affine> hashes;
    std::vector<uint64_t> coefficients;
    for (const size_t i : indices) {
      hashes.push_back(batch_.hashes[i]);
      coefficients.push_back(batch_.coefficients[i]);
    }
    combine<Signature>(out, hashes.data(), plain ? nullptr : coefficients.data(), indices.size(), threads);
  }

  // e(A, SUM r_i H_i) * PROD_j e(-pk_j, SUM_{i: j absent} r_i H_i)
  void add_absentees(size_t first, size_t last, const std::vector<size_t>& absentees,
                     PairingProduct<Suite>& product) const {
    const size_t n = last - first;
    const std::vector<typename Signature::Affine> scaled = scaled_hashes(first, last);
    typename Signature::Point all;
    Signature::sum(all, Contiguous(scaled.data()), n);
    product.add(validators_.sum_of_keys(), all);
    std::vector<typename Signature::Point> sums(absentees.size());
    auto task = [&](size_t k) {
      std::vector<const typename Signature::Affine*> terms;
      for (size_t i = 0; i < n; i++) {
        if (!bit(certificates_[first + i].bitmap.data(), absentees[k])) terms.push_back(&scaled[i]);
      }
      Signature::sum(sums[k], terms.data(), terms.size());
      Signature::negate(sums[k]);
    };
    parallel::run(threads_, absentees.size(), task);
    for (size_t k = 0; k < absentees.size(); k++) product.add(validators_.key(absentees[k]), sums[k]);
  }

  // r_i H_i
  std::vector<typename Signature::Affine> scaled_hashes(size_t first, size_t last) const {
    const size_t n = last - first;
    std::vector<typename Signature::Affine> scaled(n);
    auto task = [&](size_t t) {
      typename Signature::Point points[kItemsPerTask];
      const size_t begin = t * kItemsPerTask, end = std::min(n, begin + kItemsPerTask);
      for (size_t i = begin; i < end; i++) {
        Signature::to_point(points[i - begin], batch_.hashes[first + i]);
        Signature::multiply(points[i - begin], points[i - begin], batch_.coefficients[first + i]);
      }
      Signature::to_affine(&scaled[begin], points, end - begin);
    };
    parallel::run(threads_, (n + kItemsPerTask - 1) / kItemsPerTask, task);
    return scaled;
  }

  const ValidatorSet<Suite>& validators_;
  std::span<const CertificateView> certificates_;
  unsigned threads_;
  Batch<Suite> batch_;
};

template <class Suite>
Verdict verify_signature_batch(std::span<const Signed<Suite>> items, Purpose purpose, unsigned threads) {
  Batch<Suite> batch;
  auto item = [&](size_t i) { return Encoded{items[i].message, items[i].signature}; };
  if (const Verdict verdict = batch.load(items.size(), item, purpose, threads); !verdict.ok()) return verdict;
  auto holds = [&](size_t first, size_t last) {
    PairingProduct<Suite> product;
    batch.add_signatures(first, last, product, threads);
    std::vector<typename Suite::Signature::Point> points(last - first);
    auto scale = [&](size_t k) {
      const uint64_t* r = batch.coefficients_of(first, last);
      combine<typename Suite::Signature>(points[k], &batch.hashes[first + k], r == nullptr ? nullptr : r + k, 1);
    };
    parallel::run(threads, points.size(), scale);
    for (size_t i = first; i < last; i++) product.add(*items[i].key, points[i - first]);
    return product.is_one(threads);
  };
  if (holds(0, items.size())) return {};
  return {kMismatch, bisect(0, items.size(), holds)};
}

// Runs `verify` on consecutive batches; a verdict's index counts from the start of all.
template <class Item, class Verify>
Verdict in_batches(std::span<const Item> items, const Verify& verify) {
  for (size_t first = 0; first < items.size(); first += kItemsPerBatch) {
    Verdict verdict = verify(items.subspan(first, std::min(kItemsPerBatch, items.size() - first)));
    verdict.index += first;
    if (!verdict.ok()) return verdict;
  }
  return {};
}

}  // namespace

template <class Suite>
Verdict verify_signatures(std::span<const Signed<Suite>> items, Purpose purpose, unsigned threads) {
  return in_batches(items, [&](auto batch) { return verify_signature_batch<Suite>(batch, purpose, threads); });
}

template <class Suite>
Verdict verify_certificates(const ValidatorSet<Suite>& validators, std::span<const CertificateView> certificates,
                            Purpose purpose, unsigned threads) {
  return in_batches(certificates,
                    [&](auto batch) { return CertificateBatch<Suite>(validators, batch, threads).verify(purpose); });
}

template Verdict verify_signatures<MinSig>(std::span<const Signed<MinSig>>, Purpose, unsigned);
template Verdict verify_signatures<MinPk>(std::span<const Signed<MinPk>>, Purpose, unsigned);
template Verdict verify_certificates<MinSig>(const ValidatorSet<MinSig>&, std::span<const CertificateView>, Purpose,
                                             unsigned);
template Verdict verify_certificates<MinPk>(const ValidatorSet<MinPk>&, std::span<const CertificateView>, Purpose,
                                            unsigned);

}  // namespace pyledger::bls
