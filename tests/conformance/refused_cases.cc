// Wrong arguments: each must end in kInvalidArgument and change nothing. That the same arguments
// unspoilt are accepted is a case too, or the refusals would show nothing.
#include <functional>
#include <utility>

#include "tests/conformance/cases.h"
#include "tests/conformance/sampling_rows.h"

namespace longhand::conformance {
namespace {

using kernels::Ops;
constexpr DType kF32 = DType::kF32;

template <typename Args>
struct Wrong {
  std::string what;
  std::function<void(Device&, Args&)> spoil;
  bool in_host_memory_only = false;
};

template <typename Args>
void Add(const std::string& op,
         Status (Ops::*method)(const Args&),
         const std::function<Result<Args>(Device&)>& valid,
         const std::vector<Wrong<Args>>& wrongs,
         std::vector<Case>& cases) {
  cases.push_back({.op = op,
                   .name = "small valid arguments are accepted",
                   .body = [=](Device& device) -> Result<Outputs> {
                     LONGHAND_ASSIGN_OR_RETURN(const Args args, valid(device));
                     LONGHAND_RETURN_IF_ERROR((device.ops().*method)(args));
                     return Outputs{};
                   }});
  for (const Wrong<Args>& wrong : wrongs) {
    cases.push_back({.op = op,
                     .name = "refuses " + wrong.what,
                     .body = [=](Device& device) -> Result<Outputs> {
                       LONGHAND_ASSIGN_OR_RETURN(Args args, valid(device));
                       wrong.spoil(device, args);
                       LONGHAND_RETURN_IF_ERROR((device.ops().*method)(args));
                       return Outputs{};
                     },
                     .refused = true,
                     .in_host_memory_only = wrong.in_host_memory_only});
  }
}

TensorView Zeros(Device& device, std::vector<int64_t> shape, DType dtype = kF32) {
  return device.In(HostTensor(dtype, std::move(shape)));
}

void AddLinear(std::vector<Case>& cases) {
  using Args = kernels::LinearArgs;
  const auto valid = [](Device& d) -> Result<Args> {
    LONGHAND_ASSIGN_OR_RETURN(auto* weight, d.Pack(HostTensor(kF32, {3, 4})));
    return Args{Zeros(d, {2, 4}), weight, Zeros(d, {3}), d.InOut(HostTensor(kF32, {2, 3}))};
  };
  Add<Args>(
      "Linear", &Ops::Linear, valid,
      {{"no weight", [](Device&, Args& a) { a.weight = nullptr; }},
       {"x too narrow", [](Device& d, Args& a) { a.x = Zeros(d, {2, 3}); }},
       {"x of integers", [](Device& d, Args& a) { a.x = Zeros(d, {2, 4}, DType::kI32); }},
       {"x of rank 1", [](Device& d, Args& a) { a.x = Zeros(d, {4}); }},
       {"no x", [](Device&, Args& a) { a.x = {}; }},
       {"a short bias", [](Device& d, Args& a) { a.bias = Zeros(d, {2}); }},
       {"a bf16 bias", [](Device& d, Args& a) { a.bias = Zeros(d, {3}, DType::kBf16); }},
       {"an out of other rows", [](Device& d, Args& a) { a.out = Zeros(d, {3, 3}); }},
       {"a narrow out", [](Device& d, Args& a) { a.out = Zeros(d, {2, 2}); }},
       {"bf16 out of f32 x", [](Device& d, Args& a) { a.out = Zeros(d, {2, 3}, DType::kBf16); }}},
      cases);
}

void AddRows(std::vector<Case>& cases) {
  using Embed = kernels::EmbeddingArgs;
  Add<Embed>(
      "Embedding", &Ops::Embedding,
      [](Device& d) -> Result<Embed> {
        return Embed{Zeros(d, {2}, DType::kI32), Zeros(d, {5, 4}), 0,
                     d.InOut(HostTensor(kF32, {2, 4}))};
      },
      {{"ids of another length", [](Device& d, Embed& a) { a.ids = Zeros(d, {3}, DType::kI32); }},
       {"64-bit ids", [](Device& d, Embed& a) { a.ids = Zeros(d, {2}, DType::kI64); }},
       {"a wide table", [](Device& d, Embed& a) { a.table = Zeros(d, {5, 5}); }},
       {"a negative first_id", [](Device&, Embed& a) { a.first_id = -1; }},
       {"a history that nothing points into",
        [](Device& d, Embed& a) { a.history = Zeros(d, {2, 3}, DType::kI32); }},
       {"history_idx of another length",
        [](Device& d, Embed& a) {
          a.history = Zeros(d, {2, 3}, DType::kI32);
          a.history_idx = Zeros(d, {3}, DType::kI64);
        }}},
      cases);
  using Gather = kernels::GatherRowsArgs;
  Add<Gather>(
      "GatherRows", &Ops::GatherRows,
      [](Device& d) -> Result<Gather> {
        return Gather{Zeros(d, {3, 4}), d.In(Int32({2, 0})), d.InOut(HostTensor(kF32, {2, 4}))};
      },
      {{"an out of another dtype",
        [](Device& d, Gather& a) { a.out = Zeros(d, {2, 4}, DType::kBf16); }},
       {"an out of other rows", [](Device& d, Gather& a) { a.out = Zeros(d, {3, 4}); }},
       {"a row past the end", [](Device& d, Gather& a) { a.rows = d.In(Int32({3, 0})); }, true},
       {"a negative row", [](Device& d, Gather& a) { a.rows = d.In(Int32({-1, 0})); }, true}},
      cases);
  using Scatter = kernels::ScatterRowsArgs;
  Add<Scatter>(
      "ScatterRows", &Ops::ScatterRows,
      [](Device& d) -> Result<Scatter> {
        return Scatter{Zeros(d, {2, 4}), d.In(Int32({2, 0})), d.InOut(HostTensor(kF32, {3, 4}))};
      },
      {{"a narrow x", [](Device& d, Scatter& a) { a.x = Zeros(d, {2, 3}); }},
       {"bf16 x for f32 out", [](Device& d, Scatter& a) { a.x = Zeros(d, {2, 4}, DType::kBf16); }},
       {"rows of another length", [](Device& d, Scatter& a) { a.rows = d.In(Int32({2})); }},
       {"a row past the end", [](Device& d, Scatter& a) { a.rows = d.In(Int32({3, 0})); }, true}},
      cases);
}

void AddElementwise(std::vector<Case>& cases) {
  using Norm = kernels::RmsNormArgs;
  Add<Norm>(
      "RmsNorm", &Ops::RmsNorm,
      [](Device& d) -> Result<Norm> {
        return Norm{Zeros(d, {2, 4}), d.InOut(HostTensor(kF32, {2, 4})), Zeros(d, {4}), 1e-6f,
                    d.InOut(HostTensor(kF32, {2, 4}))};
      },
      {{"a short weight", [](Device& d, Norm& a) { a.weight = Zeros(d, {3}); }},
       {"a bf16 weight", [](Device& d, Norm& a) { a.weight = Zeros(d, {4}, DType::kBf16); }},
       {"a residual of other rows", [](Device& d, Norm& a) { a.residual = Zeros(d, {3, 4}); }},
       {"a negative eps", [](Device&, Norm& a) { a.eps = -1; }},
       {"a bf16 out", [](Device& d, Norm& a) { a.out = Zeros(d, {2, 4}, DType::kBf16); }}},
      cases);
  using Sum = kernels::AddArgs;
  Add<Sum>(
      "Add", &Ops::Add,
      [](Device& d) -> Result<Sum> {
        return Sum{d.InOut(HostTensor(kF32, {2, 4})), Zeros(d, {2, 4})};
      },
      {{"y of another shape", [](Device& d, Sum& a) { a.y = Zeros(d, {4, 2}); }},
       {"y of another dtype", [](Device& d, Sum& a) { a.y = Zeros(d, {2, 4}, DType::kBf16); }}},
      cases);
  using Glu = kernels::SwiGluArgs;
  Add<Glu>(
      "SwiGlu", &Ops::SwiGlu,
      [](Device& d) -> Result<Glu> {
        return Glu{Zeros(d, {2, 8}), d.InOut(HostTensor(kF32, {2, 4}))};
      },
      {{"a gate_up not twice as wide", [](Device& d, Glu& a) { a.gate_up = Zeros(d, {2, 4}); }}},
      cases);
  using Erf = kernels::GeluArgs;
  Add<Erf>(
      "Gelu", &Ops::Gelu,
      [](Device& d) -> Result<Erf> { return Erf{d.InOut(HostTensor(kF32, {2, 4}))}; },
      {{"integers", [](Device& d, Erf& a) { a.x = Zeros(d, {2, 4}, DType::kI32); }}}, cases);
}

void AddRope(std::vector<Case>& cases) {
  using Table = kernels::MropeTableArgs;
  Add<Table>(
      "MropeTable", &Ops::MropeTable,
      [](Device& d) -> Result<Table> {
        return Table{Zeros(d, {3, 3}, DType::kI32),
                     Zeros(d, {4}),
                     {1, 1, 2},
                     1.0f,
                     d.InOut(HostTensor(kF32, {3, 4})),
                     d.InOut(HostTensor(kF32, {3, 4}))};
      },
      {{"sections of another sum", [](Device&, Table& a) { a.section[0] = 2; }},
       {"a negative section", [](Device&, Table& a) { a.section[0] = -1, a.section[2] = 4; }},
       {"two positions a token",
        [](Device& d, Table& a) { a.positions = Zeros(d, {3, 2}, DType::kI32); }},
       {"a narrow sin", [](Device& d, Table& a) { a.sin = Zeros(d, {3, 3}); }}},
      cases);
  using Write = kernels::QkvRopeWriteArgs;
  Add<Write>(
      "QkvRopeWrite", &Ops::QkvRopeWrite,
      [](Device& d) -> Result<Write> {
        return Write{Zeros(d, {2, 32}),
                     Zeros(d, {32}),
                     Zeros(d, {2, 4}),
                     Zeros(d, {2, 4}),
                     d.In(Int64({0, 7})),
                     d.InOut(HostTensor(kF32, {2, 2, 8})),
                     d.InOut(HostTensor(kF32, {2, 2, 4, 1, 8}))};
      },
      {{"a narrow qkv", [](Device& d, Write& a) { a.qkv = Zeros(d, {2, 24}); }},
       {"a short bias", [](Device& d, Write& a) { a.bias = Zeros(d, {16}); }},
       {"a cos of other rows", [](Device& d, Write& a) { a.cos = Zeros(d, {1, 4}); }},
       {"32-bit slots", [](Device& d, Write& a) { a.slot_mapping = d.In(Int32({0, 7})); }},
       {"a cache without values",
        [](Device& d, Write& a) { a.kv_cache = Zeros(d, {1, 2, 4, 1, 8}); }},
       {"a cache of integers",
        [](Device& d, Write& a) { a.kv_cache = Zeros(d, {2, 2, 4, 1, 8}, DType::kI32); }},
       {"a cache of int8 without scales",
        [](Device& d, Write& a) { a.kv_cache = Zeros(d, {2, 2, 4, 1, 8}, DType::kI8); }},
       {"scales of an f32 cache",
        [](Device& d, Write& a) { a.kv_scales = Zeros(d, {2, 2, 4, 1}); }},
       {"a slot past the end", [](Device& d, Write& a) { a.slot_mapping = d.In(Int64({0, 8})); },
        true},
       {"slot -2", [](Device& d, Write& a) { a.slot_mapping = d.In(Int64({0, -2})); }, true}},
      cases);
  using Turn = kernels::VisionRopeArgs;
  Add<Turn>(
      "VisionRope", &Ops::VisionRope,
      [](Device& d) -> Result<Turn> {
        return Turn{d.InOut(HostTensor(kF32, {2, 3, 1, 8})), Zeros(d, {2, 4}), Zeros(d, {2, 4})};
      },
      {{"queries and keys only", [](Device& d, Turn& a) { a.qkv = Zeros(d, {2, 2, 1, 8}); }},
       {"a sin of other rows", [](Device& d, Turn& a) { a.sin = Zeros(d, {3, 4}); }}},
      cases);
}

void AddAttention(std::vector<Case>& cases) {
  using Args = kernels::PagedAttentionArgs;
  Add<Args>(
      "PagedAttention", &Ops::PagedAttention,
      [](Device& d) -> Result<Args> {
        return Args{Zeros(d, {3, 2, 8}),
                    Zeros(d, {2, 4, 4, 1, 8}),
                    d.In(Int32({0, 1, 3, 2}, {2, 2})),
                    d.In(Int32({0, 1, 3})),
                    d.In(Int32({5, 2})),
                    0.35f,
                    d.InOut(HostTensor(kF32, {3, 2, 8}))};
      },
      {{"a head_dim unlike the cache's", [](Device& d, Args& a) { a.query = Zeros(d, {3, 2, 4}); }},
       {"a short cu_query_lens", [](Device& d, Args& a) { a.cu_query_lens = d.In(Int32({0, 3})); }},
       {"a short context_len", [](Device& d, Args& a) { a.context_len = d.In(Int32({5})); }},
       {"a scale of 0", [](Device&, Args& a) { a.scale = 0; }},
       {"an out of other rows", [](Device& d, Args& a) { a.out = Zeros(d, {2, 2, 8}); }},
       {"more queries than context",
        [](Device& d, Args& a) { a.context_len = d.In(Int32({5, 1})); }, true},
       {"a context past the block table",
        [](Device& d, Args& a) { a.context_len = d.In(Int32({9, 2})); }, true},
       {"a block that does not exist",
        [](Device& d, Args& a) { a.block_table = d.In(Int32({0, 4, 3, 2}, {2, 2})); }, true},
       {"queries of nobody", [](Device& d, Args& a) { a.cu_query_lens = d.In(Int32({0, 1, 2})); },
        true}},
      cases);
  using Copy = kernels::CopyBlocksArgs;
  Add<Copy>(
      "CopyBlocks", &Ops::CopyBlocks,
      [](Device& d) -> Result<Copy> {
        const TensorView cache = d.InOut(HostTensor(kF32, {2, 4, 4, 1, 8}));
        return Copy{cache, cache, d.In(Int32({0, 3, 1, 2}, {2, 2}))};
      },
      {{"caches of other heads", [](Device& d, Copy& a) { a.to = Zeros(d, {2, 4, 4, 2, 8}); }},
       {"another dtype",
        [](Device& d, Copy& a) { a.to = Zeros(d, {2, 4, 4, 1, 8}, DType::kBf16); }},
       {"triples", [](Device& d, Copy& a) { a.pairs = d.In(Int32({0, 3, 1}, {1, 3})); }},
       {"a block that does not exist",
        [](Device& d, Copy& a) { a.pairs = d.In(Int32({0, 4}, {1, 2})); }, true},
       {"a block that is written twice",
        [](Device& d, Copy& a) { a.pairs = d.In(Int32({0, 3, 1, 3}, {2, 2})); }, true},
       {"a block that is read and written",
        [](Device& d, Copy& a) { a.pairs = d.In(Int32({0, 3, 3, 1}, {2, 2})); }, true}},
      cases);
  using Vision = kernels::VisionAttentionArgs;
  Add<Vision>(
      "VisionAttention", &Ops::VisionAttention,
      [](Device& d) -> Result<Vision> {
        return Vision{Zeros(d, {4, 3, 2, 8}), d.In(Int32({0, 1, 4})), 0.35f,
                      d.InOut(HostTensor(kF32, {4, 2, 8}))};
      },
      {{"an out of other heads", [](Device& d, Vision& a) { a.out = Zeros(d, {4, 1, 8}); }},
       {"no segment bounds", [](Device&, Vision& a) { a.cu_seqlens = {}; }},
       {"an empty segment", [](Device& d, Vision& a) { a.cu_seqlens = d.In(Int32({0, 0, 4})); },
        true},
       {"segments that end early",
        [](Device& d, Vision& a) { a.cu_seqlens = d.In(Int32({0, 1, 3})); }, true}},
      cases);
}

void AddPatchify(std::vector<Case>& cases) {
  using Args = kernels::PatchifyArgs;
  Add<Args>(
      "Patchify", &Ops::Patchify,
      [](Device& d) -> Result<Args> {
        Args args;
        args.pixels = Zeros(d, {8, 4, 3}, DType::kU8);
        args.patch_size = 2;
        args.out = d.InOut(HostTensor(kF32, {8, 24}));
        return args;
      },
      {{"a height that patches do not fill",
        [](Device& d, Args& a) { a.pixels = Zeros(d, {6, 4, 3}, DType::kU8); }},
       {"four channels", [](Device& d, Args& a) { a.pixels = Zeros(d, {8, 4, 4}, DType::kU8); }},
       {"a std of 0", [](Device&, Args& a) { a.std[1] = 0; }},
       {"a narrow out", [](Device& d, Args& a) { a.out = Zeros(d, {8, 12}); }}},
      cases);
}

void AddSampling(std::vector<Case>& cases) {
  // Rows live as long as the program: an Args only points to them.
  static const SamplingRows* const kRows = new SamplingRows(2, 9, SamplingParams{});
  static const SamplingRows* const kThree = new SamplingRows(3, 9, SamplingParams{});
  static const SamplingRows* const kMasked = new SamplingRows(2, 9, SamplingParams{}, {511, 0});
  const auto biased = [](std::vector<TokenBias> biases) {
    return new SamplingRows(2, 9, SamplingParams{}, {}, std::move(biases));
  };
  static const SamplingRows* const kStranger = biased({{9, 1}});
  static const SamplingRows* const kNegative = biased({{-1, 1}});
  static const SamplingRows* const kTwice = biased({{3, 1}, {3, 2}});
  static const SamplingRows* const kMany = biased(MakeBiases(400, 301));
  static const SamplingParams kPenalties{.presence_penalty = 1};
  static const auto* const kBare =
      new std::vector<kernels::SampleRow>(2, kernels::SampleRow{.params = &kPenalties});
  using Draw = kernels::SampleArgs;
  Add<Draw>(
      "Sample", &Ops::Sample,
      [](Device& d) -> Result<Draw> {
        return Draw{Zeros(d, {2, 9}), &kRows->rows(), d.InOut(HostTensor(DType::kI32, {2})),
                    d.InOut(kRows->history())};
      },
      {{"no rows", [](Device&, Draw& a) { a.rows = nullptr; }},
       {"a row too many", [](Device&, Draw& a) { a.rows = &kThree->rows(); }},
       {"a mask of more tokens", [](Device&, Draw& a) { a.rows = &kMasked->rows(); }},
       {"a bias of a token that is not there",
        [](Device&, Draw& a) { a.rows = &kStranger->rows(); }},
       {"a bias of token -1", [](Device&, Draw& a) { a.rows = &kNegative->rows(); }},
       {"two biases of a token", [](Device&, Draw& a) { a.rows = &kTwice->rows(); }},
       {"301 biases",
        [](Device& d, Draw& a) {
          a.logits = Zeros(d, {2, 400});
          a.rows = &kMany->rows();
        }},
       {"no history", [](Device&, Draw& a) { a.history = {}; }},
       {"a history of fewer rows", [](Device&, Draw& a) { a.history = a.history.Slice(0, 1); }},
       {"a history without room for the token",
        [](Device& d, Draw& a) { a.history = Zeros(d, {2, 10}, DType::kI32); }},
       {"penalties without a history",
        [](Device&, Draw& a) {
          a.rows = kBare;
          a.history = {};
        }},
       {"bf16 logits", [](Device& d, Draw& a) { a.logits = Zeros(d, {2, 9}, DType::kBf16); }},
       {"an empty vocabulary", [](Device& d, Draw& a) { a.logits = Zeros(d, {2, 0}); }}},
      cases);
  using Log = kernels::LogprobsArgs;
  Add<Log>(
      "Logprobs", &Ops::Logprobs,
      [](Device& d) -> Result<Log> {
        return Log{Zeros(d, {2, 9}), d.In(Int32({0, 8})), d.InOut(HostTensor(kF32, {2})),
                   d.InOut(HostTensor(DType::kI32, {2, 3})), d.InOut(HostTensor(kF32, {2, 3}))};
      },
      {{"more than the vocabulary",
        [](Device& d, Log& a) {
          a.top_ids = Zeros(d, {2, 10}, DType::kI32);
          a.top_logprobs = Zeros(d, {2, 10});
        }},
       {"top_ids without top_logprobs", [](Device&, Log& a) { a.top_logprobs = {}; }},
       {"an id past the end", [](Device& d, Log& a) { a.token_ids = d.In(Int32({0, 9})); }, true}},
      cases);
}

}  // namespace

void AddRefusedCases(std::vector<Case>& cases) {
  AddLinear(cases);
  AddRows(cases);
  AddElementwise(cases);
  AddRope(cases);
  AddAttention(cases);
  AddPatchify(cases);
  AddSampling(cases);
}

}  // namespace longhand::conformance
