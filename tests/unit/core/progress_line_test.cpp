#include "base/progress_line.hpp"

#include <gmock/gmock.h>

#include "base/machine.hpp"

namespace dinoxx {
namespace {

// What a file gets.
class ToFile : public testing::Test {
 protected:
  ~ToFile() override { std::fclose(file_); }
  std::string text() {
    std::string all(4096, '\0');
    std::rewind(file_);
    all.resize(std::fread(all.data(), 1, all.size(), file_));
    return all;
  }
  std::FILE* file_ = std::tmpfile();
};

TEST(TimeLeft, IsThatOfThePartsThatAreLeft) {
  EXPECT_EQ(time_left(0, 10, 5), "");
  EXPECT_EQ(time_left(5, 10, 60), ", 1m00s left");
  EXPECT_EQ(time_left(1, 4, 10), ", 30s left");
  EXPECT_EQ(time_left(10, 10, 60), ", 0s left");
}

TEST(HumanTime, ChangesItsUnits) {
  EXPECT_EQ(human_time(59), "59s");
  EXPECT_EQ(human_time(61), "1m01s");
  EXPECT_EQ(human_time(7260), "2h01m");
}

TEST(TextHash, IsFnv1aAsPublished) {
  EXPECT_EQ(text_hash(""), 0xcbf29ce484222325ull);
  EXPECT_EQ(text_hash("a"), 0xaf63dc4c8601ec8cull);
  EXPECT_EQ(text_hash("foobar"), 0x85944171f73967e8ull);
}

TEST_F(ToFile, LinesAreThinnedOutAndNothingIsRewritten) {
  {
    ProgressLine line(file_, "student: ");
    line.show("first");
    line.show("too soon");
    line.say("a message");
    line.show("the end", /*last=*/true);
    line.clear();
  }
  EXPECT_EQ(text(), "student: first\nstudent: a message\nstudent: the end\n");
}

TEST_F(ToFile, ShortWorkOnImagesSaysNothing) {
  {
    ProgressLine line(file_);
    line.show_images("embed", 5, 10);
    line.show_images("embed", 10, 10);
  }
  EXPECT_EQ(text(), "");
}

}  // namespace
}  // namespace dinoxx
