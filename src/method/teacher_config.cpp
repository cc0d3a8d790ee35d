#include "teacher_config.hpp"

#include "config/config.hpp"
#include "config/config_conditions.hpp"
#include "config/field_kinds.hpp"

namespace dinoxx {

using namespace field_kinds;

std::vector<Field> teacher_fields() {
  constexpr auto teacher = &Config::teacher;
  constexpr Range share{0, 1}, temperature{1e-6, 1e3};
  return {
      field<teacher, &TeacherConfig::momentum>("teacher.momentum", "auto", "momentum of the average at the start", share),
      field<teacher, &TeacherConfig::momentum_end>("teacher.momentum_end", "1", "momentum at the end, reached by half a cosine", share),
      when({where::other_weights()},
           field<teacher, &TeacherConfig::hold_backbone>(
               "teacher.hold_backbone", "0it",
               "how long the average of the backbone stays as it is in model.init_from, while that of the heads follows the student")),
      field<teacher, &TeacherConfig::temp>("teacher.temp", "auto", "temperature", temperature),
      field<teacher, &TeacherConfig::warmup_temp>("teacher.warmup_temp", "auto", "temperature at the start", temperature),
      when({where::patch_loss()}, field<teacher, &TeacherConfig::patch_temp>("teacher.patch_temp", "auto",
                                                                             "temperature for patches; auto: teacher.temp", temperature)),
      when({where::patch_loss()},
           field<teacher, &TeacherConfig::patch_warmup_temp>(
               "teacher.patch_warmup_temp", "auto", "temperature for patches at the start; auto: teacher.warmup_temp", temperature)),
      bare_epochs(field<teacher, &TeacherConfig::warmup_temp_epochs>(
          "teacher.warmup_temp_epochs", "auto",
          "time from the first to the last temperature; a bare number is epochs, whole ones where it moves with each epoch; auto: 37500 "
          "steps, at most 30 % of the run")),
      choice<teacher, &TeacherConfig::temp_changes>("teacher.temp_changes", "auto", {"auto", "epoch", "step"},
                                                    "when the temperature moves: with each epoch or with each step"),
      text<teacher, &TeacherConfig::distill>(
          "teacher.distill",
          "the frozen teacher: run folder, checkpoint or weight file. distill wants its heads too: a run, or a training "
          "checkpoint of the official code; distill_features takes a bare backbone"),
      choice<teacher, &TeacherConfig::match>(
          "teacher.match", "cosine", {"cosine", "batch"},
          "how the student's projections are compared with the teacher's features; cosine: 1 less their cosine, half the squared distance "
          "of "
          "the normalised two; batch: cross-entropy of their similarities to the teacher's features of all images of the step"),
      other_function(text<teacher, &TeacherConfig::facts>("teacher.facts",
                                                          "what the file of teacher.distill does not say of itself, as the keys of [model] "
                                                          "have it: heads=12 norm_eps=1e-6, with blanks between")),
  };
}

}  // namespace dinoxx
