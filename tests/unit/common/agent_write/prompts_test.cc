#include "common/agent_write/prompts.h"

#include <gtest/gtest.h>

#include <boost/json.hpp>
#include <fstream>
#include <iterator>

#include "common/agent_write/outline.h"

namespace longhand {
namespace {

namespace json = boost::json;

// Made by demo/tasks.py, from which the bundled model learns.
json::array Recording() {
  std::ifstream file(LONGHAND_TEST_DATA "/agent_write/prompts.json");
  return json::parse(std::string(std::istreambuf_iterator<char>(file), {})).as_array();
}

TEST(Prompts, AreByteForByteThoseOfTheTrainingData) {
  for (const json::value& value : Recording()) {
    const json::object& sample = value.as_object();
    const auto text = [&](const char* name) { return std::string(sample.at(name).as_string()); };
    EXPECT_EQ(PlanPrompt(text("instruction")), text("plan_prompt"));
    const auto outline = ParseOutline(text("plan"));
    ASSERT_TRUE(outline.ok()) << outline.status();
    const json::array& steps = sample.at("steps").as_array();
    const json::array& num_words = sample.at("num_words").as_array();
    ASSERT_EQ(outline->size(), steps.size());
    for (size_t i = 0; i < steps.size(); ++i) {
      EXPECT_EQ((*outline)[i].step, std::string(steps[i].as_string()));
      EXPECT_EQ((*outline)[i].num_words, num_words[i].as_int64());
    }
    std::string written;
    for (const json::value& section : sample.at("written").as_array())
      written += (written.empty() ? "" : "\n\n") + std::string(section.as_string());
    const OutlineSection& section =
        outline->at(static_cast<size_t>(sample.at("section").as_int64()));
    EXPECT_EQ(WritePrompt(text("instruction"), text("plan"), written, section.step),
              text("write_prompt"));
  }
}

TEST(Prompts, WhatAUserWroteIsNeverFilledIn) {
  const std::string prompt = WritePrompt("say $PLAN$ and $5, $INST$", "a $STEP$", "a $TEXT$", "go");
  EXPECT_NE(prompt.find("Instruction:\nsay $PLAN$ and $5, $INST$\n"), std::string::npos) << prompt;
  EXPECT_NE(prompt.find("Outline:\na $STEP$\n"), std::string::npos) << prompt;
  EXPECT_NE(prompt.find("Text so far:\na $TEXT$\n"), std::string::npos) << prompt;
  EXPECT_NE(prompt.find("this one:\ngo\n"), std::string::npos) << prompt;
}

TEST(Prompts, ALengthIsSaidOnceAtMost) {
  EXPECT_EQ(WithLength("Write about the sea.", 5000),
            "Write about the sea.\n\nThe whole text is to have 5000 words.");
  for (const char* names_it : {"Write 5000 words.", "A 5,000-word story.", "写一篇5000字的文章。"})
    EXPECT_EQ(WithLength(names_it, 5000), names_it);
  for (const char* names_another : {"15000 words", "50001", "5 000", "500, 0"})
    EXPECT_NE(WithLength(names_another, 5000), names_another);
}

}  // namespace
}  // namespace longhand
