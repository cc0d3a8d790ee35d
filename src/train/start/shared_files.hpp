#pragma once
#include <filesystem>

#include "dinoxx/comm/communicator.hpp"

/// What the ranks of several hosts have to find in their file systems, proven before the work.
namespace dinoxx {

/// Every rank sees in `folder`, which is there for rank 0, what rank 0 writes into it, and can write there too: otherwise a checkpoint
/// would be lost when it is saved. An AgreedError (usage) names rank and host. A network file system gets time to show a new file. Leaves
/// nothing behind. Collective.
void check_shared_folder(Communicator& comm, const std::filesystem::path& folder);

/// The weight file behind `path`, as weight_path() finds it, or the folder of such files, is the same on every rank: names, sizes and
/// CRC32C. AgreedError with `key` else, and where a rank cannot read it. Collective.
void check_same_files(Communicator& comm, const char* key, const std::filesystem::path& path);

}  // namespace dinoxx
