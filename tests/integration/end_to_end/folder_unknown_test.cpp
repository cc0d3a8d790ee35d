// dinoxx predict and pictures of a kind that it has not learned from.
#include <fmt/format.h>
#include <gmock/gmock.h>

#include <algorithm>
#include <map>
#include <sstream>

#include "base/files.hpp"
#include "base/rng.hpp"
#include "dinoxx/data_pipeline/dataset.hpp"
#include "image_files.hpp"
#include "program.hpp"

namespace dinoxx {
namespace {

using nlohmann::json;
using testing::HasSubstr;
using namespace testing_support;

// Path -> column -> field, of a table whose fields have no commas.
std::map<std::string, std::map<std::string, std::string>> table_of(const std::string& path) {
  std::istringstream text(read_text(path));
  std::vector<std::string> names;
  std::map<std::string, std::map<std::string, std::string>> rows;
  for (std::string line; std::getline(text, line);) {
    std::vector<std::string> fields;
    std::istringstream parts(line);
    for (std::string field; std::getline(parts, field, ',');) fields.push_back(field);
    if (names.empty()) {
      names = fields;
      continue;
    }
    for (size_t i = 0; i < fields.size(); ++i) rows[fields[0]][names.at(i)] = fields[i];
  }
  return rows;
}

TEST(UnknownPictures, AreNotAnsweredAndThoseOfTheSameKindAre) {
  Workshop& shop = Workshop::get();
  const auto data = Dataset::open(shop.data());
  const std::filesystem::path pictures = shop.folder / "unknown";
  // test images of the set: of the kind that was learned from
  std::vector<uint8_t> bytes;
  size_t same_kind = 0;
  for (const uint64_t id : data->ids(Split::kTest)) {
    data->read(id, bytes);
    write_bytes(pictures / fmt::format("same{}.png", id), bytes);
    ++same_kind;
  }
  // textures have no such light, and no such noise; by name the first, so that they are among those that are listed
  const std::vector<std::string> others{"all_white.png", "all_black.png", "all_noise.png"};
  Image noise{32, 32, std::vector<uint8_t>(32 * 32 * 3)};
  CounterRng rng(1, 0, 0, Purpose::kEval);
  for (uint8_t& value : noise.data) value = rng.bernoulli(0.5) ? 255 : 0;
  write_bytes(pictures / others[0], encode_png({32, 32, std::vector<uint8_t>(32 * 32 * 3, 255)}));
  write_bytes(pictures / others[1], encode_png({32, 32, std::vector<uint8_t>(32 * 32 * 3, 0)}));
  write_bytes(pictures / others[2], encode_png(noise));

  const std::string out = (shop.folder / "unknown.csv").string();
  const RunResult run = dinoxx_run("predict --checkpoint " + shop.run().string() + " --data " + shop.data().string() + " --images " +
                                   pictures.string() + " --out " + out);
  ASSERT_EQ(run.code, 0) << run.output;
  const json summary = json_file(shop.folder / "unknown.json");
  const double limit = summary["known"]["up_to_distance"];
  auto table = table_of(out);
  ASSERT_EQ(table.size(), same_kind + others.size());
  size_t known = 0;
  std::vector<std::string> unknown;
  for (auto& [path, row] : table) {
    const bool far = std::stod(row["distance"]) > limit;
    EXPECT_EQ(row["unknown"], far ? "yes" : "") << path;
    EXPECT_NE(row["closest"], "") << path;
    EXPECT_EQ(row["predicted"], far ? "" : row["closest"]) << path;
    if (far) unknown.push_back(path);
    if (path.starts_with("same") && !far) ++known;
  }
  EXPECT_GE(known * 4, same_kind * 3);
  std::vector<std::string> listed;
  for (const json& one : summary["images"]["unknown"]) listed.push_back(one["path"]);
  std::sort(listed.begin(), listed.end());
  EXPECT_EQ(listed, unknown);
  for (const std::string& other : others) {
    EXPECT_THAT(unknown, testing::Contains(other)) << "distance " << table[other]["distance"] << " of " << limit;
    EXPECT_EQ(table[other]["probability"], "");
    EXPECT_THAT(run.output, HasSubstr("unknown: " + other + ": unlike every training image (distance "));
  }
}

}  // namespace
}  // namespace dinoxx
