// Images per second of processor time that the loader makes: read, decode, all augmentations of DINO v1, normalised floats in the batch.
//
//   dinoxx_bench_loader FOLDER [--images N] [--workers N] [--global S] [--local S] [--locals N] [--batch B] [--cache] [--stages]
//
// DINOXX_SIMD=generic, avx2, ... in the environment: less than the processor has.
//
// FOLDER: photographs, packed to a temporary folder first, or a packed data folder. The last line is "images_per_core_second <number>".
#include <sys/resource.h>
#include <time.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <map>
#include <string>

#include "data_pipeline/loader/loader.hpp"
#include "data_pipeline/pack/pack.hpp"
#include "dinoxx/base/error.hpp"
#include "kernels/image/image_kernels.hpp"

namespace {

using namespace dinoxx;

double cpu_seconds() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
         1e-6 * static_cast<double>(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
}

double thread_seconds() {
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::string name = (std::filesystem::temp_directory_path() / "dinoxx_bench_XXXXXX").string();
    if (mkdtemp(name.data()) == nullptr) fail("bench", "a temporary folder", name, "Set TMPDIR to a folder that can be written to.");
    path_ = name;
  }
  ~TemporaryFolder() { std::filesystem::remove_all(path_); }
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

std::shared_ptr<const Dataset> open_or_pack(const std::filesystem::path& folder, const TemporaryFolder& temporary) {
  if (std::filesystem::exists(folder / "manifest.json")) return Dataset::open(folder);
  PackOptions options;
  options.input = folder;
  options.out = temporary.path() / "data";
  pack(options);
  return Dataset::open(options.out);
}

// Processor time of each stage by itself, in microseconds per image.
void print_stages(const Dataset& dataset, const ViewPlan& plan) {
  std::vector<uint8_t> bytes;
  Image image;
  SourceImage source;
  ViewScratch scratch;
  std::map<std::string, double> seconds;
  const auto timed = [&](const char* stage, auto&& work) {
    const double begin = thread_seconds();
    work();
    seconds[stage] += thread_seconds() - begin;
  };
  std::vector<float> out(3 * 1024 * 1024);
  const uint64_t count = std::min<uint64_t>(dataset.size(), 500);
  for (int round = 0; round < 2; ++round) {  // the first warms up
    seconds.clear();
    for (uint64_t id = 0; id < count; ++id) {
      timed("1 read", [&] { dataset.read(id, bytes); });
      timed("2 decode", [&] { decode_image(bytes, image); });
      timed("3 turn", [&] { source.assign(image); });
      for (uint32_t v = 0; v < plan.views.size(); ++v) {
        const ViewSpec& view = plan.views[v];
        ViewDraw draw;
        timed("4 draw", [&] { draw = draw_view(image.width, image.height, view, 1, id, v); });
        PlanarImage planes = scratch.planes.image(view.size, view.size);
        timed("5 resize", [&] { resize_bicubic(source, draw.crop, {view.size, view.size, {}, draw.flip}, planes, scratch.resize); });
        if (draw.jitter) {
          timed("6 brightness", [&] { adjust_brightness(planes, static_cast<float>(draw.jitter->brightness)); });
          timed("6 contrast", [&] { adjust_contrast(planes, static_cast<float>(draw.jitter->contrast)); });
          timed("6 saturation", [&] { adjust_saturation(planes, static_cast<float>(draw.jitter->saturation)); });
          timed("6 hue", [&] { adjust_hue(planes, *draw.jitter->hue); });
        }
        if (draw.blur_sigma) timed("7 blur", [&] { gaussian_blur(planes, *draw.blur_sigma, scratch.blur); });
        timed("8 normalize", [&] {
          for (int c = 0; c < 3; ++c)
            kernels::table().normalize(planes.plane[c], planes.pixels(), 0.017f, -2.1f,
                                       out.data() + static_cast<size_t>(c) * planes.pixels());
        });
      }
    }
  }
  double total = 0.0;
  for (const auto& [stage, value] : seconds) {
    std::printf("%-14s %8.1f us/image\n", stage.c_str(), 1e6 * value / static_cast<double>(count));
    total += value;
  }
  std::printf("%-14s %8.1f us/image\n", "sum", 1e6 * total / static_cast<double>(count));
}

int run(int argc, char** argv) {
  std::map<std::string, long> option{{"--images", 1000}, {"--workers", 1}, {"--global", 224},
                                     {"--local", 96},    {"--locals", 8},  {"--batch", 25}};
  bool stages = false, cache = false;
  if (argc < 2) fail_usage("dinoxx_bench_loader", "a folder", "nothing", "Name a folder of photographs or a packed data folder.");
  for (int i = 2; i < argc; ++i) {
    if (std::strcmp(argv[i], "--stages") == 0) {
      stages = true;
    } else if (std::strcmp(argv[i], "--cache") == 0) {
      cache = true;
    } else if (option.contains(argv[i]) && i + 1 < argc) {
      option[argv[i]] = std::atol(argv[i + 1]);
      ++i;
    } else {
      fail_usage("dinoxx_bench_loader", "a known option with its value", argv[i], "See the top of the source file.");
    }
  }
  const TemporaryFolder temporary;
  const auto dataset = open_or_pack(argv[1], temporary);
  const ViewPlan plan = dino_v1_views({.global_size = static_cast<int>(option["--global"]),
                                       .local_size = static_cast<int>(option["--local"]),
                                       .local_count = static_cast<int>(option["--locals"])});
  if (stages) print_stages(*dataset, plan);

  LoaderConfig config;
  config.global_batch = static_cast<int>(option["--batch"]);
  config.workers = static_cast<int>(option["--workers"]);
  config.cache_decoded = cache;
  Loader loader(dataset, dataset->ids(Split::kTrain), plan, config);
  loader.start(0);
  const long warm_up = cache ? static_cast<long>(dataset->size()) : 4l * config.global_batch;
  for (long done = 0; done < warm_up; done += config.global_batch) loader.next();
  loader.stats();
  const double cpu = cpu_seconds();
  const auto wall = std::chrono::steady_clock::now();
  long images = 0;
  double checksum = 0.0;
  while (images < option["--images"]) {
    const Batch& batch = loader.next();
    checksum += batch.groups[0].pixels[0];
    images += config.global_batch;
  }
  const double cpu_used = cpu_seconds() - cpu;
  const double wall_used = std::chrono::duration<double>(std::chrono::steady_clock::now() - wall).count();
  const LoaderStats stats = loader.stats();
  std::printf(
      "level %s, %ld images, %d workers: %.2f s processor time, %.2f s wall; read and decode %.0f us/image, augment %.0f us/image (check "
      "%.3f)\n",
      level_name(kernels::table().level), images, config.workers, cpu_used, wall_used,
      1e6 * stats.decode_seconds / static_cast<double>(images), 1e6 * stats.augment_seconds / static_cast<double>(images), checksum);
  std::printf("images_per_core_second %.1f\n", static_cast<double>(images) / cpu_used);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run(argc, argv);
  } catch (const dinoxx::Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return static_cast<int>(error.exit_code());
  }
}
