#include "students.hpp"

#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <map>
#include <numeric>
#include <set>

#include "checkpoint/saved_run.hpp"
#include "comm/agree.hpp"
#include "config/config_fields.hpp"
#include "config/model_keys.hpp"
#include "config/train_keys.hpp"
#include "data_pipeline/augment/mask_config.hpp"
#include "dinoxx/base/error.hpp"
#include "follow_weights.hpp"
#include "history/run_history.hpp"
#include "loss/loss_config.hpp"
#include "method/methods.hpp"
#include "method/settings/resolve.hpp"
#include "method/settings/unread_keys.hpp"
#include "startup.hpp"
#include "step/build.hpp"

namespace dinoxx {
namespace {

namespace fs = std::filesystem;

constexpr const char* kForm = "FILE:RANKS with commas between, such as small.cfg:2,base.cfg:6";

// What the teacher's answers depend on, and what keeps the students in step.
bool shared_by_all(const std::string& key) {
  static const std::set<std::string> keys{"model.patch_size", "model.fit",    "teacher.distill",  "teacher.facts",        "train.method",
                                          "train.batch_size", "train.length", "train.extend",     "train.extend_warmup",  "train.seed",
                                          "train.precision",  "train.device", "checkpoint.every", "checkpoint.keep_every"};
  return keys.contains(key) || key.starts_with("views.") || key.starts_with("mask.");
}

void check_alike(const Student& first, const Config& a, const Student& other, const Config& b) {
  const std::string advice = "Write it into the common configuration (--config) or on the command line";
  const auto differ = [&](const std::string& key, const std::string& mine, const std::string& theirs) {
    if (mine != theirs)
      fail_usage(fmt::format("student {}, {}", other.name, key),
                 fmt::format("\"{}\", as student {} has (images, masks and teacher are shared)", mine, first.name),
                 fmt::format("\"{}\"", theirs), advice);
  };
  for (const Field& field : config_fields())
    if (shared_by_all(field.key)) differ(field.key, field.get(a), field.get(b));
  const auto patches = [](const Config& c) { return *c.loss->patch_weight > 0 ? "more than 0" : "0"; };
  differ("loss.patch_weight", patches(a), patches(b));
}

void check_frozen_teacher(const Student& student) {
  const std::string& name = train_method(student.config);
  const auto shares = [](const Method& method) { return method.teacher == TeacherPolicy::kFrozen && !method.bare_teacher; };
  if (shares(find_method(name))) return;
  std::vector<std::string> names;
  for (const Method& method : methods())
    if (shares(method)) names.push_back(method.name);
  fail_usage(fmt::format("student {}, train.method", student.name), fmt::format("{}", fmt::join(names, " or ")), name,
             "Several students in one job share the answers of a frozen teacher's prototypes: train other methods in jobs of their own");
}

// What all have in common is read by one student at least: the others go without it.
void drop_unread_keys(std::vector<Student>& students, uint64_t images, int cores) {
  std::vector<std::vector<UnreadKey>> unread;
  std::map<const Field*, size_t> count;
  for (const Student& student : students)
    for (const UnreadKey& key : unread.emplace_back(unread_keys(student.config, images, cores, student.ranks))) ++count[key.field];
  for (size_t i = 0; i < students.size(); ++i) {
    Student& student = students[i];
    for (const UnreadKey& key : unread[i]) {
      if (student.own.contains(key.field->key) || count[key.field] == students.size())
        refuse(key, student.config, fmt::format("student {}: ", student.name));
      key.field->set(student.config, key.field->default_text);
    }
  }
}

// The newest of these steps at which the checkpoints of all runs are whole; -1 for none. Collective.
int64_t newest_whole_step(Communicator& job, const std::vector<RunHistory>& runs, const std::vector<int64_t>& steps,
                          const std::string& resume) {
  for (auto step = steps.rbegin(); step != steps.rend(); ++step) {
    std::string damage;
    for (const RunHistory& run : runs)
      if (damage.empty()) damage = damage_of(job, run.checkpoint_folder(*step));
    if (damage.empty()) return *step;
    if (resume == "strict") throw AgreedError(damage, ExitCode::kFailed);
    if (job.rank() == 0) fmt::print("DAMAGED: {} All students go on from an earlier step.\n", damage);
  }
  if (!steps.empty())
    throw AgreedError(
        fmt::format("{}: expected a step at which the checkpoints of all students are whole, found none. Begin anew with another --out.",
                    runs.front().folder().parent_path().string()),
        ExitCode::kFailed);
  return -1;
}

}  // namespace

std::vector<Student> read_students(const std::string& text, const Config& common, const std::vector<Setting>& last) {
  std::vector<Student> students;
  for (size_t begin = 0; begin <= text.size();) {
    const size_t comma = std::min(text.find(',', begin), text.size());
    const std::string item = text.substr(begin, comma - begin);
    begin = comma + 1;
    const size_t colon = item.rfind(':');
    const std::string file = item.substr(0, colon), number = colon == std::string::npos ? "" : item.substr(colon + 1);
    Student student{fs::path(file).stem().string(), 0, common};
    const auto [end, error] = std::from_chars(number.data(), number.data() + number.size(), student.ranks);
    if (student.name.empty() || error != std::errc() || end != number.data() + number.size() || student.ranks < 1)
      fail_usage("--students", kForm, fmt::format("\"{}\"", item), "See \"dinoxx train --help\"");
    for (const Student& before : students)
      if (before.name == student.name)
        fail_usage("--students", "files of different names, which are the students' names", fmt::format("{} twice", student.name),
                   "Rename one");
    const std::vector<Setting> own = read_settings(file);
    check_names(own);
    for (const Setting& setting : own) student.own.insert(setting.key);
    apply_settings(student.config, own);
    apply_settings(student.config, last);
    for (const Setting& setting : last) student.typed.insert(setting.key);
    students.push_back(std::move(student));
  }
  return students;
}

std::vector<Config> resolve_students(std::vector<Student>& students, int job_ranks, uint64_t images, int cores) {
  int sum = 0;
  std::vector<std::string> parts;
  for (const Student& student : students) {
    sum += student.ranks;
    parts.push_back(fmt::format("{} has {}", student.name, student.ranks));
  }
  if (sum != job_ranks)
    fail_usage("--students", fmt::format("the {} ranks of the job, each with one student", job_ranks),
               fmt::format("{} ({})", sum, fmt::join(parts, ", ")), "Change the numbers or start as many ranks");
  for (Student& student : students) {
    check_frozen_teacher(student);
    // a run that goes on may have lost its file: open_inputs takes what it was from the run's folder
    if (fs::exists(model_init_from(student.config))) follow_weights(student.config, student.typed);
  }
  drop_unread_keys(students, images, cores);
  std::vector<Config> resolved;
  for (Student& student : students) {
    Config& config = student.config;
    const int64_t batch = train_batch_size(config);
    for (const auto& [who, ranks] : {std::pair(std::string("the job"), job_ranks), std::pair("student " + student.name, student.ranks)})
      if (batch % ranks != 0)
        fail_usage("train.batch_size", fmt::format("a multiple of the {} ranks of {}", ranks, who), std::to_string(batch),
                   "Change it or the numbers of ranks");
    const int64_t given_group = config.mask->group_size;
    if (config.mask->group_size == 0)
      config.mask->group_size = std::accumulate(students.begin(), students.end(), int64_t{16},
                                                [&](int64_t d, const Student& other) { return std::gcd(d, batch / other.ranks); });
    try {
      resolved.push_back(resolve_config(config, images, cores, nullptr, student.ranks));
      if (resolved.back().mask->scheme == "none") config.mask->group_size = given_group;
      const MethodSpec spec = make_method(resolved.back());
      check_batch(spec, batch / student.ranks, student.ranks);
      Schedules(resolved.back(), images);
    } catch (const UsageError& error) {
      throw UsageError(fmt::format("student {}: {}", student.name, error.what()));
    }
    check_alike(students.front(), resolved.front(), student, resolved.back());
  }
  return resolved;
}

void join_job(std::vector<Student> students, TrainOptions& options, TrainComms& comms) {
  const std::shared_ptr<Communicator> job = comms.control;
  std::vector<RunHistory> runs;
  std::vector<int64_t> steps;
  on_all_ranks(*job, [&] {
    if (!options.resume.empty() && options.resume != "auto" && options.resume != "strict" && options.resume != "never")
      fail_usage("--resume", "auto, strict or never for several students, which have a checkpoint each",
                 fmt::format("\"{}\"", options.resume), "Remove the later checkpoints of all of them, or go on with each by itself");
    resolve_students(students, job->size(), training_ids(*open_dataset(options.data), options.data).size(), options.cores);
    for (const Student& student : students) runs.emplace_back(options.out / student.name);
    steps = common_steps(runs);
  });
  ranks_must_agree(*job, fmt::format("{}", fmt::join(steps, ",")), "steps that all students have saved");
  const int64_t step = options.resume == "never" ? -1 : newest_whole_step(*job, runs, steps, options.resume);
  int student = 0, first = 0;
  while (first + students[static_cast<size_t>(student)].ranks <= job->rank()) first += students[static_cast<size_t>(student++)].ranks;
  JobPart part{students[static_cast<size_t>(student)].name, student, {}, job, comms.statistics};
  for (const Student& each : students) part.ranks.push_back(each.ranks);
  const auto group = [&](const std::shared_ptr<Communicator>& all) { return all->split(student, all->rank()); };
  comms = {group(job), group(comms.gradients), group(comms.statistics), comms.node, part};
  options.config = students[static_cast<size_t>(student)].config;
  options.out /= part.student;
  if (options.resume != "never") options.resume = step < 0 ? "" : RunHistory(options.out).checkpoint_folder(step).string();
}

}  // namespace dinoxx
