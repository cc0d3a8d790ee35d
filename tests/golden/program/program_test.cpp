// The program as it ships, pack and train on one and on two ranks, against values that make_program.py computed from the same images: what
// metrics.jsonl says of each step and what the checkpoint holds. Other golden tests call the parts; this one holds what joins them: loop,
// schedules, seeds, saving.
#include <ATen/ATen.h>
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>

#include "base/files.hpp"
#include "dinoxx/data_pipeline/dataset.hpp"
#include "golden.hpp"
#include "image_files.hpp"
#include "method/method.hpp"
#include "method/methods.hpp"
#include "method/settings/resolve.hpp"
#include "method/teacher_config.hpp"
#include "model/weights/backbone_json.hpp"
#include "model/weights/weights.hpp"
#include "program.hpp"
#include "source_dir.hpp"

namespace dinoxx {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using namespace testing_support;

constexpr int64_t kHeight = 20, kWidth = 24, kTrain = 24, kImages = 28;

// The images of make_program.py, in exact arithmetic: squares of 4 pixels and noise, [H, W, 3].
at::Tensor pixels(int64_t number) {
  const auto whole = [](const at::Tensor& uniform) { return uniform.add(1).mul(64).floor(); };
  const at::Tensor coarse = whole(golden::uniform(fmt::format("image{}/coarse", number), {kHeight / 4, kWidth / 4, 3}));
  const at::Tensor fine = whole(golden::uniform(fmt::format("image{}/fine", number), {kHeight, kWidth, 3}));
  return (coarse.repeat_interleave(4, 0).repeat_interleave(4, 1) + fine).to(at::kByte).contiguous();
}

Image image(int64_t number) {
  const at::Tensor values = pixels(number);
  const uint8_t* begin = values.const_data_ptr<uint8_t>();
  return {static_cast<int>(kWidth), static_cast<int>(kHeight), {begin, begin + values.numel()}};
}

std::string key(int64_t number) {
  return fmt::format("{}/{}/{:02}.png", number < kTrain ? "train" : "val", number % 2 == 0 ? "a" : "b", number);
}

// Packed once for all runs.
class Packed {
 public:
  static const Packed& get() {
    static const Packed packed;
    return packed;
  }
  const TemporaryFolder folder;
  fs::path data() const { return folder.path() / "data"; }

