#pragma once
#include <boost/program_options.hpp>
#include <string>
#include <vector>

#include "eval/decision/decision_request.hpp"

namespace dinoxx {

/// --recall, --recall-confidence and --cost of "dinoxx eval" and "dinoxx predict".
class DecisionLine {
 public:
  void add_to(boost::program_options::options_description& own);
  eval::DecisionRequest request() const;

 private:
  std::vector<std::string> recalls_, costs_;
  std::string confidence_;
};

}  // namespace dinoxx
