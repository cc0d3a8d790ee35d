#pragma once
#include <cstdint>
#include <string>

/// What records say about the machine, and how they print it.
namespace dinoxx {

std::string cpu_model();
/// Largest resident memory of this process so far, bytes.
int64_t peak_memory();
/// Bytes that processes can still take: of this machine, or of the control group (container, batch job) that this process is in. 0 when the
/// system does not tell.
int64_t available_memory();
/// Seconds since the system started this process: loading of its libraries included.
double process_seconds();
/// Of this machine, as others on the network know it.
std::string host_name();
std::string human_bytes(double bytes);
std::string human_time(double seconds);
/// FNV-1a, for agreement between ranks and the identity of texts.
uint64_t text_hash(const std::string& text);

}  // namespace dinoxx
