// Names with any bytes as text, and JSON of them.
#include "base/utf8.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "base/json_text.hpp"

namespace dinoxx {
namespace {

TEST(Utf8, EscapesAreReversibleAndDifferForDifferentBytes) {
  EXPECT_EQ(escaped("plain \xC3\xA9 \xF0\x9F\x90\xB1.jpg"), "plain \xC3\xA9 \xF0\x9F\x90\xB1.jpg");
  EXPECT_EQ(escaped("caf\xE9.jpg"), "caf\\xe9.jpg");
  EXPECT_EQ(escaped("caf\\xe9.jpg"), "caf\\x5cxe9.jpg");  // a name that looks like one
  EXPECT_EQ(escaped("a\\b"), "a\\b");
  EXPECT_EQ(escaped("two\nlines\x1B[31m"), "two\\x0alines\\x1b[31m");
  for (int a = 0; a < 256; ++a)
    for (const int b : {0x00, 0x41, 0x5C, 0x80, 0x9F, 0xA0, 0xBF, 0xC2, 0xE0, 0xED, 0xF4, 0xFF}) {
      const std::string bytes = std::string("\\x") + static_cast<char>(a) + static_cast<char>(b) + '\\' + static_cast<char>(b);
      EXPECT_TRUE(is_utf8(escaped(bytes)));
      EXPECT_EQ(unescaped(escaped(bytes)), bytes);
    }
}

TEST(JsonText, BytesThatAreNoTextDoNotThrowAndAreNotLost) {
  nlohmann::json value = {{"path", "caf\xE9"}, {"list", {1, "\xFF\xFE", nullptr, 0.5}}, {"good", "\xC3\xA9"}};
  value["k\xE9y"] = true;
  const nlohmann::json back = nlohmann::json::parse(json_text(value, 2));
  EXPECT_EQ(back["path"], "caf\\xe9");
  EXPECT_EQ(back["list"][1], "\\xff\\xfe");
  EXPECT_EQ(back["k\\xe9y"], true);
  EXPECT_EQ(back["good"], "\xC3\xA9");
  EXPECT_EQ(json_text({{"a", {1, 2}}}), R"({"a":[1,2]})");
}

}  // namespace
}  // namespace dinoxx