 private:
  Packed() {
    for (int64_t number = 0; number < kImages; ++number) write_bytes(folder / "images" / key(number), encode_png(image(number)));
    const RunResult result = dinoxx_run("pack --from-folder " + (folder / "images").string() + " --out " + data().string());
    if (result.code != 0) throw std::runtime_error(result.output);
  }
};

TEST(Program, PacksTheImagesThatTheScriptDrew) {
  const auto dataset = Dataset::open(Packed::get().data());
  ASSERT_EQ(dataset->size(), static_cast<uint64_t>(kImages));
  std::vector<uint8_t> bytes;
  Image packed;
  for (uint64_t id = 0; id < dataset->size(); ++id) {
    const std::string name = dataset->key(id);
    dataset->read(id, bytes);
    decode_image(bytes, packed);
    EXPECT_EQ(packed.data, image(std::stoll(name.substr(name.size() - 6))).data) << name;
  }
}

struct Case {
  std::string method;
  int ranks = 1;
};
void PrintTo(const Case& c, std::ostream* out) {
  *out << c.method << " on " << c.ranks << (c.ranks == 1 ? " rank" : " ranks");
}

// Parameters of a rank's file are stored in pieces, "buffer/name[begin:end]"; here they are joined over all ranks. What is no piece is left
// out.
std::map<std::string, at::Tensor> joined(const fs::path& checkpoint, const std::string& buffer) {
  std::map<std::string, std::map<int64_t, at::Tensor>> pieces;
  for (const auto& entry : fs::directory_iterator(checkpoint)) {
    if (!entry.path().filename().string().starts_with("rank_")) continue;
    const SafetensorsFile file(entry.path());
    for (const auto& [name, view] : file.tensors()) {
      const size_t open = name.rfind('[');
      if (!name.starts_with(buffer + "/") || open == std::string::npos) continue;
      const std::string parameter = name.substr(buffer.size() + 1, open - buffer.size() - 1);
      pieces[parameter][std::stoll(name.substr(open + 1))] = to_tensor(view);
    }
  }
  std::map<std::string, at::Tensor> all;
  for (const auto& [name, parts] : pieces) {
    std::vector<at::Tensor> in_order;
    for (const auto& [begin, part] : parts) in_order.push_back(part);
    all[name] = at::cat(in_order);
  }
  return all;
}

class ProgramRun : public testing::TestWithParam<Case> {
 protected:
  void train() {
    const fs::path settings = folder_ / "run.cfg";
    const auto part = [](const std::string& name) { return read_text(golden_dir().parent_path() / "program" / (name + ".cfg")); };
    const std::string text = part("common") + part(GetParam().method);
    std::ofstream(settings) << text;
    std::string line =
        fmt::format("train --config {} --data {} --out {}", settings.string(), Packed::get().data().string(), run().string());
    if (GetParam().method.starts_with("distill")) line += " --teacher.distill " + (golden_dir() / "program_teacher.safetensors").string();
    write_first_weights(text);
    line += " --model.init_from " + first_weights().string();
    const RunResult result = dinoxx_run(line, GetParam().ranks == 1 ? 0 : GetParam().ranks);
    ASSERT_EQ(result.code, 0) << result.output;
    ASSERT_TRUE(fs::exists(checkpoint())) << result.output;
  }
  // As a run leaves a teacher behind, with the values that script and test give each name.
  void write_first_weights(const std::string& settings) const {
    Config config = default_config();
    if (GetParam().method.starts_with("distill")) config.teacher->distill = "given";
    apply_settings(config, parse_settings(settings, "run.cfg"));
    const MethodSpec spec = make_method(resolve_config(config, kTrain, 1));
    const Network network(spec.network, at::kFloat);
    golden::fill_parameters(network.parameters());
    std::map<std::string, TensorView> views;
    for (const NamedTensors& list : {network.parameters(), network.buffers()})
      for (const auto& [name, tensor] : list) views[name] = view_of(tensor);
    write_safetensors(first_weights(), views, {{"dinoxx.backbone", to_json(network.backbone().config()).dump()}});
  }
  static TensorView view_of(const at::Tensor& tensor) {
    const DType type = tensor.scalar_type() == at::kLong ? DType::kI64 : DType::kF32;
    return {type, tensor.sizes().vec(), {static_cast<const std::byte*>(tensor.const_data_ptr()), tensor.nbytes()}};
  }
  fs::path first_weights() const { return folder_ / "teacher.safetensors"; }
  fs::path run() const { return folder_ / "run"; }
  fs::path checkpoint() const { return run() / "checkpoints" / "step_00000008"; }

  // Names and values of one of the script's networks.
  void compare(const std::string& which, const std::map<std::string, at::Tensor>& actual) {
    for (const auto& [name, tensor] : actual) {
      at::Tensor compared = tensor;
      // the part for keys has no effect, so Adam makes full steps of its rounding noise: the script leaves it out too
      if (name.ends_with("attn.qkv.bias")) {
        const std::vector<at::Tensor> parts = tensor.reshape(-1).chunk(3);
        compared = at::cat({parts[0], parts[2]});
      }
      EXPECT_TRUE(stored_.matches(which + "/" + name, compared, kWeights));
    }
  }

