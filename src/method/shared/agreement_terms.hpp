#pragma once
#include "method/methods.hpp"

/// What SimDINO and SimDINOv2 share: DINO's views, teacher and head without prototypes; views agree, the coding rate keeps features apart.
namespace dinoxx {

/// Views, backbone, head and the two terms that a resolved configuration asks for.
MethodSpec agreement_spec(const Config& config);

/// Keys that agreement_spec and the schedules of its teacher read, and `more` of one method.
std::vector<std::string> agreement_keys(std::vector<std::string> more = {});

}  // namespace dinoxx
