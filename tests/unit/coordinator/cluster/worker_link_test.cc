#include "coordinator/cluster/worker_link.h"

#include <gtest/gtest.h>

namespace longhand::cluster {
namespace {

// gRPC's threads of callbacks end with the last channel: one of them that held it would end itself,
// which shows as an abort or a segmentation fault, in one of some tens of ends.
TEST(WorkerLink, NoCallbackIsTheLastThatHoldsTheChannel) {
  for (int i = 0; i < 300; ++i) {
    WorkerLink link("unix:/no/such/worker");
    link.Open();
  }
}

}  // namespace
}  // namespace longhand::cluster
