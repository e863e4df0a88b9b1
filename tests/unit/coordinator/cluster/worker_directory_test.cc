#include "coordinator/cluster/worker_directory.h"

#include <gmock/gmock.h>

namespace longhand::cluster {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class Directory : public ::testing::Test {
 protected:
  WorkerDirectory::Listing LookWhere(Result<std::vector<std::string>> listed) {
    listed_ = std::move(listed);
    return directory_.Look();
  }
  std::vector<std::string> AddressesWhere(std::vector<std::string> listed) {
    return LookWhere(std::move(listed)).addresses;
  }

 private:
  Result<std::vector<std::string>> listed_ = Unavailable("not looked up");
  WorkerDirectory directory_{3, [this] { return listed_; }};
};

TEST_F(Directory, SaysHowManyAreMissing) {
  const WorkerDirectory::Listing none = LookWhere(Unavailable("no such name"));
  EXPECT_THAT(none.addresses, ElementsAre("", "", ""));
  EXPECT_EQ(none.status, Unavailable("no such name"));
  const WorkerDirectory::Listing two = LookWhere(std::vector<std::string>{"a:1", "b:1"});
  EXPECT_THAT(two.addresses, ElementsAre("a:1", "b:1", ""));
  EXPECT_THAT(two.status.message(), HasSubstr("2 addresses are listed; 3 workers are needed"));
  EXPECT_TRUE(LookWhere(std::vector<std::string>{"a:1", "b:1", "c:1"}).status.ok());
}

TEST_F(Directory, WhoIsListedKeepsItsPlaceAndANewOneTakesThatOfWhoIsGone) {
  EXPECT_THAT(AddressesWhere({"b:1", "c:1", "d:1"}), ElementsAre("b:1", "c:1", "d:1"));
  EXPECT_THAT(AddressesWhere({"a:1", "b:1", "d:1"}), ElementsAre("b:1", "a:1", "d:1"));
  EXPECT_THAT(AddressesWhere({"d:1", "b:1", "a:1", "x:1"}), ElementsAre("b:1", "a:1", "d:1"));
}

TEST_F(Directory, WhereNothingIsNewTheOldAddressesStay) {
  (void)AddressesWhere({"a:1", "b:1", "c:1"});
  EXPECT_THAT(AddressesWhere({"a:1"}), ElementsAre("a:1", "b:1", "c:1"));
  const WorkerDirectory::Listing unknown = LookWhere(Unavailable("no name server"));
  EXPECT_THAT(unknown.addresses, ElementsAre("a:1", "b:1", "c:1"));
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
