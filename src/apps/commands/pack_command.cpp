#include "apps/commands.hpp"
#include "apps/pack_options.hpp"
#include "base/machine.hpp"
#include "base/progress_line.hpp"
#include "base/signals.hpp"
#include "dinoxx/base/error.hpp"

namespace dinoxx {
namespace {

constexpr const char* kUsage =
    R"(dinoxx pack: packs images into a data folder, once, so that training reads them fast and finds every damaged byte.

  dinoxx pack --from-folder photos --out data             photos/cat/1.jpg, photos/dog/2.png: the folder's name is the label
  dinoxx pack --from-folder photos --out data --val-fraction 0.1 --test-fraction 0.2
  dinoxx pack --from-folder set --out data                set/train/cat/1.jpg, set/val/..., set/test/...: splits are taken over
                                                          (also training, validation, dev, testing, test_set ...; all or none of the folders)
  dinoxx pack --from-folder unsorted --out data           unsorted/1.jpg: no labels; enough for training
  dinoxx pack --list images.csv --out data                header path,label,label_site,split,group,mask,weight; all but path
                                                          optional; every column label... is one of labels (dinoxx eval --label, --by);
                                                          a column "labels" may have several an image: cat;dog (--protocol multi_label)
  dinoxx pack --toy textures --count 6000 --out data      a drawn set for a first try; scenes: small objects on backgrounds

JPEG and PNG. Every image is decoded once to prove it; bad ones are left out and listed in data/bad.csv. Faults that cost no pixel are no reason:
such images are packed and listed in data/faults.csv (--tolerance). The data folder is complete as soon as it has a manifest.json.
The same command again does nothing; after an interruption it goes on. --append adds what DATA does not have.
At the end stands a pre-flight report: splits by class, groups and copies on several sides, values, what was left out, names that may be mistakes. With
--strict a warning is an error. The same with "dinoxx info --data data".
)";

void print_report(const PackReport& report, const std::string& out) {
  if (report.gone_on_at > 0) fmt::print("note: went on after {} images that an interrupted pack had done\n", report.gone_on_at);
  fmt::print("pre-flight report\n{}", report.preflight);
  for (const std::string& note : report.notes) fmt::print("note: {}\n", note);
  for (const std::string& warning : report.warnings) fmt::print("warning: {}\n", warning);
  const std::string state = report.already     ? "packed already of the same input, nothing to do: "
                            : report.added > 0 ? fmt::format("{} images added: ", report.added)
                                               : "";
  fmt::print("{}: {}{} images (train {}, val {}, test {}), {}, {:.1f} MB in {} shard{}, fingerprint {}\n", out, state, report.samples,
             report.split_count[0], report.split_count[1], report.split_count[2],
             report.labels_of_lists > 0 ? fmt::format("{} labels, several an image", report.labels_of_lists)
                                        : fmt::format("{} classes", report.classes),
             static_cast<double>(report.bytes) * 1e-6, report.shards, report.shards == 1 ? "" : "s", report.fingerprint);
}

}  // namespace

int run_pack(int argc, char** argv) {
  PackLine line = read_pack_line(argc, argv);
  if (!line.help.empty()) {
    fmt::print("{}\n{}", kUsage, line.help);
    return static_cast<int>(ExitCode::kDone);
  }
  PackReport report;
  {
    const StopSignals signals;
    line.options.stop = [&] { return signals.received() != nullptr; };
    ProgressLine shown(stderr);
    line.options.progress = [&](const PackProgress& p) {
      shown.show_images(p.what, static_cast<int64_t>(p.done), static_cast<int64_t>(p.total),
                        fmt::format(", {} bad, {}", p.bad, human_bytes(static_cast<double>(p.bytes))));
    };
    report = pack(line.options);
  }
  print_report(report, line.options.out.string());
  return static_cast<int>(ExitCode::kDone);
}

}  // namespace dinoxx
