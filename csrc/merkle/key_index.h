// 128-bit keys in numeric order, each with a slot: a B+ tree in memory, built for sorted batches of insertions.
//
// Rising keys fill their blocks to the end, random ones to about 84 %: 20 to 25 bytes a key. Erasing leaves blocks as
// they are, however empty.
#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

namespace pyledger::merkle {

struct Key {
  uint64_t high = 0, low = 0;
  auto operator<=>(const Key&) const = default;
};

// 16 bytes, little-endian.
inline Key load_key(const uint8_t* bytes_16) noexcept {
  Key key;
  for (int i = 7; i >= 0; i--) key.low = key.low << 8 | bytes_16[i];
  for (int i = 7; i >= 0; i--) key.high = key.high << 8 | bytes_16[8 + i];
  return key;
}

class KeyIndex {
 public:
  struct Entry {
    Key key;
    uint32_t slot;
  };

  // The first key, smaller than any that follows, is never erased: every key has a predecessor or equal.
  explicit KeyIndex(Entry first);

  // The entry with the greatest key that is at most `key`.
  Entry at_or_before(Key key) const noexcept;

  // The key must be absent.
  void insert(Key key, uint32_t slot);

  // The key must be present.
  void erase(Key key) noexcept;

  // Calls f(entry) for each key, rising.
  template <class F>
  void for_each(F f) const {
    for (const Leaf* leaf = leaves_[0].get(); leaf != nullptr; leaf = leaf->after) {  // splits go to the right
      for (uint32_t i = 0; i < leaf->count; i++) f(Entry{leaf->keys[i], leaf->slots[i]});
    }
  }

  size_t memory_bytes() const noexcept;

 private:
  static constexpr size_t kLeafKeys = 128;
  static constexpr uint32_t kRoomyKeys = kLeafKeys - 8;  // a block with at most so many takes in its neighbour's
  static constexpr size_t kChildren = 64;

  struct Leaf {
    Key keys[kLeafKeys];
    uint32_t slots[kLeafKeys];
    uint32_t count = 0;
    Leaf* before = nullptr;
    Leaf* after = nullptr;
  };
  // keys[i] is the least key that belongs under children[i + 1].
  struct Inner {
    Key keys[kChildren - 1];
    void* children[kChildren];
    uint32_t count = 0;
  };
  struct Split {
    Key key;
    void* right = nullptr;
  };
  struct Path {
    Inner* inner[16];  // 64^16 children are more than any memory
    uint32_t child[16];
  };

  Leaf* find_leaf(Key key) const noexcept;
  Leaf* find_leaf(Key key, Path& path) const noexcept;
  bool make_room(const Path& path) noexcept;
  static void move_right(Leaf* from, Leaf* to, uint32_t count) noexcept;
  static void move_left(Leaf* to, Leaf* from, uint32_t count) noexcept;
  Split insert_into_leaf(Leaf* leaf, Key key, uint32_t slot);
  Split insert_into_inner(Inner* inner, uint32_t child, Split split);

  std::vector<std::unique_ptr<Leaf>> leaves_;
  std::vector<std::unique_ptr<Inner>> inners_;
  void* root_;
  unsigned height_ = 0;  // levels of inner nodes
};

}  // namespace pyledger::merkle
