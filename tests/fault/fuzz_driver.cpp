// A small mutation fuzzer for builds without libFuzzer: mutates seeds, keeps what reaches new code.
//   fuzz_weights (safetensors|torch_archive|torch_pickle) [--runs N] [--seconds S] [--seed N] [--crash FILE] [--keep FOLDER] SEED...
// The parsers are compiled with -fsanitize-coverage=trace-pc, which GCC and Clang know: each basic block reports itself. The same seed
// and number of runs give the same inputs. Before each run the input lies in the file of --crash, from where a crash can be repeated
// with --runs 0. --keep writes the seeds and what was kept, for libFuzzer to go on from.
#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <string_view>
#include <vector>

#include "formats/zip_archive.hpp"
#include "fuzz_weights.hpp"

namespace {

constexpr size_t map_size = size_t{1} << 16, max_input = size_t{1} << 16;
uint8_t hits[map_size];
uintptr_t previous;
bool recording = false;

// splitmix64
class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed) {}
  uint64_t next() {
    uint64_t z = state_ += 0x9E3779B97F4A7C15ull;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9ull;
    z = (z ^ z >> 27) * 0x94D049BB133111EBull;
    return z ^ z >> 31;
  }
  size_t below(size_t bound) { return bound ? next() % bound : 0; }

 private:
  uint64_t state_;
};

using Input = std::string;

// Numbers at which sizes, counts and signs change their meaning.
constexpr uint64_t edges[] = {0,
                              1,
                              2,
                              3,
                              7,
                              8,
                              64,
                              65,
                              127,
                              128,
                              255,
                              256,
                              0x7FFF,
                              0x8000,
                              0xFFFF,
                              0x10000,
                              0x7FFFFFFF,
                              0x80000000,
                              0xFFFFFFFF,
                              0x100000000,
                              0x3FFFFFFFFFFFFFFF,
                              0x7FFFFFFFFFFFFFFF,
                              0x8000000000000000,
                              0xFFFFFFFFFFFFFFFF};
constexpr std::string_view words[] = {"PK\3\4",
                                      "PK\1\2",
                                      "PK\5\6",
                                      "PK\6\6",
                                      "PK\6\7",
                                      "/data.pkl",
                                      "data/0",
                                      "byteorder",
                                      "ctorch._utils\n_rebuild_tensor_v2\n",
                                      "ctorch._utils\n_rebuild_tensor_v3\n",
                                      "ctorch\nFloatStorage\n",
                                      "ctorch.storage\nUntypedStorage\n",
                                      "ccollections\nOrderedDict\n",
                                      "cargparse\nNamespace\n",
                                      "cnumpy\ndtype\n",
                                      "cnumpy.core.multiarray\nscalar\n",
                                      "c_codecs\nencode\n",
                                      "cos\nsystem\n",
                                      "ca.program\nThing\n",
                                      "\x92",
                                      "MetadataIndex",
                                      "_StorageInfo",
                                      "__0_0.distcp",
                                      "../__0_0.distcp",
                                      "ustar",
                                      "cbuiltins\nset\n",
                                      "ctorch\nSize\n",
                                      "ctorch._utils\n_rebuild_parameter\n",
                                      "}",
                                      "]",
                                      ")",
                                      "(",
                                      "t",
                                      "u",
                                      "e",
                                      "s",
                                      "a",
                                      "b",
                                      "R",
                                      "Q",
                                      "\x81",
                                      "\x85",
                                      "\x86",
                                      "\x87",
                                      "\x94",
                                      "q\x01",
                                      "h\x01",
                                      "0",
                                      "2",
                                      "1",
                                      ".",
                                      "\"dtype\":\"F32\"",
                                      "\"shape\":[",
                                      "\"data_offsets\":[0,0]",
                                      "\"__metadata__\":{}",
                                      "\"BOOL\"",
                                      "{",
                                      "[",
                                      ",",
                                      ":",
                                      "9223372036854775807",
                                      "18446744073709551615",
                                      "-1",
                                      "1e9",
                                      "\"weight_map\":{",
                                      "\"../x.safetensors\"",
                                      "\\u0000"};

