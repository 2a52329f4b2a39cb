#include "merkle/key_index.h"

#include <algorithm>

namespace pyledger::merkle {
namespace {

// Moves [place, count) one place up.
template <class T>
void open_gap(T* items, size_t place, size_t count) noexcept {
  std::copy_backward(items + place, items + count, items + count + 1);
}

// Place of the first of `count` sorted keys that is greater than `key`.
uint32_t place_after(const Key* keys, size_t count, Key key) noexcept {
  return static_cast<uint32_t>(std::upper_bound(keys, keys + count, key) - keys);
}

}  // namespace

KeyIndex::KeyIndex(Entry first) {
  leaves_.push_back(std::make_unique<Leaf>());
  Leaf* leaf = leaves_.back().get();
  leaf->keys[0] = first.key;
  leaf->slots[0] = first.slot;
  leaf->count = 1;
  root_ = leaf;
}

KeyIndex::Leaf* KeyIndex::find_leaf(Key key) const noexcept {
  Path path;
  return find_leaf(key, path);
}

KeyIndex::Leaf* KeyIndex::find_leaf(Key key, Path& path) const noexcept {
  void* node = root_;
  for (unsigned level = 0; level < height_; level++) {
    auto* inner = static_cast<Inner*>(node);
    path.inner[level] = inner;
    path.child[level] = place_after(inner->keys, inner->count - 1, key);
    node = inner->children[path.child[level]];
  }
  return static_cast<Leaf*>(node);
}

KeyIndex::Entry KeyIndex::at_or_before(Key key) const noexcept {
  const Leaf* leaf = find_leaf(key);
  uint32_t place = place_after(leaf->keys, leaf->count, key);
  while (place == 0) {  // what stood before was erased
    leaf = leaf->before;
    place = leaf->count;
  }
  return {leaf->keys[place - 1], leaf->slots[place - 1]};
}

void KeyIndex::insert(Key key, uint32_t slot) {
  Path path;
  Leaf* leaf = find_leaf(key, path);
  if (leaf->count == kLeafKeys && make_room(path)) leaf = find_leaf(key, path);
  Split split = insert_into_leaf(leaf, key, slot);
  for (unsigned level = height_; split.right != nullptr && level-- > 0;) {
    split = insert_into_inner(path.inner[level], path.child[level], split);
  }
  if (split.right == nullptr) return;
  inners_.push_back(std::make_unique<Inner>());
  Inner* top = inners_.back().get();
  top->keys[0] = split.key;
  top->children[0] = root_;
  top->children[1] = split.right;
  top->count = 2;
  root_ = top;
  height_++;
}

// Moves keys of a full block into a neighbour under the same parent that has room, so that blocks split only where two
// are full.
bool KeyIndex::make_room(const Path& path) noexcept {
  if (height_ == 0) return false;
  Inner* parent = path.inner[height_ - 1];
  const uint32_t child = path.child[height_ - 1];
  auto* leaf = static_cast<Leaf*>(parent->children[child]);
  if (child + 1 < parent->count) {
    auto* right = static_cast<Leaf*>(parent->children[child + 1]);
    if (right->count <= kRoomyKeys) {
      move_right(leaf, right, (kLeafKeys - right->count) / 2);
      parent->keys[child] = right->keys[0];
      return true;
    }
  }
  if (child == 0) return false;
  auto* left = static_cast<Leaf*>(parent->children[child - 1]);
  if (left->count > kRoomyKeys) return false;
  move_left(left, leaf, (kLeafKeys - left->count) / 2);
  parent->keys[child - 1] = leaf->keys[0];
  return true;
}

void KeyIndex::move_right(Leaf* from, Leaf* to, uint32_t count) noexcept {
  std::copy_backward(to->keys, to->keys + to->count, to->keys + to->count + count);
  std::copy_backward(to->slots, to->slots + to->count, to->slots + to->count + count);
  from->count -= count;
  to->count += count;
  std::copy_n(from->keys + from->count, count, to->keys);
  std::copy_n(from->slots + from->count, count, to->slots);
}

void KeyIndex::move_left(Leaf* to, Leaf* from, uint32_t count) noexcept {
  std::copy_n(from->keys, count, to->keys + to->count);
  std::copy_n(from->slots, count, to->slots + to->count);
  from->count -= count;
  to->count += count;
  std::copy_n(from->keys + count, from->count, from->keys);
  std::copy_n(from->slots + count, from->count, from->slots);
}

KeyIndex::Split KeyIndex::insert_into_leaf(Leaf* leaf, Key key, uint32_t slot) {
  Split split;
  uint32_t place = place_after(leaf->keys, leaf->count, key);
  if (leaf->count == kLeafKeys) {
    const bool rising = place == kLeafKeys && leaf->after == nullptr;  // leave a full block behind
    const uint32_t kept = rising ? kLeafKeys : kLeafKeys / 2;
    leaves_.push_back(std::make_unique<Leaf>());
    Leaf* right = leaves_.back().get();
    std::copy(leaf->keys + kept, leaf->keys + kLeafKeys, right->keys);
    std::copy(leaf->slots + kept, leaf->slots + kLeafKeys, right->slots);
    right->count = kLeafKeys - kept;
    leaf->count = kept;
    right->before = leaf;
    right->after = leaf->after;
    if (leaf->after != nullptr) leaf->after->before = right;
    leaf->after = right;
    split = {rising ? key : right->keys[0], right};
    if (rising || place > kept) {
      leaf = right;
      place -= kept;
    }
  }
  open_gap(leaf->keys, place, leaf->count);
  open_gap(leaf->slots, place, leaf->count);
  leaf->keys[place] = key;
  leaf->slots[place] = slot;
  leaf->count++;
  return split;
}

KeyIndex::Split KeyIndex::insert_into_inner(Inner* inner, uint32_t child, Split below) {
  Split split;
  if (inner->count == kChildren) {
    const uint32_t kept = child == kChildren - 1 ? kChildren - 1 : kChildren / 2;
    inners_.push_back(std::make_unique<Inner>());
    Inner* right = inners_.back().get();
    std::copy(inner->children + kept, inner->children + kChildren, right->children);
    std::copy(inner->keys + kept, inner->keys + kChildren - 1, right->keys);
    right->count = kChildren - kept;
    inner->count = kept;
    split = {inner->keys[kept - 1], right};
    if (child >= kept) {
      inner = right;
      child -= kept;
    }
  }
  open_gap(inner->keys, child, inner->count - 1);
  open_gap(inner->children, child + 1, inner->count);
  inner->keys[child] = below.key;
  inner->children[child + 1] = below.right;
  inner->count++;
  return split;
}

void KeyIndex::erase(Key key) noexcept {
  Leaf* leaf = find_leaf(key);
  const uint32_t place = place_after(leaf->keys, leaf->count, key);
  std::copy(leaf->keys + place, leaf->keys + leaf->count, leaf->keys + place - 1);
  std::copy(leaf->slots + place, leaf->slots + leaf->count, leaf->slots + place - 1);
  leaf->count--;
}

size_t KeyIndex::memory_bytes() const noexcept {
  return leaves_.size() * sizeof(Leaf) + inners_.size() * sizeof(Inner);
}

}  // namespace pyledger::merkle
