// Names that are no UTF-8 text, as old archives and other systems leave them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/files.hpp"
#include "base/utf8.hpp"
#include "data_pipeline/format/describe.hpp"
#include "data_pipeline/pack/pack.hpp"
#include "dinoxx/base/error.hpp"
#include "support/image_files.hpp"
#include "support/temporary_folder.hpp"

namespace dinoxx {
namespace {

using testing::AllOf;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::ThrowsMessage;
using testing_support::TemporaryFolder;
using testing_support::write_png;
using testing_support::write_words;

std::set<std::string> keys_of(const std::filesystem::path& data) {
  std::set<std::string> keys;
  const auto set = Dataset::open(data);
  for (uint64_t id = 0; id < set->size(); ++id) keys.insert(set->key(id));
  return keys;
}

TEST(Names, BytesThatAreNoTextAreKeptAsEscapes) {
  const TemporaryFolder folder;
  write_png(folder / "in/h\xFCnd/caf\xE9.png", 1);
  write_png(folder / "in/katze/\xC3\xA9.png", 2);
  PackOptions options;
  options.input = folder / "in";
  options.out = folder / "out";
  const PackReport report = pack(options);
  EXPECT_THAT(report.warnings, Contains(AllOf(HasSubstr("1 names with bytes that are no UTF-8"), HasSubstr("h\\xfcnd/caf\\xe9.png"))));
  EXPECT_THAT(keys_of(folder / "out"), ElementsAre("h\\xfcnd/caf\\xe9.png", "katze/\xC3\xA9.png"));
  EXPECT_THAT(Dataset::open(folder / "out")->class_names(), ElementsAre("h\\xfcnd", "katze"));
  EXPECT_TRUE(is_utf8(read_text(folder / "out/manifest.json")));
  EXPECT_TRUE(is_utf8(describe_data(folder / "out").text));
}

TEST(Names, AListNamesSuchFilesByTheirEscapes) {
  const TemporaryFolder folder;
  write_png(folder / "caf\xE9.png", 1);
  write_png(folder / "caf\\xe8.png", 2);  // a file that is really called so
  write_words(folder / "list.csv", "path\ncaf\\xe9.png\ncaf\\xe8.png\n");
  PackOptions options;
  options.source = PackOptions::Source::kList;
  options.input = folder / "list.csv";
  options.out = folder / "out";
  pack(options);
  EXPECT_THAT(keys_of(folder / "out"), ElementsAre("caf\\x5cxe8.png", "caf\\xe9.png"));
}

TEST(Names, ListsInOtherEncodingsAreRefusedByName) {
  const TemporaryFolder folder;
  write_png(folder / "caf\xE9.png", 1);
  PackOptions options;
  options.source = PackOptions::Source::kList;
  options.input = folder / "list.csv";
  options.out = folder / "out";
  write_words(folder / "list.csv", "path,label\ncaf\xE9.png,tr\xE8s\n");
  EXPECT_THAT([&] { pack(options); }, ThrowsMessage<UsageError>(AllOf(
                                          HasSubstr("list.csv, line 2: expected UTF-8 text, found byte 0xe9 in \"caf\\xe9.png,tr\\xe8s\""),
                                          HasSubstr("Latin-1"), HasSubstr("iconv -f WINDOWS-1252"))));
  write_words(folder / "list.csv", std::string_view("\xFF\xFEp\0a\0", 6));
  EXPECT_THAT([&] { pack(options); }, ThrowsMessage<UsageError>(HasSubstr("one in UTF-16")));
}

}  // namespace
}  // namespace dinoxx
