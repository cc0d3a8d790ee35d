#pragma once
#include <cstddef>
#include <cstdint>

/// Entry points in libFuzzer's form. Each aborts when a parser breaks a promise, and lets every exception but dinoxx::Error through.
namespace dinoxx::fuzz {

int safetensors(const uint8_t* data, size_t size);    ///< headers of safetensors files, and index files
int torch_archive(const uint8_t* data, size_t size);  ///< zip archives of torch.save
int torch_pickle(const uint8_t* data, size_t size);   ///< their data.pkl alone, which the archive's checksum keeps mutations away from
int torch_legacy(const uint8_t* data, size_t size);   ///< files of torch.save before zip archives: pickles in a row, and tar archives
int distributed(const uint8_t* data, size_t size);    ///< the .metadata of torch.distributed.checkpoint

}  // namespace dinoxx::fuzz
