#include "bench/model_shapes.h"

#include <algorithm>
#include <cstdio>

namespace longhand::bench {
namespace {

ModelConfig Qwen(int64_t hidden, int64_t layers, int64_t heads, int64_t kv_heads, int64_t ffn) {
  ModelConfig model;
  model.hidden_size = hidden;
  model.intermediate_size = ffn;
  model.num_layers = layers;
  model.num_heads = heads;
  model.num_kv_heads = kv_heads;
  model.head_dim = hidden / heads;
  model.vocab_size = 152064;
  model.max_position_embeddings = 128000;
  model.rope.mrope_section = {16, 24, 24};
  model.vision.hidden_size = 1280;
  model.vision.out_hidden_size = hidden;
  return model;
}

}  // namespace

Result<Shape> MakeShape(const std::string& name) {
  const std::vector<Shape::Cell> cells = {{1, 1024},  {1, 8192},  {1, 32768},
                                          {16, 4096}, {64, 2048}, {64, 8192}};
  if (name == "7b") {
    return Shape{.model = Qwen(3584, 28, 28, 4, 18944), .cells = cells, .prefills = {2048, 8192}};
  }
  // For a host: what a long context costs beside weights that it can read.
  if (name == "1.5b") {
    return Shape{.model = Qwen(1536, 28, 12, 2, 8960),
                 .cells = {{1, 1024}, {1, 32768}},
                 .prefills = {512}};
  }
  // Quantised only: in bf16 it is 145 GB. The AWQ checkpoints have a wider MLP, of whole groups.
  if (name == "72b" || name == "72b-tp8" || name == "72b-awq-tp8") {
    Shape shape{.model = Qwen(8192, 80, 64, 8, name == "72b-awq-tp8" ? 29696 : 29568),
                .tp_size = name == "72b" ? 1 : 8,
                .cells = cells,
                .prefills = {2048, 8192}};
    shape.model.vision.intermediate_size = 3456;
    return shape;
  }
  if (name == "tiny" || name == "tiny-tp2") {
    Shape shape{.model = Qwen(128, 2, 4, 2, 192),
                .tp_size = name == "tiny" ? 1 : 2,
                .cells = {{1, 40}, {3, 300}},
                .prefills = {70}};
    shape.model.head_dim = 32;
    shape.model.vocab_size = 509;
    shape.model.max_position_embeddings = 4096;
    shape.model.rope.mrope_section = {4, 6, 6};
    shape.model.vision.depth = 2;
    shape.model.vision.hidden_size = 160;
    shape.model.vision.num_heads = 2;
    shape.model.vision.intermediate_size = 84;
    shape.model.vision.fullatt_block_indexes = {1};
    shape.image_height = 56;
    shape.image_width = 84;
    return shape;
  }
  return InvalidArgument("--shape is '", name,
                         "'; it must be 7b, 1.5b, 72b, 72b-tp8, 72b-awq-tp8, tiny or tiny-tp2");
}

Result<std::vector<Shape::Cell>> ParseCells(const std::string& text) {
  std::vector<Shape::Cell> cells;
  for (size_t at = 0; at < text.size();) {
    const size_t end = std::min(text.find(',', at), text.size());
    long long batch = 0, context = 0;
    if (std::sscanf(text.substr(at, end - at).c_str(), "%lldx%lld", &batch, &context) != 2 ||
        batch < 1 || context < 1) {
      return InvalidArgument("--cells is '", text, "'; cells are batch x context: 1x1024,16x4096");
    }
    cells.push_back({batch, context});
    at = end + 1;
  }
  return cells;
}

}  // namespace longhand::bench
