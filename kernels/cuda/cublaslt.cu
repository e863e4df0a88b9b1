// LargeProducts by cuBLASLt, loaded at run time.
#include <dlfcn.h>

#include <array>
#include <map>
#include <string>
#include <utility>

#include "common/shared_library.h"
#include "kernels/cuda/cublaslt_api.h"
#include "kernels/cuda/large_products.h"
#include "kernels/cuda/runtime.h"

namespace longhand::kernels::cuda {
namespace {

constexpr size_t kMaxPinned = 256;  // shapes: chunks of a prompt have many lengths

template <typename T>
using Handle = std::unique_ptr<T, cublaslt::Status (*)(T*)>;

// A shape's descriptions and the algorithm that it has from its first product on. The library sees
// columns where there are rows: out^T = weight * x^T.
struct Pinned {
  Handle<cublaslt::MatmulDesc> desc;
  Handle<cublaslt::MatrixLayout> weight, x, out;
  cublaslt::Algorithm algorithm;
};

class CublasLt final : public LargeProducts {
 public:
  CublasLt(const cublaslt::Api& api, cublaslt::Context* context)
      : api_(api), context_(context, api.Destroy) {}

  Status Multiply(const Stream& stream, const LargeProduct& product, void* scratch) override {
    LONGHAND_ASSIGN_OR_RETURN(const Pinned* const pinned, Find(product));
    const float alpha = 1, beta = 0;
    return Check("matmul",
                 api_.Matmul(context_.get(), pinned->desc.get(), &alpha, product.weight,
                             pinned->weight.get(), product.x, pinned->x.get(), &beta, product.out,
                             pinned->out.get(), product.out, pinned->out.get(), &pinned->algorithm,
                             scratch, kScratchBytes, stream.handle));
  }

 private:
  Status Check(const char* what, cublaslt::Status status) const {
    if (status == cublaslt::kSuccess) return OkStatus();
    return Internal("cuBLASLt, ", what, ": ", api_.GetStatusString(status));
  }

  Result<const Pinned*> Find(const LargeProduct& product) {
    const std::array<int64_t, 3> shape{product.num_tokens, product.in_features,
                                       product.out_features};
    if (const auto found = pinned_.find(shape); found != pinned_.end()) return &found->second;
    if (pinned_.size() == kMaxPinned) pinned_.clear();
    LONGHAND_ASSIGN_OR_RETURN(Pinned pinned, Choose(product));
    return &pinned_.emplace(shape, std::move(pinned)).first->second;
  }

  // The library's first choice without sums of parts of k.
  Result<Pinned> Choose(const LargeProduct& product) const {
    const int64_t in = product.in_features, out = product.out_features;
    LONGHAND_ASSIGN_OR_RETURN(auto desc, MakeDesc());
    LONGHAND_ASSIGN_OR_RETURN(auto weight, MakeLayout(in, out));
    LONGHAND_ASSIGN_OR_RETURN(auto x, MakeLayout(in, product.num_tokens));
    LONGHAND_ASSIGN_OR_RETURN(auto result, MakeLayout(out, product.num_tokens));
    LONGHAND_ASSIGN_OR_RETURN(const auto preference, MakePreference());
    cublaslt::Heuristic found{};
    int num_found = 0;
    LONGHAND_RETURN_IF_ERROR(Check(
        "heuristic",
        api_.MatmulAlgoGetHeuristic(context_.get(), desc.get(), weight.get(), x.get(), result.get(),
                                    result.get(), preference.get(), 1, &found, &num_found)));
    if (num_found == 0) {
      return Internal("cuBLASLt has no algorithm for ", product.num_tokens, " x ", in, " x ", out);
    }
    LONGHAND_RETURN_IF_ERROR(Check("heuristic", found.state));
    return Pinned{std::move(desc), std::move(weight), std::move(x), std::move(result),
                  found.algorithm};
  }

  Result<Handle<cublaslt::MatmulDesc>> MakeDesc() const {
    cublaslt::MatmulDesc* desc = nullptr;
    LONGHAND_RETURN_IF_ERROR(
        Check("desc", api_.MatmulDescCreate(&desc, cublaslt::kComputeF32, cublaslt::kF32)));
    Handle<cublaslt::MatmulDesc> handle(desc, api_.MatmulDescDestroy);
    const int32_t transposed = cublaslt::kTransposed;
    LONGHAND_RETURN_IF_ERROR(Check(
        "desc",
        api_.MatmulDescSetAttribute(desc, cublaslt::kDescTransA, &transposed, sizeof(transposed))));
    return Result<Handle<cublaslt::MatmulDesc>>(std::move(handle));
  }

