// Precompiled for every module that uses tensors. GCC instantiates what the headers here leave open anew in every source: with
// torch/csrc/autograd's beside them that took 4 s of each, without 2. The few sources that define nodes include those themselves.
#pragma once
#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>
