#include "stop_scope.hpp"

#include <utility>

#include "dinoxx/base/error.hpp"

namespace dinoxx {
namespace {

thread_local const StopScope* innermost = nullptr;

}  // namespace

StopScope::StopScope(std::function<bool()> stop) : stop_(std::move(stop)), outer_(innermost) {
  innermost = this;
}

StopScope::StopScope(const StopScope* outer) : StopScope(outer ? outer->stop_ : std::function<bool()>()) {}

StopScope::~StopScope() {
  innermost = outer_;
}

void StopScope::check() {
  if (innermost && innermost->stop_ && innermost->stop_()) throw Error("ended before its time: a stop was requested");
}

const StopScope* StopScope::current() {
  return innermost;
}

}  // namespace dinoxx
