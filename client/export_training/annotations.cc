#include "client/export_training/annotations.h"

#include <algorithm>
#include <vector>

#include "client/generate/chat_file.h"
#include "common/trim.h"

namespace longhand::client {
namespace {

namespace fs = std::filesystem;

std::vector<fs::path> FoldersIn(const fs::path& folder) {
  std::vector<fs::path> folders;
  std::error_code error;
  for (fs::directory_iterator entry(folder, error), end; !error && entry != end;
       entry.increment(error)) {
    std::error_code ignored;
    if (entry->is_directory(ignored)) folders.push_back(entry->path());
  }
  std::sort(folders.begin(), folders.end());
  return folders;
}

std::vector<fs::path> CoursesIn(const fs::path& folder) {
  std::vector<fs::path> courses;
  for (const fs::path& major : FoldersIn(folder)) {
    for (const fs::path& course : FoldersIn(major)) {
      std::error_code ignored;
      if (fs::is_directory(course / "annotated_scripts", ignored)) courses.push_back(course);
    }
  }
  return courses;
}

bool HasPage(const fs::path& course, int page) {
  std::error_code ignored;
  const std::string number = std::to_string(page);
  return fs::exists(course / "pngs" / (number + ".png"), ignored) ||
         fs::exists(course / "scripts" / (number + ".txt"), ignored) ||
         fs::exists(course / "annotated_scripts" / (number + ".txt"), ignored);
}

Status AddPage(const fs::path& file, std::string* script) {
  LONGHAND_ASSIGN_OR_RETURN(const std::string text, ReadFile(file));
  if (!script->empty()) *script += "\n\n";
  *script += Trim(text, " \t\r\n");
  return OkStatus();
}

Status PairsOfCourse(const fs::path& course,
                     const std::string& instruction,
                     AnnotationCounts* counts,
                     const std::function<Status(Sample)>& take) {
  Sample pair{.turns = {{true, instruction}}};
  for (int page = 1; HasPage(course, page); ++page) {
    const std::string number = std::to_string(page);
    LONGHAND_ASSIGN_OR_RETURN(std::string picture, ReadFile(course / "pngs" / (number + ".png")));
    pair.pictures.push_back(PictureOf(std::move(picture)));
    LONGHAND_RETURN_IF_ERROR(
        AddPage(course / "annotated_scripts" / (number + ".txt"), &pair.chosen));
    LONGHAND_RETURN_IF_ERROR(AddPage(course / "scripts" / (number + ".txt"), &pair.rejected));
    if (pair.chosen == pair.rejected) {
      ++counts->num_equal;
    } else {
      LONGHAND_RETURN_IF_ERROR(take(pair));
    }
  }
  ++counts->num_courses;
  return OkStatus();
}

}  // namespace

Status ForEachPrefixPair(const fs::path& folder,
                         const std::string& instruction,
                         AnnotationCounts* counts,
                         const std::function<Status(Sample)>& take) {
  const std::vector<fs::path> courses = CoursesIn(folder);
  if (courses.empty())
    return NotFound(folder.string(), " has no MAJOR/COURSE with a folder annotated_scripts");
  for (const fs::path& course : courses)
    LONGHAND_RETURN_IF_ERROR(PairsOfCourse(course, instruction, counts, take));
  return OkStatus();
}

}  // namespace longhand::client
