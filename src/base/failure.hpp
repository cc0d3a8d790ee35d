#pragma once
#include <cstddef>
#include <exception>
#include <string>

namespace dinoxx {

/// What a person is told of an exception that comes from elsewhere. For want of memory (std::bad_alloc, LibTorch's own words) and of
/// threads: what was asked for, what there is, and what to lower. LibTorch's stack trace is left out. An Error's text stays as it is;
/// `unknown` stands in front of what nobody foresaw.
std::string failure_text(const std::exception& error, const std::string& unknown = "");

/// Remembers how much an allocation wanted that is about to fail, for failure_text(): std::bad_alloc does not tell. Allocates nothing.
void note_failed_allocation(size_t bytes);

}  // namespace dinoxx
