#pragma once
#include <ATen/ATen.h>

#include <memory>
#include <string>

#include "config/config.hpp"
#include "method/methods.hpp"
#include "method/settings/resolve.hpp"
#include "step/build.hpp"

namespace dinoxx::testing_support {

/// A whole run that is small enough for float64 in a unit test: multi-crop, drop-path, clipping and several buckets are all in it. `extra`
/// in INI form wins.
inline Config tiny_config(const std::string& extra = "") {
  Config config = default_config();
  apply_settings(config, parse_settings("[model]\ndim = 32\ndepth = 2\nheads = 2\npatch_size = 4\ndrop_path = 0.3\n"
                                        "[head]\nout_dim = 48\nhidden_dim = 32\nbottleneck_dim = 16\n"
                                        "[views]\nglobal_size = 16\nlocal_size = 8\nlocal_count = 2\n"
                                        "[optim]\nlr = 0.02\nwarmup = 0\nfreeze_last_layer = 0\nclip = 0.3\n"
                                        "[teacher]\nmomentum = 0.9\ntemp = 0.04\nwarmup_temp = 0.04\nwarmup_temp_epochs = 0\n"
                                        "[train]\nbatch_size = 12\nlength = 40it\nbucket_mb = 0.02\nthreads = 1\nseed = 5\n",
                                        "tiny"));
  apply_settings(config, parse_settings(extra, "extra"));
  return resolve_config(config, 60, 1);
}

/// The keys that a method with a frozen teacher has to have, for the teacher that frozen_teacher makes.
inline std::string frozen_teacher_keys(const Method& method) {
  if (method.teacher != TeacherPolicy::kFrozen) return "";
  return std::string("[teacher]\ndistill = given\n") + (method.bare_teacher ? "[head]\nout_dim = 32\n" : "");
}

/// A frozen teacher of the student's own network, or of its backbone alone; null for a method without.
inline std::unique_ptr<Network> frozen_teacher(const Config& config, at::ScalarType type) {
  const MethodSpec spec = make_method(config);
  if (spec.teacher != TeacherPolicy::kFrozen) return nullptr;
  auto teacher = find_method(spec.name).bare_teacher ? std::make_unique<Network>(spec.network.backbone, type)
                                                     : std::make_unique<Network>(spec.network, type);
  teacher->initialize(7);
  return teacher;
}

}  // namespace dinoxx::testing_support