// Half of the inputs come from the first `seeds`, the whole files: most of what is kept for its new code ends in an early refusal.
Input mutate(const std::vector<Input>& corpus, size_t seeds, Random& random) {
  Input input = corpus[random.below(random.below(2) ? seeds : corpus.size())];
  const size_t steps = 1 + random.below(random.below(4) ? 3 : 16);
  for (size_t step = 0; step < steps; ++step) {
    const size_t at = random.below(input.size() + 1);
    const size_t count = std::min(input.size() - at, 1 + random.below(random.below(4) ? 8 : 200));
    switch (random.below(10)) {
      case 0:
        if (at < input.size()) input[at] = static_cast<char>(input[at] ^ 1 << random.below(8));
        break;
      case 1:
        if (at < input.size()) input[at] = static_cast<char>(random.next());
        break;
      case 2: {  // a neighbouring number: off by one; half the time the operand of a pickle's BININT1, such as an offset or an extent
        const size_t instruction = random.below(2) ? input.find('K', at) : Input::npos;
        const size_t place = instruction < input.size() ? instruction + 1 : at;
        if (place < input.size()) input[place] = static_cast<char>(input[place] + static_cast<int>(random.below(5)) - 2);
        break;
      }
      case 3: {
        const uint64_t value = edges[random.below(std::size(edges))] + (random.below(3) ? 0 : random.below(5) - 2);
        const size_t width = std::min<size_t>(size_t{1} << random.below(4), input.size() - at);
        std::memcpy(input.data() + at, &value, width);
        break;
      }
      case 4:
        input.erase(at, count);
        break;
      case 5:
        input.insert(random.below(input.size() + 1), input.substr(at, count));
        break;
      case 6:
        input.insert(at, words[random.below(std::size(words))]);
        break;
      case 7: {
        const std::string_view word = words[random.below(std::size(words))];
        input.replace(at, std::min(word.size(), input.size() - at), word);
        break;
      }
      case 8: {
        const Input& other = corpus[random.below(corpus.size())];
        const size_t from = random.below(other.size() + 1);
        input.replace(at, count, other, from, 1 + random.below(200));
        break;
      }
      case 9: {  // another number in decimal text
        const size_t digit = input.find_first_of("0123456789", at);
        if (digit == Input::npos) break;
        const size_t end = std::min(input.find_first_not_of("0123456789", digit), input.size());
        input.replace(digit, end - digit, std::to_string(edges[random.below(std::size(edges))]));
        break;
      }
    }
    if (input.size() > max_input) input.resize(max_input);
  }
  return input;
}

// data.pkl of an archive, found as the parser under test does not: by its local header. Empty for another file.
Input pickle_in(const Input& archive) {
  const size_t name = archive.find("/data.pkl");
  if (name == Input::npos) return {};
  size_t begin = archive.find("\x80", name);
  const size_t end = archive.find(std::string_view(".PK\x07\x08", 5), name);
  if (begin == Input::npos || end == Input::npos) return {};
  if (const size_t padded = archive.find(std::string_view("Z\x80", 2), name); padded != Input::npos && padded < end) begin = padded + 1;
  return archive.substr(begin, end + 1 - begin);
}

std::string_view kind_of(const Input& content) {
  if (content.starts_with("PK")) return "torch_archive";
  if (content.starts_with("\x80\x02\x8a\x0a\x6c\xfc") || content.substr(0, 512).find("ustar") != Input::npos) return "torch_legacy";
  if (content.starts_with("\x80")) return content.find("TensorStorageMetadata") != Input::npos ? "distributed" : "torch_pickle";
  return "safetensors";
}

// The checksum that a central directory says for data.pkl, corrected, so that mutations of the pickle get past it.
void mend_checksum(Input& archive) {
  const size_t name = archive.rfind("/data.pkl");
  const Input pickle = pickle_in(archive);
  const size_t record = name == Input::npos ? name : archive.rfind(std::string_view("PK\1\2", 4), name);
  if (pickle.empty() || record == Input::npos || record + 20 > archive.size()) return;
  const uint32_t crc = dinoxx::zip_crc32(std::as_bytes(std::span(pickle)));
  std::memcpy(archive.data() + record + 16, &crc, 4);
}

// Where the input stands while it runs; shared memory, so that it survives a crash.
class CrashFile {
 public:
  explicit CrashFile(const std::string& path) {
    if (path.empty()) return;
    fd_ = ::open(path.c_str(), O_RDWR | O_CREAT | O_TRUNC, 0666);
  }
  ~CrashFile() {
    if (fd_ >= 0) ::close(fd_);
  }
  void put(const Input& input) {
    if (fd_ < 0) return;
    if (::ftruncate(fd_, static_cast<off_t>(input.size())) != 0 || ::pwrite(fd_, input.data(), input.size(), 0) < 0)
      std::perror("crash file");
  }

 private:
  int fd_ = -1;
};

// Whether a place of the map has a number of hits (1, 2, 3, 4-7, 8-15, ...) that was not seen there before.
bool reaches_new_code(std::vector<uint8_t>& seen) {
  bool fresh = false;
  for (size_t i = 0; i < map_size; ++i) {
    if (!hits[i]) continue;
    const uint8_t bucket = static_cast<uint8_t>(hits[i] < 4     ? 1 << (hits[i] - 1)
                                                : hits[i] < 8   ? 8
                                                : hits[i] < 16  ? 16
                                                : hits[i] < 32  ? 32
                                                : hits[i] < 128 ? 64
                                                                : 128);
    if (seen[i] & bucket) continue;
    seen[i] |= bucket;
    fresh = true;
  }
  return fresh;
}

}  // namespace

