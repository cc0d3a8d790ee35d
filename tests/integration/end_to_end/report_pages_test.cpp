// Pages in a validator and in a real browser: at the width of a desk and of a phone, light and dark, on paper.
#include <gmock/gmock.h>

#include <cstdlib>
#include <fstream>

#include "base/files.hpp"
#include "program.hpp"

namespace dinoxx::testing_support {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

class Browser {
 public:
  explicit Browser(const fs::path& scratch) : scratch_(scratch) {}
  /// What the browser prints; "" when it fails.
  std::string run(const std::string& arguments) const {
    const fs::path out = scratch_ / "browser.out";
    const std::string command =
        std::string(DINOXX_CHROMIUM) +
        " --headless=new --no-sandbox --disable-gpu --disable-dev-shm-usage --hide-scrollbars --allow-file-access-from-files "
        "--disable-web-security --enable-logging=stderr --user-data-dir=" +
        (scratch_ / "browser").string() + " " + arguments + " > " + out.string() + " 2> " + log().string();
    return std::system(command.c_str()) == 0 ? read_text(out) : "";
  }
  fs::path log() const { return scratch_ / "browser.log"; }
  const fs::path& scratch() const { return scratch_; }

 private:
  fs::path scratch_;
};

// Windows have a least width, frames have none: the page inside one, measured from outside.
void expect_rendered(const Browser& browser, const fs::path& page, int width, bool dark) {
  SCOPED_TRACE(page.string() + " at " + std::to_string(width) + (dark ? " dark" : " light"));
  const fs::path frame = browser.scratch() / "frame.html";
  std::ofstream(frame) << "<!DOCTYPE html><title>not loaded</title><iframe style=\"border:0;width:" << width
                       << "px;height:800px\" src=\"file://" << page.string()
                       << "\" onload=\"const d = this.contentDocument; document.title = 'width ' + "
                       << "d.documentElement.scrollWidth + ', ' + [...d.images].filter(i => !i.naturalWidth).length + ' broken, ' + "
                       << "getComputedStyle(d.body).backgroundColor\"></iframe>";
  const std::string dom =
      browser.run(std::string("--blink-settings=preferredColorScheme=") + (dark ? "0" : "1") + " --dump-dom file://" + frame.string());
  EXPECT_THAT(dom, HasSubstr("<title>width " + std::to_string(width) + ", 0 broken, rgb(" + (dark ? "15, 20, 25" : "255, 255, 255") + ")"));
  EXPECT_THAT(read_text(browser.log()), Not(HasSubstr("CONSOLE")));
}

void expect_printed(const Browser& browser, const fs::path& page) {
  const fs::path paper = browser.scratch() / "page.pdf";
  fs::remove(paper);
  browser.run("--print-to-pdf=" + paper.string() + " file://" + page.string());
  ASSERT_TRUE(fs::exists(paper)) << page;
  EXPECT_THAT(read_text(paper), StartsWith("%PDF"));
  EXPECT_GT(fs::file_size(paper), 20000u);
}

void expect_screenshot(const Browser& browser, const fs::path& page) {
  const fs::path picture = browser.scratch() / "page.png";
  fs::remove(picture);
  browser.run("--window-size=1280,2000 --screenshot=" + picture.string() + " file://" + page.string());
  ASSERT_TRUE(fs::exists(picture)) << page;
  EXPECT_GT(fs::file_size(picture), 20000u);  // a blank page of this size takes less than 10,000
}

void expect_valid(const fs::path& page, const fs::path& scratch) {
  const fs::path log = scratch / "tidy.log";
  // warnings (an empty span) are no errors
  const std::string command =
      std::string(DINOXX_TIDY) + " -q -e --show-warnings no " + page.string() + " > " + log.string() + " 2>&1 || test $? -lt 2";
  EXPECT_EQ(std::system(command.c_str()), 0) << page << "\n" << read_text(log);
}

// A run, a whole ladder with fine-tuning, runs side by side, several checkpoints side by side.
TEST(ReportPages, AreValidAndRenderInABrowserWithoutAWordOnItsConsole) {
  const bool tidy = !std::string(DINOXX_TIDY).empty(), chromium = !std::string(DINOXX_CHROMIUM).empty();
  if (!tidy && !chromium) GTEST_SKIP() << "neither tidy nor Chromium here: launch/setup.sh --tests installs them";
  Workshop& workshop = Workshop::get();
  const fs::path run = workshop.run(), out = workshop.folder.path() / "evaluated", side = workshop.folder.path() / "runs.html";
  ASSERT_EQ(dinoxx_run("report " + run.string()).code, 0);
  ASSERT_EQ(dinoxx_run("eval --checkpoint " + run.string() + " --data " + workshop.data().string() +
                       " --protocol all,finetune --finetune.methods lora --finetune.epochs 1 --baselines raw --out " + out.string())
                .code,
            0);
  ASSERT_EQ(dinoxx_run("compare " + run.string() + " --html " + side.string()).code, 0);
  const fs::path several = workshop.folder.path() / "several", early = run / "checkpoints" / "step_00000003";
  ASSERT_EQ(dinoxx_run("eval --checkpoint " + run.string() + " --checkpoint " + early.string() + " --data " + workshop.data().string() +
                       " --protocol knn,few_shot,clustering --out " + several.string())
                .code,
            0);
  const std::string whole = read_text(out / "report.html");
  for (const char* part :
       {"fine-tuning, LoRA", "linear probe, best head", "Points matched correctly in a warped cop", "Linear segmentation of patch features",
        "Attention of CLS against the masks", "Episodes: few classes", "first three principal components as colours"})
    EXPECT_THAT(whole, HasSubstr(part));
  EXPECT_THAT(whole, Not(HasSubstr("Not run: results.json has no such results")));
  const std::string not_run = whole.substr(whole.find("id=\"not-run\""), whole.find("id=\"protocol\"") - whole.find("id=\"not-run\""));
  EXPECT_THAT(not_run, Not(HasSubstr("<strong>")));  // no step; what raw pixels cannot do stands there
  const Browser browser(workshop.folder.path());
  for (const fs::path& page : {out / "report.html", run / "report.html", side, several / "comparison.html"}) {
    if (tidy) expect_valid(page, workshop.folder.path());
    if (!chromium) continue;
    for (const int width : {1280, 390})
      for (const bool dark : {false, true}) expect_rendered(browser, page, width, dark);
    expect_printed(browser, page);
  }
  if (chromium) expect_screenshot(browser, out / "report.html");
  if ((!tidy || !chromium) && !HasFailure())
    GTEST_SKIP() << "no " << (tidy ? "Chromium" : "tidy") << " here: launch/setup.sh --tests installs it";
}

}  // namespace
}  // namespace dinoxx::testing_support
