// Names with any bytes as text, and JSON of them.
#include "base/utf8.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "base/json_text.hpp"
#include "base/text/plain_name.hpp"

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

TEST(PlainName, IsOneForNamesThatLookAlike) {
  EXPECT_EQ(plain_name("Big cat"), plain_name("big_Cat"));
  EXPECT_EQ(plain_name("caf\u00e9"), plain_name("Cafe\u0301"));
  EXPECT_NE(plain_name("caf\u00e9"), plain_name("cafe"));
  EXPECT_EQ(plain_name("\u041a\u043e\u0442"), plain_name("\u043a\u043e\u0442"));  // Cyrillic, capital and small
  EXPECT_EQ(plain_name("\u03a9mega"), plain_name("\u03c9mega"));
  EXPECT_EQ(plain_name("\u00c9T\u00c9"), plain_name("\u00e9t\u00e9"));
  EXPECT_EQ(plain_name("STRASSE"), plain_name("Stra\u00dfe"));
  EXPECT_EQ(plain_name("\ufb01sh"), plain_name("Fish"));
  EXPECT_EQ(plain_name("\u0160koda"), plain_name("\u0161KODA"));
  EXPECT_NE(plain_name("\u00d7"), plain_name("\u00f7"));              // times and divided
  EXPECT_EQ(plain_name("\u0419"), plain_name("\u0418\u0306"));        // Cyrillic
  EXPECT_EQ(plain_name("\u1ea5"), plain_name("a\u0302\u0301"));       // Vietnamese: two marks
  EXPECT_EQ(plain_name("\ud55c"), plain_name("\u1112\u1161\u11ab"));  // Korean
  EXPECT_EQ(plain_name("\uac00"), plain_name("\u1100\u1161"));        // without an end
  EXPECT_EQ(plain_name("\u304c"), plain_name("\u304b\u3099"));        // Japanese
  EXPECT_EQ(plain_name("\U0001f415 dog"),
            "\U0001f415"
            "dog");
  EXPECT_EQ(plain_name("caf\xe9"), "caf\xe9");  // Latin-1
  EXPECT_EQ(plain_name("-_ "), "-_ ");
}

}  // namespace
}  // namespace dinoxx