extern "C" void __sanitizer_cov_trace_pc();
extern "C" __attribute__((visibility("default"))) void __sanitizer_cov_trace_pc() {
  if (!recording) return;
  const auto here = reinterpret_cast<uintptr_t>(__builtin_return_address(0));
  uint8_t& hit = hits[((here ^ previous) * 0x9E3779B97F4A7C15ull >> 32) % map_size];
  if (hit < 255) ++hit;
  previous = here >> 1;
}

int main(int argc, char** argv) {
  using Clock = std::chrono::steady_clock;
  const std::string_view target = argc > 1 ? argv[1] : "";
  const auto entry = target == "safetensors"     ? dinoxx::fuzz::safetensors
                     : target == "torch_archive" ? dinoxx::fuzz::torch_archive
                     : target == "torch_pickle"  ? dinoxx::fuzz::torch_pickle
                     : target == "torch_legacy"  ? dinoxx::fuzz::torch_legacy
                     : target == "distributed"   ? dinoxx::fuzz::distributed
                                                 : nullptr;
  uint64_t runs = UINT64_MAX, seed = 1;
  double seconds = 1e9;
  std::string crash, keep;
  std::vector<Input> corpus;
  for (int i = 2; i < argc; ++i) {
    const std::string_view option = argv[i];
    if (option == "--runs" && i + 1 < argc)
      runs = std::strtoull(argv[++i], nullptr, 10);
    else if (option == "--seconds" && i + 1 < argc)
      seconds = std::strtod(argv[++i], nullptr);
    else if (option == "--seed" && i + 1 < argc)
      seed = std::strtoull(argv[++i], nullptr, 10);
    else if (option == "--crash" && i + 1 < argc)
      crash = argv[++i];
    else if (option == "--keep" && i + 1 < argc)
      keep = argv[++i];
    else {
      std::ifstream file{std::string(option), std::ios::binary};
      Input content{std::istreambuf_iterator<char>(file), {}};
      // seeds of this target's kind alone
      const std::string_view kind = kind_of(content);
      if (target == "torch_pickle" && kind == "torch_archive") content = pickle_in(content);
      if (target == "torch_pickle" ? !content.starts_with("\x80") : kind != target) content.clear();
      if (file && !content.empty()) corpus.push_back(std::move(content));
    }
  }
  if (!entry || corpus.empty()) {
    std::fprintf(stderr,
                 "fuzz_weights: expected safetensors, torch_archive, torch_pickle, torch_legacy or distributed, then options and at least "
                 "one readable seed\n");
    return 2;
  }

  Random random(seed);
  CrashFile crash_file(crash);
  std::vector<uint8_t> seen(map_size);
  const size_t seeds = corpus.size();
  const auto start = Clock::now();
  double slowest = 0;
  uint64_t done = 0;
  const auto passed = [&] { return std::chrono::duration<double>(Clock::now() - start).count(); };
  const auto run = [&](const Input& input) {
    crash_file.put(input);
    std::memset(hits, 0, sizeof hits);
    previous = 0;
    const double before = passed();
    recording = true;
    // a copy of its own size, so that reading behind the end is seen
    const std::vector<uint8_t> bytes(input.begin(), input.end());
    entry(bytes.data(), bytes.size());
    recording = false;
    slowest = std::max(slowest, passed() - before);
    return reaches_new_code(seen);
  };
  for (size_t i = 0; i < seeds; ++i) run(corpus[i]);
  while (done < runs && passed() < seconds) {
    Input input = mutate(corpus, seeds, random);
    if (target == "torch_archive" && random.below(2)) mend_checksum(input);
    if (run(input)) corpus.push_back(std::move(input));
    ++done;
  }
  for (size_t i = 0; !keep.empty() && i < corpus.size(); ++i)
    std::ofstream(std::filesystem::path(keep) / std::to_string(i), std::ios::binary) << corpus[i];
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  std::printf("%s: %llu runs in %.0f s from %zu seeds, %zu inputs kept, %zu places reached, slowest %.2f s, at most %ld MB\n", argv[1],
              static_cast<unsigned long long>(done), passed(), seeds, corpus.size() - seeds,
              static_cast<size_t>(map_size - static_cast<size_t>(std::count(seen.begin(), seen.end(), 0))), slowest,
              usage.ru_maxrss / 1024);
  return 0;
}
