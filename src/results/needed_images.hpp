#pragma once
#include <nlohmann/json.hpp>
#include <string>

namespace dinoxx {

/// Of a class in "more_images" of the few-shot protocol (eval/protocols/more_images.hpp): how many images it needs for the mean recall of
/// all classes, `target`; that it is reached, or that this cannot be told.
std::string needed_images_text(const nlohmann::json& row, const nlohmann::json& target);

}  // namespace dinoxx
