#include "worker/service/rank_setup.h"

#include <gtest/gtest.h>

#include "tests/testing/temp_directory.h"
#include "tests/unit/worker/service/test_worker.h"

namespace longhand::service {
namespace {

TEST(RankSetup, TakesEveryFieldToItsPlace) {
  wire::ConfigureRequest request = SetupOf(/*epoch=*/9, /*rank=*/1, /*size=*/4);
  request.set_dtype("bfloat16");
  request.set_max_num_batched_tokens(1);
  request.set_max_num_seqs(2);
  request.set_max_model_len(3);
  request.set_encoder_cache_tokens(4);
  request.set_image_bytes(5);
  request.set_max_patches_per_image(6);
  request.set_transport(wire::TRANSPORT_GLOO);
  request.set_rendezvous_address("127.0.0.1:1");
  request.set_bind_address("[::1]");
  request.set_max_loras(7);
  request.set_max_lora_rank(8);
  request.add_adapters()->set_slot(2);
  request.mutable_adapters(0)->set_directory("/an/adapter");
  request.mutable_adapters(0)->set_identity("x");
  const RankSetup setup = RankSetup::FromWire(request).value();
  EXPECT_EQ(setup.epoch, 9);
  EXPECT_EQ(setup.communicator.epoch, 9);
  EXPECT_EQ(setup.communicator.rank, 1);
  EXPECT_EQ(setup.communicator.size, 4);
  EXPECT_EQ(setup.communicator.group, request.group_name());
  EXPECT_EQ(setup.communicator.transport, comm::Transport::kGloo);
  EXPECT_EQ(setup.communicator.host, "::1");
  EXPECT_EQ(setup.communicator.timeout, std::chrono::hours(1));
  EXPECT_EQ(setup.model_directory, "/no/such/model");
  EXPECT_EQ(setup.rendezvous_address, "127.0.0.1:1");
  EXPECT_EQ(setup.runner.dtype, DType::kBf16);
  EXPECT_EQ(setup.runner.kv_dtype, DType::kF32);
  EXPECT_EQ(setup.runner.num_blocks, 8);
  EXPECT_EQ(setup.runner.block_size, 16);
  EXPECT_EQ(setup.runner.max_num_batched_tokens, 1);
  EXPECT_EQ(setup.runner.max_num_seqs, 2);
  EXPECT_EQ(setup.runner.max_model_len, 3);
  EXPECT_EQ(setup.runner.encoder_cache_tokens, 4);
  EXPECT_EQ(setup.runner.image_bytes, 5);
  EXPECT_EQ(setup.runner.max_patches_per_image, 6);
  EXPECT_EQ(setup.runner.max_loras, 7);
  EXPECT_EQ(setup.runner.max_lora_rank, 8);
  ASSERT_EQ(setup.adapters.size(), 1u);
  EXPECT_EQ(setup.adapters[0].slot, 2);
  EXPECT_EQ(setup.adapters[0].directory, "/an/adapter");
  EXPECT_EQ(setup.adapters[0].identity, "x");
  EXPECT_TRUE(setup.runner.deterministic);
  request.set_may_vary(true);
  EXPECT_FALSE(RankSetup::FromWire(request)->runner.deterministic);
}

TEST(RankSetup, RefusesWhatItCannotRead) {
  const auto message_with = [](auto change) {
    wire::ConfigureRequest request = SetupOf(1);
    change(request);
    const auto setup = RankSetup::FromWire(request);
    EXPECT_EQ(setup.status().code(), StatusCode::kInvalidArgument);
    return setup.status().message();
  };
  using R = wire::ConfigureRequest;
  EXPECT_EQ(message_with([](R& r) { r.set_epoch(0); }), "epoch is 0; epochs count from 1");
  EXPECT_EQ(message_with([](R& r) { r.set_rank(2); }),
            "rank is 2; it must be from 0 to below tensor_parallel_size, which is 1");
  EXPECT_EQ(message_with([](R& r) { r.set_rank(-1); }),
            "rank is -1; it must be from 0 to below tensor_parallel_size, which is 1");
  EXPECT_EQ(message_with([](R& r) { r.set_dtype("fp8"); }),
            "dtype is 'fp8'; it must be float32 or bfloat16");
  EXPECT_EQ(message_with([](R& r) { r.set_quantization("int4"); }),
            "the quantization is 'int4'; it must be none, int8, fp8 or awq");
  EXPECT_EQ(message_with([](R& r) { r.set_kv_cache_dtype(""); }),
            "kv_cache_dtype is ''; it must be float32, bfloat16, int8 or float8_e4m3fn");
  EXPECT_EQ(message_with([](R& r) { r.clear_transport(); }),
            "transport is 0; it must be SINGLE, SHARED_MEMORY, GLOO or NCCL");
  EXPECT_EQ(message_with([](R& r) { r.set_transport(wire::TRANSPORT_GLOO); }),
            "transports GLOO and NCCL need a rendezvous_address");
}

TEST(RankSetup, TheShardKeyTellsShardsApartAndNothingElse) {
  const testing::TempDirectory directory;
  directory.Write("model.safetensors", "weights");
  const auto key_with = [&](auto change) {
    wire::ConfigureRequest request = SetupOf(1, 0, 2);
    request.set_model_directory(directory.path().string());
    change(request);
    return RankSetup::FromWire(request)->ShardKey();
  };
  using R = wire::ConfigureRequest;
  const std::string key = key_with([](R&) {});
  EXPECT_EQ(key_with([](R& r) { r.set_epoch(2); }), key);
  EXPECT_EQ(key_with([](R& r) { r.set_group_name("other"); }), key);
  EXPECT_EQ(key_with([](R& r) { r.set_collective_timeout_ms(5); }), key);
  EXPECT_NE(key_with([](R& r) { r.set_rank(1); }), key);
  EXPECT_NE(key_with([](R& r) { r.set_tensor_parallel_size(4); }), key);
  EXPECT_NE(key_with([](R& r) { r.set_dtype("bfloat16"); }), key);
  EXPECT_NE(key_with([](R& r) { r.set_quantization("fp8"); }), key);
  EXPECT_NE(key_with([](R& r) { r.set_num_blocks(9); }), key);
  EXPECT_NE(key_with([](R& r) { r.set_may_vary(true); }), key);
  EXPECT_NE(key_with([](R& r) { r.set_max_loras(1); }), key);
  EXPECT_EQ(key_with([](R& r) { r.add_adapters()->set_slot(1); }), key);
  directory.Write("model.safetensors", "other weights");
  EXPECT_NE(key_with([](R&) {}), key);
}

}  // namespace
}  // namespace longhand::service
