#include "coordinator/cluster/worker_directory.h"

#include <gmock/gmock.h>

namespace longhand::cluster {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

using Addresses = std::vector<std::string>;

class Directory : public ::testing::Test {
 protected:
  WorkerDirectory::Listing Look(const std::vector<size_t>& lost, Result<Addresses> listed) {
    listed_ = std::move(listed);
    return directory_.Look(lost);
  }

 private:
  Result<Addresses> listed_ = Unavailable("not looked up");
  WorkerDirectory directory_{3, [this] { return listed_; }};
};

TEST_F(Directory, SaysHowManyAreMissing) {
  const WorkerDirectory::Listing none = Look({0, 1, 2}, Unavailable("no such name"));
  EXPECT_THAT(none.addresses, ElementsAre("", "", ""));
  EXPECT_EQ(none.status, Unavailable("no such name"));
  const WorkerDirectory::Listing two = Look({0, 1, 2}, Addresses{"a:1", "b:1"});
  EXPECT_THAT(two.addresses, ElementsAre("a:1", "b:1", ""));
  EXPECT_THAT(two.status.message(), HasSubstr("2 addresses are listed; 3 workers are needed"));
  const WorkerDirectory::Listing last = Look({2}, Addresses{"a:1", "b:1", "c:1"});
  EXPECT_THAT(last.addresses, ElementsAre("c:1"));
  EXPECT_TRUE(last.status.ok());
}

TEST_F(Directory, ANewOneTakesThePlaceOfWhoIsLostAndListedNoMore) {
  EXPECT_THAT(Look({0, 1, 2}, Addresses{"b:1", "c:1", "d:1"}).addresses,
              ElementsAre("b:1", "c:1", "d:1"));
  EXPECT_THAT(Look({1, 2}, Addresses{"a:1", "b:1", "d:1"}).addresses, ElementsAre("a:1", "d:1"));
}

TEST_F(Directory, WhoLivesKeepsItsAddressAlsoWhileTheNameLacksIt) {
  (void)Look({0, 1, 2}, Addresses{"a:1", "b:1", "c:1"});
  EXPECT_THAT(Look({1}, Addresses{"c:1", "d:1"}).addresses, ElementsAre("d:1"));
  EXPECT_THAT(Look({2}, Addresses{"a:1", "d:1"}).addresses, ElementsAre("c:1"));
}

TEST_F(Directory, WhereNothingIsFreeTheOldAddressesStay) {
  (void)Look({0, 1, 2}, Addresses{"a:1", "b:1", "c:1"});
  EXPECT_THAT(Look({0, 1}, Addresses{"c:1"}).addresses, ElementsAre("a:1", "b:1"));
  const WorkerDirectory::Listing unknown = Look({0}, Unavailable("no name server"));
  EXPECT_THAT(unknown.addresses, ElementsAre("a:1"));
  EXPECT_TRUE(unknown.status.ok());
}

TEST(LookUp, ReadsNumbersAndSaysWhatIsNotThere) {
  EXPECT_THAT(LookUp("127.0.0.5:7001").value(), ElementsAre("127.0.0.5:7001"));
  EXPECT_THAT(LookUp("[::1]:7001").value(), ElementsAre("[::1]:7001"));
  const Status status = LookUp("no-such-name.invalid:7001").status();
  EXPECT_EQ(status.code(), StatusCode::kUnavailable);
  EXPECT_THAT(status.message(), HasSubstr("no-such-name.invalid"));
}

}  // namespace
}  // namespace longhand::cluster
