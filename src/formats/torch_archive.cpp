#include "torch_archive.hpp"

#include <fmt/format.h>

#include <charconv>
#include <unordered_map>

#include "base/utf8.hpp"
#include "dinoxx/base/error.hpp"
#include "zip_archive.hpp"

namespace dinoxx {
namespace {

// What torch.load of 2.11 writes is 3; 10 is the largest that PyTorch's own reader knows.
constexpr uint64_t max_version = 10;
constexpr uint64_t budget_constant = uint64_t{64} << 20, budget_factor = 4;

std::string_view text(std::span<const std::byte> bytes) {
  std::string_view content(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  while (!content.empty() && (content.back() == '\n' || content.back() == ' ')) content.remove_suffix(1);
  return content;
}

class Records {
 public:
  Records(std::span<const std::byte> archive, const std::string& subject) : subject_(subject) {
    bool checksums = false;
    for (const ZipEntry& entry : read_zip(archive, subject)) {
      entries_.emplace(entry.name, entry);
      checksums |= entry.crc32 != 0;
      const size_t slash = entry.name.find('/');
      if (slash == std::string_view::npos || entry.name.substr(slash) != "/data.pkl") continue;
      if (!prefix_.empty()) refuse("one data.pkl", fmt::format("one in \"{}\" and one in \"{}\"", prefix_, entry.name));
      prefix_ = entry.name.substr(0, slash + 1);
    }
    if (prefix_.empty()) refuse("a zip archive of torch.save, with data.pkl in a folder", "another zip archive");
    // torch.serialization.set_crc32_options(False) writes zeros everywhere
    const ZipEntry& pickle = *find("data.pkl");
    if (checksums && zip_crc32(pickle.bytes) != pickle.crc32)
      refuse(fmt::format("data.pkl with the checksum {:08x}", pickle.crc32),
             fmt::format("{:08x}: the file is damaged", zip_crc32(pickle.bytes)));
  }

  pickle::Tree tree() const {
    check();
    return pickle::parse(find("data.pkl")->bytes, subject_ + ", data.pkl");
  }

  std::span<const std::byte> storage(std::string_view key) const {
    const ZipEntry* entry = find("data/" + std::string(key.substr(0, 1000)));
    if (!entry) refuse(fmt::format("a record data/{} with the numbers of a tensor", printable(key.substr(0, 100))), "none");
    return entry->bytes;
  }

 private:
  const ZipEntry* find(std::string_view name) const {
    const auto found = entries_.find(prefix_ + std::string(name));
    return found == entries_.end() ? nullptr : &found->second;
  }

  void check() const {
    if (find("constants.pkl"))
      fail(subject_, "tensors", "a TorchScript program", "Load it with torch.jit.load in Python and save its state_dict()");
    if (const ZipEntry* order = find("byteorder"); order && text(order->bytes) != "little")
      fail(subject_, "little-endian numbers", fmt::format("byteorder \"{}\"", printable(text(order->bytes).substr(0, 40))),
           "Save it again on a little-endian machine, or as safetensors");
    if (const ZipEntry* version = find("version")) {
      const std::string_view digits = text(version->bytes);
      uint64_t value = 0;
      const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
      if (error != std::errc() || end != digits.data() + digits.size() || value == 0 || value > max_version)
        refuse(fmt::format("a version from 1 to {}", max_version), printable(digits.substr(0, 40)));
    }
  }

  [[noreturn]] void refuse(std::string_view expected, std::string_view found) const {
    fail(subject_, expected, found, "Copy or download the file again, or save it again with torch.save or as safetensors");
  }
  const std::string& subject_;
  std::string prefix_;
  std::unordered_map<std::string, ZipEntry> entries_;
};

}  // namespace

TorchContent read_torch_archive(std::span<const std::byte> archive, const std::string& subject) {
  const Records records(archive, subject);
  return flatten_checkpoint(
      records.tree(), [&](std::string_view key) { return records.storage(key); }, budget_constant + budget_factor * archive.size(),
      subject);
}

WeightEntry read_torch_tensor(std::span<const std::byte> archive, const std::string& subject) {
  const Records records(archive, subject);
  return single_tensor(
      records.tree(), [&](std::string_view key) { return records.storage(key); }, budget_constant + budget_factor * archive.size(),
      subject);
}

}  // namespace dinoxx
