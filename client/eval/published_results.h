// Table 1 of the LongWriter-V paper (arXiv 2502.14834), to set a result beside. Not measured here.
#pragma once

#include <array>
#include <optional>

namespace longhand::client {

struct PublishedResult {
  const char* model;
  double overall, length, quality;                       // S, S_l, S_q
  std::optional<std::array<double, 4>> length_of_group;  // S_l, where the paper's table has it here
};

inline const PublishedResult kPublishedResults[] = {
    {"LongWriter-V-72B", 84.9, 84.3, 85.5, {{73.2, 86.2, 88.4, 81.4}}},
    {"LongWriter-V-7B-DPO", 84.6, 86.2, 82.9, {{69.5, 90.5, 87.1, 87.4}}},
    {"LongWriter-V-7B", 81.8, 82.5, 81.1, {{63.3, 87.8, 81.2, 86.8}}},
    {"Qwen2.5-VL-72B", 83.3, 79.9, 86.7, {{80.0, 84.5, 71.6, 65.3}}},
    {"Qwen2.5-VL-7B", 54.4, 45.3, 63.5, {{62.9, 46.6, 37.6, 16.1}}},
    {"Gemini-1.5-Pro", 83.0, 74.8, 91.2, {}},
    {"GPT-4o", 62.7, 42.7, 82.6, {{86.6, 37.7, 34.2, 14.2}}},
    {"Claude-3-Opus", 61.7, 41.5, 82.0, {}},
    {"MiniCPM-V2.6", 54.1, 30.3, 77.8, {}},
    {"captions + DeepSeek-R1", 82.4, 70.3, 94.5, {}},
    {"captions + Mistral-Large", 78.9, 69.6, 88.2, {}},
    {"captions + GPT-4o", 77.1, 66.6, 87.5, {}},
    {"captions + GLM-4-9B", 71.3, 62.0, 80.6, {}},
};

}  // namespace longhand::client