  Result<Handle<cublaslt::MatrixLayout>> MakeLayout(int64_t rows, int64_t columns) const {
    cublaslt::MatrixLayout* layout = nullptr;
    LONGHAND_RETURN_IF_ERROR(Check(
        "layout", api_.MatrixLayoutCreate(&layout, cublaslt::kBf16, static_cast<uint64_t>(rows),
                                          static_cast<uint64_t>(columns), rows)));
    return Handle<cublaslt::MatrixLayout>(layout, api_.MatrixLayoutDestroy);
  }

  Result<Handle<cublaslt::MatmulPreference>> MakePreference() const {
    cublaslt::MatmulPreference* preference = nullptr;
    LONGHAND_RETURN_IF_ERROR(Check("preference", api_.MatmulPreferenceCreate(&preference)));
    Handle<cublaslt::MatmulPreference> handle(preference, api_.MatmulPreferenceDestroy);
    const auto set = [&](int attribute, auto value) {
      return Check("preference",
                   api_.MatmulPreferenceSetAttribute(preference, attribute, &value, sizeof(value)));
    };
    LONGHAND_RETURN_IF_ERROR(
        set(cublaslt::kMaxWorkspaceBytes, static_cast<uint64_t>(kScratchBytes)));
    LONGHAND_RETURN_IF_ERROR(set(cublaslt::kReductionSchemeMask, uint32_t{0}));
    for (const int alignment : {cublaslt::kMinAlignmentA, cublaslt::kMinAlignmentB,
                                cublaslt::kMinAlignmentC, cublaslt::kMinAlignmentD}) {
      LONGHAND_RETURN_IF_ERROR(set(alignment, uint32_t{16}));
    }
    return Result<Handle<cublaslt::MatmulPreference>>(std::move(handle));
  }

  const cublaslt::Api api_;
  const Handle<cublaslt::Context> context_;
  std::map<std::array<int64_t, 3>, Pinned> pinned_;
};

struct Symbols {
  void* library;
  std::string missing;

  template <typename Function>
  void Find(const char* name, Function** function) {
    *function = reinterpret_cast<Function*>(dlsym(library, name));
    if (*function == nullptr && missing.empty()) missing = name;
  }
};

Result<cublaslt::Api> LoadApi() {
  // Never unloaded: kernels of it may be on their way.
  const Result<void*> library =
      LoadNvidiaLibrary({"libcublasLt.so.13", "libcublasLt.so.12"}, {"cu13", "cublas"});
  if (!library.ok()) {
    return Unimplemented("cuBLASLt cannot be loaded (", library.status().message(),
                         "); install it, or name its folder in LD_LIBRARY_PATH");
  }
  cublaslt::Api api;
  Symbols symbols{*library, ""};
  symbols.Find("cublasLtCreate", &api.Create);
  symbols.Find("cublasLtDestroy", &api.Destroy);
  symbols.Find("cublasLtGetStatusString", &api.GetStatusString);
  symbols.Find("cublasLtMatmulDescCreate", &api.MatmulDescCreate);
  symbols.Find("cublasLtMatmulDescDestroy", &api.MatmulDescDestroy);
  symbols.Find("cublasLtMatmulDescSetAttribute", &api.MatmulDescSetAttribute);
  symbols.Find("cublasLtMatrixLayoutCreate", &api.MatrixLayoutCreate);
  symbols.Find("cublasLtMatrixLayoutDestroy", &api.MatrixLayoutDestroy);
  symbols.Find("cublasLtMatmulPreferenceCreate", &api.MatmulPreferenceCreate);
  symbols.Find("cublasLtMatmulPreferenceDestroy", &api.MatmulPreferenceDestroy);
  symbols.Find("cublasLtMatmulPreferenceSetAttribute", &api.MatmulPreferenceSetAttribute);
  symbols.Find("cublasLtMatmulAlgoGetHeuristic", &api.MatmulAlgoGetHeuristic);
  symbols.Find("cublasLtMatmul", &api.Matmul);
  if (!symbols.missing.empty()) return Unimplemented("cuBLASLt has no ", symbols.missing);
  return api;
}

}  // namespace

Result<std::unique_ptr<LargeProducts>> OpenLargeProducts() {
  LONGHAND_ASSIGN_OR_RETURN(const cublaslt::Api api, LoadApi());
  cublaslt::Context* context = nullptr;
  const cublaslt::Status created = api.Create(&context);
  if (created != cublaslt::kSuccess) {
    return Unimplemented("cuBLASLt does not start: ", api.GetStatusString(created));
  }
  return std::unique_ptr<LargeProducts>(std::make_unique<CublasLt>(api, context));
}

}  // namespace longhand::kernels::cuda
