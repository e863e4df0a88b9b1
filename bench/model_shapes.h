// The sizes of the models that model_bench runs, and what it measures of each.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "common/config/model_config.h"
#include "common/status.h"

namespace longhand::bench {

struct Shape {
  ModelConfig model;
  int32_t tp_size = 1;
  struct Cell {
    int64_t batch = 1;
    int64_t context = 0;
  };
  std::vector<Cell> cells;
  std::vector<int64_t> prefills;
  int64_t image_height = 1008, image_width = 1036;  // 1,044,288 pixels
};

// kInvalidArgument, with the names that there are, for another.
Result<Shape> MakeShape(const std::string& name);
// Of "1x1024,16x4096": batch x context. kInvalidArgument for anything else.
Result<std::vector<Shape::Cell>> ParseCells(const std::string& text);

}  // namespace longhand::bench
