// worker/comm/nccl_api.h against NCCL's own header, and its loader against the real library. No GPU
// is needed.
#include <gtest/gtest.h>
#include <nccl.h>

#include <cstddef>
#include <type_traits>

#include "worker/comm/nccl_library.h"

namespace longhand::comm {
namespace {

static_assert(nccl::kSuccess == int{ncclSuccess});
static_assert(nccl::kUnhandledCudaError == int{ncclUnhandledCudaError});
static_assert(nccl::kSystemError == int{ncclSystemError});
static_assert(nccl::kInternalError == int{ncclInternalError});
static_assert(nccl::kInvalidArgument == int{ncclInvalidArgument});
static_assert(nccl::kInvalidUsage == int{ncclInvalidUsage});
static_assert(nccl::kRemoteError == int{ncclRemoteError});
static_assert(nccl::kInProgress == int{ncclInProgress});
static_assert(nccl::kUint8 == int{ncclUint8});
static_assert(sizeof(nccl::Result) == sizeof(ncclResult_t));
static_assert(sizeof(nccl::DataType) == sizeof(ncclDataType_t));
static_assert(sizeof(nccl::UniqueId) == sizeof(ncclUniqueId));
static_assert(sizeof(nccl::Stream) == sizeof(cudaStream_t));

// Our configuration is the beginning of theirs.
static_assert(offsetof(nccl::Config, magic) == offsetof(ncclConfig_t, magic));
static_assert(offsetof(nccl::Config, version) == offsetof(ncclConfig_t, version));
static_assert(offsetof(nccl::Config, blocking) == offsetof(ncclConfig_t, blocking));
static_assert(offsetof(nccl::Config, max_ctas) == offsetof(ncclConfig_t, maxCTAs));
static_assert(offsetof(nccl::Config, net_name) == offsetof(ncclConfig_t, netName));
static_assert(sizeof(nccl::Config) <= sizeof(ncclConfig_t));

// A function's type with our names for NCCL's: what is left is the order and number of arguments.
template <typename T>
struct Ours {
  using type = T;
};
template <>
struct Ours<ncclResult_t> {
  using type = nccl::Result;
};
template <>
struct Ours<ncclResult_t*> {
  using type = nccl::Result*;
};
template <>
struct Ours<ncclDataType_t> {
  using type = nccl::DataType;
};
template <>
struct Ours<ncclUniqueId> {
  using type = nccl::UniqueId;
};
template <>
struct Ours<ncclUniqueId*> {
  using type = nccl::UniqueId*;
};
template <>
struct Ours<ncclComm_t> {
  using type = nccl::Comm*;
};
template <>
struct Ours<ncclComm_t*> {
  using type = nccl::Comm**;
};
template <>
struct Ours<ncclConfig_t*> {
  using type = nccl::Config*;
};
template <>
struct Ours<cudaStream_t> {
  using type = nccl::Stream;
};
template <typename R, typename... A>
struct Ours<R(A...)> {
  using type = typename Ours<R>::type (*)(typename Ours<A>::type...);
};

template <typename Theirs, typename Mine>
void ExpectSameFunction() {
  static_assert(std::is_same_v<typename Ours<Theirs>::type, Mine>);
}

TEST(NcclAbi, EveryFunctionHasTheArgumentsOfTheHeader) {
  using nccl::Api;
  ExpectSameFunction<decltype(ncclGetVersion), decltype(Api::GetVersion)>();
  ExpectSameFunction<decltype(ncclGetErrorString), decltype(Api::GetErrorString)>();
  ExpectSameFunction<decltype(ncclGetLastError), decltype(Api::GetLastError)>();
  ExpectSameFunction<decltype(ncclGetUniqueId), decltype(Api::GetUniqueId)>();
  ExpectSameFunction<decltype(ncclCommInitRankConfig), decltype(Api::CommInitRankConfig)>();
  ExpectSameFunction<decltype(ncclCommGetAsyncError), decltype(Api::CommGetAsyncError)>();
  ExpectSameFunction<decltype(ncclCommAbort), decltype(Api::CommAbort)>();
  ExpectSameFunction<decltype(ncclGroupStart), decltype(Api::GroupStart)>();
  ExpectSameFunction<decltype(ncclGroupEnd), decltype(Api::GroupEnd)>();
  ExpectSameFunction<decltype(ncclSend), decltype(Api::Send)>();
  ExpectSameFunction<decltype(ncclRecv), decltype(Api::Recv)>();
  ExpectSameFunction<decltype(ncclAllGather), decltype(Api::AllGather)>();
  ExpectSameFunction<decltype(ncclBroadcast), decltype(Api::Broadcast)>();
}

TEST(NcclAbi, TheRealLibraryLoadsAndHandsOutAnId) {
  const Result<NcclLibrary> library = NcclLibrary::Load(LONGHAND_NCCL_LIBRARY);
  ASSERT_TRUE(library.ok()) << library.status();
  int version = 0;
  EXPECT_EQ(library->api().GetVersion(&version), nccl::kSuccess);
  EXPECT_EQ(version, NCCL_VERSION_CODE);
  nccl::UniqueId id{};
  EXPECT_EQ(library->api().GetUniqueId(&id), nccl::kSuccess);
}

}  // namespace
}  // namespace longhand::comm
