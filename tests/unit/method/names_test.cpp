// A method's name stands in its own file and nowhere else in the program: what differs between methods is a property of their table.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "method/methods.hpp"
#include "source_dir.hpp"

namespace dinoxx {
namespace {

namespace fs = std::filesystem;

// Where the same word names another thing. `part`: of the line.
struct Exception {
  const char *file, *part, *why;
};
constexpr Exception kExceptions[] = {
    {"training_config.cpp", "\"train.method\"", "the default of the key"},
    {"model_config.cpp", "\"model.style\", \"dino\"", "a style"},
    {"mask_config.cpp", "{\"auto\", \"none\", \"dinov2\"", "mask schemes"},
    {"distill.cpp", ".mask = ", "a mask scheme"},
    {"simdinov2.cpp", ".mask = ", "a mask scheme"},
    {"masks.cpp", "names = {\"dinov2\"", "mask schemes"},
    {"masks.hpp", "/// \"dinov2\"", "mask schemes"},
    {"view_profiles.cpp", ".name = \"", "view profiles"},
    {"fastsiam.cpp", ".profile = ", "a view profile"},
    {"vicreg.cpp", ".profile = ", "a view profile"},
    {"barlow_twins.cpp", ".profile = ", "a view profile"},
    {"vit_config.hpp", "style = \"dino\"", "a style"},
    {"vit_config.cpp", "kStyles", "styles"},
    {"vit_config.cpp", "style == \"", "a style"},
    {"published_recognize.cpp", "r.style = ", "styles"},
    {"export.cpp", "\"model_type\"", "model types of transformers"},
    {"facts.cpp", "r.style == ", "a style"},
    {"facts_beside.cpp", "\"dinov2_with_registers\"", "model types of transformers"},
    {"facts_beside.cpp", "\"tipsv2\"", "families of published files"},
    {"facts_beside.cpp", "architecture.find", "names of timm"},
    {"follow_weights.cpp", "style = \"dino", "styles"},
    {"prototype_terms.cpp", "return {\"dino\"", "the loss"},
    {"traffic.cpp", "has_term(spec, \"dino\")", "the loss"},
};

// Methods of two views and those without prototypes have folders of their own.
fs::path file_of(const Method& method) {
  const fs::path folder = source_dir() / "src/method", file = method.name + ".cpp";
  for (const char* of_kind : {"two_views", "without_prototypes"})
    if (fs::exists(folder / of_kind / file)) return folder / of_kind / file;
  return folder / file;
}

bool is_exception(const std::string& file, const std::string& line) {
  for (const Exception& e : kExceptions)
    if (file == e.file && line.find(e.part) != std::string::npos) return true;
  return false;
}

TEST(Methods, AreNamedInTheirOwnFileAlone) {
  int files = 0, seen = 0;
  for (const char* folder : {"src", "data_pipeline", "include"}) {
    for (const auto& entry : fs::recursive_directory_iterator(source_dir() / folder)) {
      const std::string file = entry.path().filename().string(), ending = entry.path().extension().string();
      if (ending != ".cpp" && ending != ".hpp" && ending != ".cu" && ending != ".inc") continue;
      ++files;
      std::ifstream stream(entry.path());
      std::string line;
      for (int number = 1; std::getline(stream, line); ++number) {
        EXPECT_EQ(line.find("train.method == "), std::string::npos) << entry.path() << ":" << number << " asks for a method by name";
        for (const Method& method : methods()) {
          if (line.find('"' + method.name + '"') == std::string::npos) continue;
          ++seen;
          const bool own = fs::equivalent(entry.path(), file_of(method));
          EXPECT_TRUE(own || is_exception(file, line)) << entry.path() << ":" << number << ": " << line;
        }
      }
    }
  }
  EXPECT_GT(files, 100);
  EXPECT_GE(seen, static_cast<int>(methods().size()));
}

// The file of a method is there, under its name.
TEST(Methods, HaveAFileEach) {
  for (const Method& method : methods()) EXPECT_TRUE(fs::exists(file_of(method))) << method.name;
}

}  // namespace
}  // namespace dinoxx
