#pragma once
#include <cstdint>
#include <string>

/// What records say about the machine, and how they print it.
namespace dinoxx {

std::string cpu_model();
/// Largest resident memory of this process so far, bytes.
int64_t peak_memory();
std::string human_bytes(double bytes);
std::string human_time(double seconds);
/// FNV-1a, for agreement between ranks and the identity of texts.
uint64_t text_hash(const std::string& text);

}  // namespace dinoxx
