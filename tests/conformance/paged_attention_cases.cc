// PagedAttention: ragged batches, all head sizes; a token's bits do not depend on the batch or on
// the chunks in which its prompt came.
#include <array>
#include <cmath>
#include <sstream>

#include "common/kv_dtype.h"
#include "tests/conformance/cases.h"
#include "tests/conformance/paged_batch.h"

namespace longhand::conformance {
namespace {

std::string Name(const BatchShape& shape, const char* what) {
  std::ostringstream name;
  name << what << ": " << shape.num_heads << "/" << shape.num_kv_heads << " heads of "
       << shape.head_dim << ", block " << shape.block_size << ", " << DTypeName(shape.activation)
       << ", KV " << DTypeName(shape.kv);
  return name.str();
}

Tolerance AttentionTolerance(const BatchShape& shape) {
  if (shape.activation == DType::kBf16 && HasKvScales(shape.kv)) {
    return {4 * RoundingOf(DType::kBf16), Tolerance::Metric::kOfLargest,
            "tensor cores take keys and values that are rounded to bf16 with their scales in"};
  }
  // With bf16 on both sides a backend may round the weights to bf16 too, for tensor cores.
  const bool bf16 = shape.activation == DType::kBf16 && shape.kv == DType::kBf16;
  return {4e-6 + (bf16 ? 2 : 1) * RoundingOf(shape.activation), Tolerance::Metric::kOfLargest,
          "scores up to 10 carry f32 roundings of their sum into exp; then the output's rounding, "
          "of a whole unit where bf16 weights move it over a tie"};
}

// Returns what the case runs.
Body AddShape(const BatchShape& shape, const char* what, std::vector<Case>& cases) {
  const Body batch = Once([=](Device& device) { return RunBatch(device, shape); });
  cases.push_back({.op = "PagedAttention",
                   .name = Name(shape, what),
                   .body = batch,
                   .tolerance = AttentionTolerance(shape),
                   .misaligned = shape.head_dim == 30});
  return batch;
}

// The same bits whether the backend knows what sequences share or not; and the reference's values.
void AddPrefixes(const BatchShape& shape, const char* what, std::vector<Case>& cases) {
  const Body told = AddShape(shape, what, cases);
  cases.push_back({.op = "PagedAttention",
                   .name = Name(shape, what) + ", told = not told",
                   .body = told,
                   .misaligned = shape.head_dim == 30,
                   .same_bits = [=](Device& device) {
                     BatchShape untold = shape;
                     untold.tells_prefixes = false;
                     return RunBatch(device, untold);
                   }});
}

// Groups of two and three, whose prefixes end within a split and at its end; a sequence alone; and
// a chunk of a prompt, so that decode is a part of the call.
void AddPrefixCases(const BatchShape& sizes, std::vector<Case>& cases) {
  BatchShape shape = sizes;
  const int64_t within = 400 / shape.block_size * shape.block_size;
  const int64_t whole = (512 + shape.block_size - 1) / shape.block_size * shape.block_size;
  shape.query_lens = {1, 1, 1, 1, 1, 1};
  shape.context_lens = {whole + 1, 700, 30, within + 5, 800, 430};
  shape.prefixes = {{{4, 0, 1}, whole}, {{5, 3}, within}};
  AddPrefixes(shape, "shared prefixes", cases);
  shape.query_lens[2] = 20;
  AddPrefixes(shape, "shared prefixes beside a chunk", cases);
}

// More splits than any device has multiprocessors, which a backend may share out otherwise than
// few; contexts that end within a tile of keys, at its end and behind it.
void AddManyCases(int64_t heads, int64_t kv_heads, int64_t block_size, std::vector<Case>& cases) {
  BatchShape shape{heads, kv_heads, 128, block_size, DType::kBf16, DType::kBf16};
  shape.query_lens.assign(18, 1);
  shape.context_lens = {520, 700, 65,  1,   17,  63, 64, 600, 128,
                        129, 255, 256, 257, 300, 5,  33, 100, 16};
  AddShape(shape, "decode of many", cases);
  shape.query_lens[2] = 20;
  AddShape(shape, "decode of many beside a chunk", cases);
  shape.query_lens[2] = 2;
  shape.query_lens[3] = 0;
  AddShape(shape, "decode of many, of one two tokens", cases);
  shape.query_lens.assign(18, 1);
  shape.prefixes = {{{7, 0, 1}, 512}, {{13, 12}, 256}};
  AddPrefixes(shape, "shared prefixes among many", cases);
}

// Each sequence of the batch alone has the bits that it has in the batch.
void AddAlone(const BatchShape& shape, const Body& batch, std::vector<Case>& cases) {
  int64_t begin = 0;
  for (size_t s = 0; s < shape.query_lens.size(); begin += shape.query_lens[s++]) {
    cases.push_back({.op = "PagedAttention",
                     .name = Name(shape, "a sequence alone = in a batch"),
                     .body = [=](Device& device) { return RunSequence(device, shape, s, 0); },
                     .same_bits = [=](Device& device) -> Result<Outputs> {
                       LONGHAND_ASSIGN_OR_RETURN(Outputs all, batch(device));
                       return Outputs{all[0].Rows(begin, shape.query_lens[s])};
                     }});
  }
}

// The last tokens of the first sequence's chunk, computed as a chunk of their own.
void AddChunked(const BatchShape& shape,
                const std::vector<int64_t>& cuts,
                std::vector<Case>& cases) {
  const Body whole = Once([=](Device& device) { return RunSequence(device, shape, 0, 0); });
  for (const int64_t skip : cuts) {
    cases.push_back({.op = "PagedAttention",
                     .name = Name(shape, "chunked = whole") + ", cut at " + std::to_string(skip),
                     .body = [=](Device& device) { return RunSequence(device, shape, 0, skip); },
                     .same_bits = [=](Device& device) -> Result<Outputs> {
                       LONGHAND_ASSIGN_OR_RETURN(Outputs all, whole(device));
                       return Outputs{all[0].Rows(skip, shape.query_lens[0] - skip)};
                     }});
  }
}

}  // namespace

void AddPagedAttentionCases(std::vector<Case>& cases) {
  constexpr DType kF32 = DType::kF32, kBf16 = DType::kBf16;
  struct Sizes {
    int64_t heads, kv_heads, head_dim, block_size;
  };
  const Sizes sizes[] = {{2, 1, 16, 16}, {4, 2, 32, 16},  {3, 3, 30, 7},    {14, 2, 64, 16},
                         {4, 4, 80, 32}, {7, 1, 128, 32}, {28, 4, 128, 16}, {13, 1, 40, 1}};
  constexpr DType kKvDTypes[] = {kF32, kBf16, DType::kI8, DType::kF8E4M3};
  for (DType activation : {kF32, kBf16}) {
    for (DType kv : kKvDTypes) {
      for (const Sizes& size : sizes) {
        BatchShape shape{size.heads, size.kv_heads, size.head_dim, size.block_size, activation, kv};
        shape.query_lens = {1, 1, 1, 1, 1};
        shape.context_lens = {1, 64, 65, 300, 17};
        AddShape(shape, "decode", cases);
        shape.query_lens = {5, 1, 0, 33, 70};
        shape.context_lens = {5, 256, 0, 90, 70};
        AddShape(shape, "prefill and decode", cases);
      }
    }
  }
  for (DType kv : kKvDTypes) {
    // Two, four and eight sequences a row tile; more query heads a KV head than it has rows.
    for (const Sizes& size :
         {Sizes{14, 2, 64, 16}, {8, 2, 80, 32}, {28, 4, 128, 16}, {2, 1, 16, 7}, {20, 1, 32, 16}}) {
      AddPrefixCases({size.heads, size.kv_heads, size.head_dim, size.block_size, kBf16, kv}, cases);
    }
    AddPrefixCases({4, 2, 16, 16, kF32, kv}, cases);
  }
  // A prefix that reaches far, and one of more sequences than a row tile takes.
  for (DType activation : {kF32, kBf16}) {
    BatchShape shared{2, 2, 16, 16, activation, activation};
    shared.query_lens.assign(20, 1);
    shared.context_lens.assign(20, 300);
    shared.context_lens[7] = 9500;
    shared.context_lens[19] = 9217;
    shared.prefixes = {{{7, 19}, 9216}, {{}, 256}};
    for (int64_t seq = 0; seq < 18; ++seq) {
      if (seq != 7) shared.prefixes[1].seqs.push_back(seq);
    }
    AddPrefixes(shared, "far and wide prefixes", cases);
  }
  // A backend may have a kernel of its own for the head size of the models.
  BatchShape wide{7, 1, 128, 16, kBf16, kBf16};
  wide.query_lens = {130, 1, 40, 3};
  wide.context_lens = {800, 700, 40, 257};
  AddAlone(wide, AddShape(wide, "long chunks", cases), cases);
  AddChunked(wide, {1, 60, 129}, cases);
  for (const auto& [heads, kv_heads, block_size] :
       {std::array<int64_t, 3>{32, 4, 16}, {28, 4, 32}, {4, 4, 64}, {48, 4, 128}, {80, 4, 16}}) {
    AddManyCases(heads, kv_heads, block_size, cases);
  }
  BatchShape far{8, 1, 128, 16, kBf16, kBf16};
  far.query_lens = {1, 1, 1, 1};
  far.context_lens = {9300, 20, 8193, 300};
  AddShape(far, "decode of many, far keys", cases);
  wide.num_heads = 2;
  wide.block_size = 7;
  wide.query_lens = {3, 1};
  wide.context_lens = {9300, 8193};
  AddShape(wide, "far keys", cases);
  AddChunked(wide, {1, 2}, cases);
  for (DType activation : {kF32, kBf16}) {
    for (DType kv : kKvDTypes) {
      BatchShape shape{7, 1, 64, 16, activation, kv};
      shape.query_lens = {1};
      shape.context_lens = {1100};
      AddShape(shape, "decode over many splits", cases);
      shape.query_lens = {140, 1, 40, 1};
      shape.context_lens = {600, 700, 40, 257};
      AddAlone(shape, AddShape(shape, "long chunks", cases), cases);
      AddChunked(shape, {1, 100, 139}, cases);
      // A backend may split far keys otherwise than near ones.
      BatchShape far{2, 1, 16, 16, activation, kv};
      far.query_lens = {3, 1, 1};
      far.context_lens = {10300, 8193, 8192};
      AddAlone(far, AddShape(far, "far keys", cases), cases);
      AddChunked(far, {1, 2}, cases);
    }
  }
}

}  // namespace longhand::conformance
