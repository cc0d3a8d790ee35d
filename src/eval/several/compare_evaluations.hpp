#pragma once
#include <filesystem>
#include <nlohmann/json.hpp>
#include <vector>

#include "dinoxx/comm/communicator.hpp"

namespace dinoxx::eval {

/// Reads the folders of several evaluations and puts them side by side:
/// {"format": "dinoxx comparison", "version": 1, "data", "memory", "queries", "checkpoints": [{name, folder, file, crc32c, step, model,
/// parameters, feature_dim, transform, precision, cost: {images, core_seconds, images_per_core_second, cores, embed_seconds, fit_seconds,
/// total_seconds, host, processor, device, ranks, threads, cache_read}}], "methods", "classes", "test" (PairedMethods), "figures"
/// (compare_figures), "few_test_images", "level", "left_out": [{protocol, why}], "notes"}.
///
/// A cost that results.json does not have is null. embed_seconds: of the network's forward for memory, queries and validation, as a share
/// of the cores that were used; fit_seconds: of the compared protocols on this checkpoint's features alone.
///
/// UsageError as read_evaluation() and find_common(). Collective; the folders are read on every rank.
nlohmann::json compare_evaluations(const std::vector<std::filesystem::path>& folders, int threads, Communicator& comm);

}  // namespace dinoxx::eval
