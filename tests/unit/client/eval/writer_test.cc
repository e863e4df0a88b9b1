#include "client/eval/writer.h"

#include <gtest/gtest.h>

#include "common/agent_write/template_text.h"

namespace longhand::client {
namespace {

TEST(PythonList, TextsAreWrittenAsPythonPrintsThem) {
  EXPECT_EQ(PythonList({}), "[]");
  EXPECT_EQ(PythonList({"one", "it's", "both ' and \"", "a\nb\\"}),
            R"(['one', "it's", 'both \' and "', 'a\nb\\'])");
}

TEST(FillTemplate, ValuesAreNotSearchedForPlaceholders) {
  EXPECT_EQ(FillTemplate("$A$ costs $5: $B$", {{"$A$", "$B$"}, {"$B$", "b"}}), "$B$ costs $5: b");
}

}  // namespace
}  // namespace longhand::client
