// Pictures, from Submit to the last release: Scheduler and EncoderCache together.
#include <gtest/gtest.h>

#include <algorithm>

#include "tests/unit/coordinator/engine/engine_harness.h"

namespace longhand::engine {
namespace {

Request Endless(const std::string& id, int64_t num_tokens) {
  Request request = MakeRequest(id, num_tokens, 60);
  request.ignore_eos = true;
  return request;
}

EngineConfig Config(int64_t max_encode_patch_layers = 1000) {
  EngineConfig config = SmallConfig();
  config.pipeline_depth = 0;
  config.max_encode_patch_layers = max_encode_patch_layers;
  return config;
}

TEST(ImageTest, PrefillStopsBeforeAnImageUntilItsPixelsCame) {
  EngineHarness harness(Config());
  harness.deliver_images_ = false;
  harness.FormGroup();
  Request request = Endless("a", 14);
  AddImage(request, 5, 6, 1);
  const auto recording = harness.Submit(request);
  ASSERT_EQ(harness.plans_.size(), 1u);
  EXPECT_TRUE(harness.plans_[0].images.empty());
  EXPECT_EQ(harness.plans_[0].num_tokens(), 5);
  harness.RunStep();
  EXPECT_TRUE(harness.plans_.empty());
  harness.engine_.OnImageReady(1, request.images[0].hash);
  harness.Turn();
  // Encoded in the same step as the chunk that needs it.
  ASSERT_EQ(harness.plans_.size(), 1u);
  EXPECT_EQ(harness.plans_[0].images.size(), 1u);
  EXPECT_EQ(harness.plans_[0].num_tokens(), 9);
  ASSERT_EQ(harness.plans_[0].chunks[0].image_spans.size(), 1u);
  EXPECT_EQ(harness.plans_[0].chunks[0].image_spans[0].offset, 0);
  EXPECT_EQ(harness.plans_[0].chunks[0].image_spans[0].num_tokens, 6);
  harness.RunToEnd();
  EXPECT_EQ(recording->answers[0], harness.Expected(request));
}

// What workers are told of a request's adapter; it is held until its last step has come back.
TEST(ImageTest, PlansNameTheAdapterOfASequenceAndOfAPictureAsLongAsItIsHeld) {
  EngineHarness harness(Config());
  harness.FormGroup();
  Request request = MakeRequest("a", 14, 2);
  request.ignore_eos = true;
  AddImage(request, 5, 6, 1);
  request.images[0].adapter = 3;
  request.adapter = std::make_shared<const Adapter>(Adapter{.name = "one", .slot = 3});
  const std::weak_ptr<const Adapter> held = request.adapter;
  harness.Submit(request);
  request.adapter.reset();
  bool has_image = false;
  int num_starts = 0;
  while (!harness.plans_.empty()) {
    const StepPlan& plan = harness.plans_.front();
    if (!plan.images.empty() || !plan.chunks.empty()) {
      EXPECT_FALSE(held.expired());
    }
    for (const EncodeImageItem& item : harness.plans_.front().images) {
      has_image = true;
      EXPECT_EQ(item.adapter, 3);
    }
    for (const SequenceChunk& chunk : harness.plans_.front().chunks) {
      if (chunk.start.empty()) continue;
      ++num_starts;
      EXPECT_EQ(chunk.start[0].adapter, 3);
    }
    harness.RunStep();
  }
  EXPECT_TRUE(has_image);
  EXPECT_EQ(num_starts, 1);
  EXPECT_TRUE(held.expired());
}

// 40 patches and 4 layers at 80 patch layers a step: two layers at a time, and the stream gets its
// token in each step.
TEST(ImageTest, ALongImageIsEncodedByLayerRangesWhileStreamsGoOn) {
  EngineHarness harness(Config(80));
  harness.FormGroup();
  harness.Submit(Endless("stream", 4));
  harness.RunStep();
  Request request = Endless("image", 20);
  AddImage(request, 0, 10, 1);
  const auto recording = harness.Submit(request);
  harness.RunStep();  // The next plan sends the pixels,
  harness.RunStep();  // and the one after that begins.
  for (int32_t layer = 0; layer < 4; layer += 2) {
    const StepPlan& plan = harness.plans_.front();
    ASSERT_EQ(plan.images.size(), 1u);
    EXPECT_EQ(plan.images[0].layer_begin, layer);
    EXPECT_EQ(plan.images[0].layer_end, layer + 2);
    EXPECT_EQ(plan.chunks[0].token_ids.size(), 1u);
    EXPECT_EQ(plan.chunks.size(),
              layer == 0 ? 1u : 2u);  // The image is there in the step of its last layer.
    harness.RunStep();
  }
  harness.RunToEnd();
  EXPECT_EQ(recording->answers[0], harness.Expected(request));
}

// Even an image of 40 patches under a budget of 10 moves one layer a step.
TEST(ImageTest, TheLargestImageMovesUnderTheSmallestBudget) {
  EngineHarness harness(Config(10));
  harness.FormGroup();
  Request request = Endless("a", 20);
  AddImage(request, 0, 10, 1);
  harness.Submit(request);
  for (int32_t layer = 0; layer < 4; ++layer) {
    ASSERT_EQ(harness.plans_.front().images.size(), 1u);
    EXPECT_EQ(harness.plans_.front().images[0].layer_end, layer + 1);
    harness.RunStep();
  }
}

TEST(ImageTest, ImagesGoRoundTheRanksEachWithABudgetOfItsOwn) {
  EngineHarness harness(Config(160));
  harness.FormGroup();
  Request request = Endless("a", 40);
  for (uint8_t picture = 0; picture < 3; ++picture) AddImage(request, picture * 10, 10, picture);
  harness.Submit(request);
  const std::vector<EncodeImageItem>& items = harness.plans_.front().images;
  ASSERT_EQ(items.size(), 2u);  // The third shares rank 0, whose budget the first one took.
  EXPECT_EQ(items[0].rank, 0);
  EXPECT_EQ(items[1].rank, 1);
  EXPECT_EQ(items[1].layer_end, 4);
  harness.RunStep();
  ASSERT_EQ(harness.plans_.front().images.size(), 1u);
  EXPECT_EQ(harness.plans_.front().images[0].rank, 0);
}

// 40 patches and a budget of 50 leave 10 in each step: the second, of 4, must not use them while
// the first is half-made, because a rank's encoder holds one image between steps.
TEST(ImageTest, ARankFinishesAnImageBeforeItBeginsTheNext) {
  GroupShape shape = SmallShape();
  shape.num_ranks = 1;
  EngineHarness harness(Config(50), shape);
  harness.FormGroup();
  Request request = Endless("a", 20);
  AddImage(request, 0, 10, 1);
  AddImage(request, 10, 1, 2);
  harness.Submit(request);
  for (int32_t layer = 0; layer < 3; ++layer) {
    ASSERT_EQ(harness.plans_.front().images.size(), 1u);
    EXPECT_EQ(harness.plans_.front().images[0].layer_begin, layer);
    harness.RunStep();
  }
  ASSERT_EQ(harness.plans_.front().images.size(), 2u);
  EXPECT_EQ(harness.plans_.front().images[0].layer_end, 4);
  EXPECT_EQ(harness.plans_.front().images[1].layer_begin, 0);
  EXPECT_EQ(harness.plans_.front().images[1].layer_end, 2);
}

TEST(ImageTest, TheSamePictureIsSentAndEncodedOnce) {
  EngineHarness harness(Config());
  harness.FormGroup();
  Request first = Endless("first", 20);
  AddImage(first, 2, 10, 1);
  Request second = Endless("second", 30);
  AddImage(second, 1, 10, 1);
  AddImage(second, 15, 10, 1);
  const auto first_recording = harness.Submit(first);
  const auto second_recording = harness.Submit(second);
  harness.RunToEnd();
  EXPECT_EQ(harness.images_sent_.size(), 1u);
  EXPECT_EQ(first_recording->answers[0], harness.Expected(first));
  EXPECT_EQ(second_recording->answers[0], harness.Expected(second));
  // Nobody runs any more, and it is still there.
  Request third = Endless("third", 20);
  AddImage(third, 4, 10, 1);
  const auto third_recording = harness.Submit(third);
  harness.RunToEnd();
  EXPECT_EQ(harness.images_sent_.size(), 1u);
  EXPECT_EQ(third_recording->answers[0], harness.Expected(third));
}

// 64 rows. Pictures 1 and 2 take 50; 1 is used again, so 2 is the one that makes room for 3.
TEST(ImageTest, TheLeastRecentlyUsedPictureMakesRoom) {
  EngineConfig config = Config();
  config.enable_prefix_caching = false;  // else nobody needs a picture twice
  EngineHarness harness(config);
  harness.FormGroup();
  for (const uint8_t picture : {1, 2, 1, 3, 1, 2}) {
    Request request = Endless("a", 40);
    AddImage(request, 0, 25, picture);
    const auto recording = harness.Submit(request);
    harness.RunToEnd();
    EXPECT_EQ(recording->answers[0], harness.Expected(request));
  }
  std::vector<int> sent;
  for (const ContentHash& image : harness.images_sent_) sent.push_back(image[0]);
  EXPECT_EQ(sent, (std::vector<int>{1, 2, 3, 2}));
}

// 64 rows: 40 are taken while their picture is encoded, a layer a step. The next in line needs 30,
// so a third that needs 10 must wait too, or small pictures could keep a large one out for ever.
TEST(ImageTest, NobodyOvertakesAPictureThatWaitsForRoom) {
  EngineHarness harness(Config(1));
  harness.FormGroup();
  const int32_t sizes[] = {40, 30, 10};
  for (uint8_t i = 0; i < 3; ++i) {
    Request request = MakeRequest(std::to_string(i), 45, 4);
    AddImage(request, 0, sizes[i], i);
    harness.Submit(request);
  }
  harness.RunStep();
  EXPECT_EQ(harness.engine_.Stats().num_running, 3);
  EXPECT_EQ(harness.images_sent_.size(), 1u);
  harness.RunToEnd();
  EXPECT_EQ(harness.images_sent_.size(), 3u);
}

// Ten pictures of 20 tokens do not fit 64 rows together; three at a time do.
TEST(ImageTest, APromptMayHoldMorePicturesThanTheCache) {
  EngineConfig config = Config();
  config.max_model_len = 256;
  GroupShape shape = SmallShape();
  shape.num_blocks = 64;
  EngineHarness harness(config, shape);
  harness.FormGroup();
  std::vector<std::shared_ptr<Recording>> recordings;
  std::vector<Request> requests;
  for (int r = 0; r < 2; ++r) {
    Request request = MakeRequest(std::to_string(r), 210, 4);
    request.ignore_eos = true;
    for (int i = 0; i < 10; ++i) AddImage(request, i * 21, 20, static_cast<uint8_t>(10 * r + i));
    requests.push_back(request);
    recordings.push_back(harness.Submit(request));
  }
  harness.RunToEnd();
  for (int r = 0; r < 2; ++r) EXPECT_EQ(recordings[r]->answers[0], harness.Expected(requests[r]));
  EXPECT_EQ(harness.workers_->num_images(), 0u);
}

// One plan ahead, a layer a step, and a stream that keeps the workers busy.
class AbandonedImageTest : public testing::Test {
 protected:
  static EngineConfig AheadConfig() {
    EngineConfig config = Config(40);
    config.pipeline_depth = 1;
    return config;
  }
  // Cancels the request with two of its layers in flight.
  AbandonedImageTest() {
    harness_.FormGroup();
    harness_.Submit(Endless("stream", 4));
    AddImage(request_, 0, 10, 1);
    harness_.Submit(request_);
    while (NumLayersInFlight() < 2) harness_.RunStep();
    EXPECT_TRUE(harness_.engine_.Cancel("a", nullptr).ok());
    harness_.Turn();
  }
  int NumLayersInFlight() const {
    int count = 0;
    for (const StepPlan& plan : harness_.plans_) count += static_cast<int>(plan.images.size());
    return count;
  }