  // Schedules are one formula twice, in float64. The rest is float32, which rounds at 6e-8, against float64 over eight steps: found were at
  // most 2.4e-6, 5.2e-6 and 4.2e-6 (BYOL's, whose batch norms raise it most; teachers 1e-6).
  static constexpr double kSchedule = 1e-12;  // of the value
  static constexpr double kLoss = 5e-6;       // of the value, KoLeo's of the largest
  static constexpr double kGradient = 3e-5;   // of the value
  static constexpr double kWeights = 1e-5;    // of the largest in the tensor
  golden::Fixture stored_{"program_" + GetParam().method};
  TemporaryFolder folder_;
};

TEST_P(ProgramRun, LeavesWhatTheScriptComputed) {
  ASSERT_NO_FATAL_FAILURE(train());

  // metrics.jsonl
  std::vector<json> lines = json_lines(run() / "metrics.jsonl");
  std::erase_if(lines, [](const json& line) { return !line.contains("loss"); });
  const std::string prefix = "metrics/";
  int columns = 0;
  for (const std::string& name : stored_.names()) {
    if (!name.starts_with(prefix)) continue;
    ++columns;
    const std::string column = name.substr(prefix.size());
    const at::Tensor expected = stored_.tensor(name);
    ASSERT_EQ(static_cast<int64_t>(lines.size()), expected.numel());
    const double allowed = column.ends_with("loss") || column == "coding_rate" ? kLoss : column == "grad_norm" ? kGradient : kSchedule;
    for (int64_t step = 0; step < expected.numel(); ++step) {
      const json& line = lines[static_cast<size_t>(step)];
      ASSERT_EQ(line["step"], step + 1);
      const double value = expected[step].item<double>();
      if (value == 0 && !line.contains(column)) continue;  // a term that has not begun has no figure
      ASSERT_TRUE(line.contains(column)) << column << " at step " << step + 1;
      const json& found = line[column];
      const double actual = found.is_boolean() ? static_cast<double>(found.get<bool>()) : found.get<double>();
      const double scale = column == "koleo_loss" ? expected.abs().max().item<double>() : std::abs(value);  // KoLeo passes through 0
      EXPECT_NEAR(actual, value, allowed * scale) << column << " at step " << step + 1;
    }
  }
  EXPECT_GE(columns, 5);

  // the teacher that is handed on
  const SafetensorsFile whole(checkpoint() / "teacher.safetensors"), backbone(checkpoint() / "backbone.safetensors");
  std::map<std::string, at::Tensor> teacher;
  size_t of_backbone = 0;
  for (const auto& [name, view] : whole.tensors()) {
    teacher[name] = to_tensor(view);
    if (!name.starts_with("backbone.")) continue;
    ++of_backbone;
    EXPECT_TRUE(at::equal(to_tensor(backbone.at(name.substr(9))), teacher[name])) << name;
  }
  EXPECT_EQ(backbone.tensors().size(), of_backbone);
  compare("teacher", teacher);
  const std::vector<std::string> names = stored_.names();
  EXPECT_EQ(static_cast<size_t>(std::ranges::count_if(names, [](const auto& name) { return name.starts_with("teacher/"); })),
            teacher.size());

  // and the state that a resumed run goes on with
  const auto saved_teacher = joined(checkpoint(), "teacher"), saved_student = joined(checkpoint(), "student");
  ASSERT_FALSE(saved_teacher.empty());
  ASSERT_EQ(saved_student.size(), saved_teacher.size());
  compare("student", [&] {
    std::map<std::string, at::Tensor> shaped;
    for (const auto& [name, values] : saved_student) shaped[name] = values.view(teacher.at(name).sizes());
    return shaped;
  }());
  size_t different = 0;
  for (const auto& [name, values] : saved_teacher) {
    ASSERT_TRUE(teacher.contains(name)) << name;
    EXPECT_TRUE(at::equal(values, teacher[name].reshape(-1))) << name;
    different += at::equal(values, saved_student.at(name)) ? 0 : 1;
  }
  if (find_method(GetParam().method).teacher == TeacherPolicy::kNone)
    EXPECT_EQ(different, 0u) << "no teacher: the student is handed on";
  else
    EXPECT_GT(different, saved_teacher.size() / 2) << "the teacher is an average, not the student";
  const SafetensorsFile first(checkpoint() / fmt::format("rank_00000_of_{:05}.safetensors", GetParam().ranks));
  const std::string of_student = "student.buffer/";
  std::map<std::string, at::Tensor> statistics;
  for (const auto& [name, view] : first.tensors())
    if (name.starts_with(of_student)) statistics[name.substr(of_student.size())] = to_tensor(view);
  compare("student", statistics);
  for (const char* centre : {"centre", "patch_centre"}) {
    ASSERT_EQ(stored_.has(centre), first.tensors().contains(centre)) << centre;
    if (stored_.has(centre)) {
      EXPECT_TRUE(stored_.matches(centre, to_tensor(first.at(centre)), kWeights));
    }
  }
}

std::vector<Case> cases() {
  std::vector<Case> all;
  for (const std::string& method : method_names())
    for (const int ranks : {1, 2}) all.push_back({method, ranks});
  return all;
}
INSTANTIATE_TEST_SUITE_P(Methods, ProgramRun, testing::ValuesIn(cases()),
                         [](const auto& info) { return fmt::format("{}_{}", info.param.method, info.param.ranks); });

}  // namespace
}  // namespace dinoxx
