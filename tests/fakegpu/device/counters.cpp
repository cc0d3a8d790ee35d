#include "counters.hpp"

#include <cstdio>
#include <map>
#include <mutex>
#include <set>

#include "memory.hpp"
#include "settings.hpp"

namespace fakegpu {
namespace {

struct State {
  std::mutex mutex;
  Counters now, before;  // `before`: at the end of the last step
  int steps = 0;
  std::map<std::string, long> names;
  std::set<std::string> unanswered;
  FILE* log = nullptr;
};

State& state() {
  static State* s = [] {
    auto* made = new State;
    if (!settings().log.empty()) made->log = std::fopen(settings().log.c_str(), "w");
    return made;
  }();
  return *s;
}

std::string quoted(const std::string& text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    out += c;
  }
  return out + "\"";
}

// Under the lock.
void write_line(State& s, const std::string& line) {
  if (!s.log) return;
  std::fputs((line + "\n").c_str(), s.log);
  std::fflush(s.log);
}

}  // namespace

namespace detail {
void lock_counters() {
  state().mutex.lock();
}
void unlock_counters() {
  state().mutex.unlock();
}
Counters& counters() {
  return state().now;
}
}  // namespace detail

void note_name(const std::string& name) {
  State& s = state();
  const std::lock_guard lock(s.mutex);
  if (settings().names_of_step == s.steps + 1) ++s.names[name];
}

void note_unanswered(const char* function) {
  State& s = state();
  const std::lock_guard lock(s.mutex);
  if (s.unanswered.insert(function).second) write_line(s, "{\"unanswered\": " + quoted(function) + "}");
}

void write_log(const std::string& line) {
  State& s = state();
  const std::lock_guard lock(s.mutex);
  write_line(s, line);
}

void end_step() {
  const DeviceUse use = device_use();
  State& s = state();
  const std::lock_guard lock(s.mutex);
  ++s.steps;
  std::string line = "{\"step\": " + std::to_string(s.steps);
  const auto add = [&](const char* name, double value) {
    char text[64];
    std::snprintf(text, sizeof text, ", \"%s\": %.0f", name, value);
    line += text;
  };
#define DIFFERENCE(field) add(#field, static_cast<double>(s.now.field - s.before.field))
  DIFFERENCE(launches);
  DIFFERENCE(products);
  DIFFERENCE(product_flops);
  DIFFERENCE(to_device);
  DIFFERENCE(to_device_bytes);
  DIFFERENCE(to_host);
  DIFFERENCE(to_host_bytes);
  DIFFERENCE(on_device);
  DIFFERENCE(on_device_bytes);
  DIFFERENCE(fills);
  DIFFERENCE(stream_waits);
  DIFFERENCE(event_waits);
  DIFFERENCE(device_waits);
  DIFFERENCE(allocations);
  DIFFERENCE(releases);
  DIFFERENCE(pinned_allocations);
  DIFFERENCE(collectives);
  DIFFERENCE(collective_bytes);
#undef DIFFERENCE
  add("memory", static_cast<double>(use.now));
  add("memory_peak", static_cast<double>(use.peak));
  write_line(s, line + "}");
  for (const auto& [name, times] : s.names) write_line(s, "{\"name\": " + quoted(name) + ", \"times\": " + std::to_string(times) + "}");
  s.names.clear();
  s.before = s.now;
}

}  // namespace fakegpu
