#include "client/export_training/training_folder.h"

#include <fstream>

#include "client/dataset/row_key.h"
#include "client/generate/chat_file.h"

namespace longhand::client {
namespace {

namespace fs = std::filesystem;
namespace json = boost::json;

json::object Message(bool is_user, const std::string& text) {
  return {{"role", is_user ? "user" : "assistant"}, {"content", text}};
}

// Once `columns` is there, one that it does not name counts as absent.
json::object InfoOf(const std::string& name, bool is_pairs) {
  json::object columns{{"messages", "messages"}, {"images", "images"}};
  if (is_pairs) {
    columns["chosen"] = "chosen";
    columns["rejected"] = "rejected";
  }
  json::object info{{"file_name", name + ".jsonl"}, {"formatting", "sharegpt"}};
  if (is_pairs) info["ranking"] = true;
  info["columns"] = std::move(columns);
  info["tags"] = json::object{{"role_tag", "role"},
                              {"content_tag", "content"},
                              {"user_tag", "user"},
                              {"assistant_tag", "assistant"},
                              {"system_tag", "system"}};
  return info;
}

fs::path WithoutPictures(const fs::path& folder, const std::string& name) {
  return folder / (name + ".without_pictures.tmp");
}

Result<JsonLinesWriter> OpenAnew(const fs::path& file) {
  LONGHAND_RETURN_IF_ERROR(WriteWhole(file, ""));
  return JsonLinesWriter::Append(file);
}

// Appends the one file to the other, and removes it.
Status AppendAndRemove(const fs::path& from, const fs::path& to) {
  std::ifstream in(from, std::ios::binary);
  std::ofstream out(to, std::ios::binary | std::ios::app);
  if (in.peek() != std::ifstream::traits_type::eof()) out << in.rdbuf();
  out.close();
  if (!out || in.bad()) return Internal("cannot append ", from.string(), " to ", to.string());
  std::error_code ignored;
  fs::remove(from, ignored);
  return OkStatus();
}

}  // namespace

Result<TrainingFolder> TrainingFolder::Open(const fs::path& folder, const std::string& name) {
  LONGHAND_ASSIGN_OR_RETURN(JsonLinesWriter with_pictures, OpenAnew(folder / (name + ".jsonl")));
  LONGHAND_ASSIGN_OR_RETURN(JsonLinesWriter without, OpenAnew(WithoutPictures(folder, name)));
  return TrainingFolder(folder, name, std::move(with_pictures), std::move(without));
}

Result<std::string> TrainingFolder::Save(const Picture& picture) const {
  const std::string ending = picture.type.substr(picture.type.find('/') + 1);
  const std::string path = "images/" + ShortHash(picture.bytes) + "." + ending;
  std::error_code ignored;
  if (!fs::exists(folder_ / path, ignored))
    LONGHAND_RETURN_IF_ERROR(WriteWhole(folder_ / path, picture.bytes));
  return path;
}

Status TrainingFolder::Add(const Sample& sample) {
  json::array messages, images;
  for (const Turn& turn : sample.turns) messages.push_back(Message(turn.is_user, turn.text));
  for (const Picture& picture : sample.pictures) {
    LONGHAND_ASSIGN_OR_RETURN(const std::string path, Save(picture));
    images.push_back(json::string(path));
  }
  json::object line{{"messages", std::move(messages)}};
  if (sample.is_pair()) {
    line["chosen"] = Message(false, sample.chosen);
    line["rejected"] = Message(false, sample.rejected);
  }
  line["images"] = std::move(images);
  ++num_samples_;
  return (sample.pictures.empty() ? without_ : with_pictures_).Add(line);
}

Status TrainingFolder::Finish(bool is_pairs) {
  LONGHAND_RETURN_IF_ERROR(
      AppendAndRemove(WithoutPictures(folder_, name_), folder_ / (name_ + ".jsonl")));
  const fs::path path = folder_ / "dataset_info.json";
  json::object all;
  std::error_code ignored;
  if (fs::exists(path, ignored)) {
    LONGHAND_ASSIGN_OR_RETURN(const std::string text, ReadFile(path));
    json::error_code error;
    json::value value = json::parse(text, error);
    if (error || !value.is_object())
      return InvalidArgument(path.string(), " is no JSON object; move it away");
    all = std::move(value.get_object());
  }
  all[name_] = InfoOf(name_, is_pairs);
  return WriteWhole(path, json::serialize(all) + "\n");
}

}  // namespace longhand::client