  EngineHarness harness_{AheadConfig()};
  Request request_ = Endless("a", 20);
};

TEST_F(AbandonedImageTest, IsReleasedWhenNoStepInFlightEncodesIt) {
  harness_.RunStep();
  EXPECT_EQ(NumLayersInFlight(), 1);
  EXPECT_TRUE(harness_.plans_.back().released_images.empty());
  harness_.RunStep();
  EXPECT_EQ(NumLayersInFlight(), 0);
  EXPECT_EQ(harness_.plans_.back().released_images.size(), 1u);
}

// Or the release, still in flight, would drop the new pixels.
TEST_F(AbandonedImageTest, IsSentAgainOnlyAfterItsReleaseHasRun) {
  harness_.RunStep();
  harness_.RunStep();
  const auto recording = harness_.Submit(request_);
  harness_.RunStep();
  ASSERT_EQ(harness_.plans_.front().released_images.size(), 1u);
  EXPECT_EQ(harness_.images_sent_.size(), 1u);
  harness_.RunStep();
  EXPECT_EQ(harness_.images_sent_.size(), 2u);
  harness_.RunToEnd();
  EXPECT_EQ(recording->answers[0], harness_.Expected(request_));
  EXPECT_EQ(harness_.workers_->num_images(), 0u);
}

// The release must not overtake pixels that are still under way.
TEST(ImageTest, APictureCancelledOnItsWayIsReleasedWhenItHasArrived) {
  EngineHarness harness(Config());
  harness.deliver_images_ = false;
  harness.FormGroup();
  Request request = Endless("a", 20);
  AddImage(request, 0, 10, 1);
  harness.Submit(request);
  ASSERT_TRUE(harness.engine_.Cancel("a", nullptr).ok());
  harness.Turn();
  EXPECT_TRUE(harness.plans_.empty());
  harness.engine_.OnImageReady(1, request.images[0].hash);
  harness.Turn();
  ASSERT_EQ(harness.plans_.size(), 1u);
  EXPECT_EQ(harness.plans_[0].released_images.size(), 1u);
  harness.RunToEnd();
  EXPECT_EQ(harness.workers_->num_images(), 0u);
}

}  // namespace
}  // namespace longhand::engine
