#pragma once
#include <string_view>

#include "data_pipeline/pack/pack.hpp"
#include "image_files.hpp"
#include "temporary_folder.hpp"

namespace dinoxx::testing_support {

/// Packs `folder`/in to `folder`/out, with two threads.
inline PackOptions folder_options(const TemporaryFolder& folder) {
  PackOptions options;
  options.input = folder / "in";
  options.out = folder / "out";
  options.threads = 2;
  return options;
}

/// Packs what the list `csv` names, over what is there; the list is written to `folder`/list.csv.
inline PackOptions list_options(const TemporaryFolder& folder, std::string_view csv) {
  write_words(folder / "list.csv", csv);
  PackOptions options = folder_options(folder);
  options.source = PackOptions::Source::kList;
  options.input = folder / "list.csv";
  options.overwrite = true;
  return options;
}

}  // namespace dinoxx::testing_support
