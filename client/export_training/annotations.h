// Pairs for DPO out of lecture scripts that people revised.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>

#include "client/export_training/sample.h"
#include "common/status.h"

namespace longhand::client {

struct AnnotationCounts {
  int64_t num_courses = 0;
  int64_t num_equal = 0;  // prefixes where nothing was revised; no pair
};

// `folder` has MAJOR/COURSE/pngs/N.png, scripts/N.txt (the model's) and annotated_scripts/N.txt
// (the revised), N from 1, as LongWriter-V's annotation tool keeps them. Pair i of a course: pages
// up to i, revised (chosen) and not (rejected), with their pictures. kNotFound where a course lacks
// one of a page's three files, or there is no course; errors of `take`.
Status ForEachPrefixPair(const std::filesystem::path& folder,
                         const std::string& instruction,
                         AnnotationCounts* counts,
                         const std::function<Status(Sample)>& take);

}  // namespace longhand::client
