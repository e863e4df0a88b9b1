#include "common/config/json_fields.h"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <sstream>
#include <system_error>
#include <utility>

namespace longhand::internal {
namespace {

constexpr uintmax_t kMaxFileBytes = 16 << 20;
constexpr size_t kMaxShownChars = 60;

std::string Shown(const boost::json::value& value) {
  std::string text = boost::json::serialize(value);
  if (text.size() > kMaxShownChars) {
    text.resize(kMaxShownChars);
    text += "...";
  }
  return text;
}

std::optional<int64_t> AsInt(const boost::json::value& value) {
  if (value.is_int64()) return value.get_int64();
  if (value.is_uint64() && value.get_uint64() <= INT64_MAX)
    return static_cast<int64_t>(value.get_uint64());
  return std::nullopt;
}

std::optional<double> AsNumber(const boost::json::value& value) {
  if (value.is_double()) return value.get_double();
  if (value.is_int64()) return static_cast<double>(value.get_int64());
  if (value.is_uint64()) return static_cast<double>(value.get_uint64());
  return std::nullopt;
}

template <typename T>
std::string Between(std::string_view what, T min, T max) {
  std::ostringstream out;
  out << what << " from " << min << " to " << max;
  return out.str();
}

const boost::json::object kEmptyObject;

}  // namespace

Result<boost::json::object> ReadJsonObject(const std::filesystem::path& path) {
  const std::string file = path.filename().string();
  std::error_code error;
  const uintmax_t size = std::filesystem::file_size(path, error);
  if (error) {
    if (!std::filesystem::exists(path, error)) return NotFound("there is no ", path.string());
    return InvalidArgument(path.string(), " is not a readable file");
  }
  if (size > kMaxFileBytes) {
    return InvalidArgument(file, ": ", size, " bytes; at most ", kMaxFileBytes, " are allowed");
  }
  std::ifstream in(path, std::ios::binary);
  std::string text(size, '\0');
  if (!in.read(text.data(), static_cast<std::streamsize>(size))) {
    return InvalidArgument(path.string(), " is not a readable file");
  }
  boost::json::error_code parse_error;
  boost::json::stream_parser parser;
  const size_t parsed = parser.write_some(text, parse_error);
  if (!parse_error && parsed != text.size()) parse_error = boost::json::error::extra_data;
  if (!parse_error) parser.finish(parse_error);
  if (parse_error) {
    return InvalidArgument(file, ": not valid JSON near byte ", parsed, ": ",
                           parse_error.message());
  }
  boost::json::value value = parser.release();
  if (!value.is_object())
    return InvalidArgument(file, ": found ", Shown(value), "; expected a JSON object");
  return std::move(value.get_object());
}

JsonFields::JsonFields(std::string file,
                       std::string prefix,
                       const boost::json::object& object,
                       Status& status)
    : file_(std::move(file)), prefix_(std::move(prefix)), object_(object), status_(status) {}

JsonFields::Found JsonFields::Find(std::string_view name) const {
  const auto it = object_.find(boost::json::string_view(name.data(), name.size()));
  if (it != object_.end() && !it->value().is_null()) return {&it->value(), this};
  if (fallback_ != nullptr) return fallback_->Find(name);
  return {nullptr, this};
}

void JsonFields::FailAt(const Found& found, std::string_view name, std::string_view expected) {
  if (!status_.ok()) return;
  const std::string seen = found.value == nullptr ? "is missing" : "is " + Shown(*found.value);
  status_ = InvalidArgument(file_, ": field ", found.owner->prefix_, name, " ", seen, "; expected ",
                            expected);
}

void JsonFields::Fail(std::string_view name, std::string_view found, std::string_view expected) {
  if (!status_.ok()) return;
  status_ = InvalidArgument(file_, ": field ", Find(name).owner->prefix_, name, " is ", found,
                            "; expected ", expected);
}

int64_t JsonFields::Int(std::string_view name,
                        int64_t min,
                        int64_t max,
                        std::optional<int64_t> absent) {
  const Found found = Find(name);
  if (found.value == nullptr && absent) return *absent;
  const std::optional<int64_t> value = found.value == nullptr ? std::nullopt : AsInt(*found.value);
  if (!value || *value < min || *value > max) {
    FailAt(found, name, Between("an integer", min, max));
    return absent.value_or(min);
  }
  return *value;
}

double JsonFields::Number(std::string_view name,
                          double min,
                          double max,
                          std::optional<double> absent) {
  const Found found = Find(name);
  if (found.value == nullptr && absent) return *absent;
  const std::optional<double> value =
      found.value == nullptr ? std::nullopt : AsNumber(*found.value);
  if (!value || !std::isfinite(*value) || *value < min || *value > max) {
    FailAt(found, name, Between("a number", min, max));
    return absent.value_or(min);
  }
  return *value;
}

bool JsonFields::Bool(std::string_view name, bool absent) {
  const Found found = Find(name);
  if (found.value == nullptr) return absent;
  if (!found.value->is_bool()) {
    FailAt(found, name, "true or false");
    return absent;
  }
  return found.value->get_bool();
}

std::string JsonFields::String(std::string_view name, std::string_view absent) {
  const Found found = Find(name);
  if (found.value == nullptr) return std::string(absent);
  if (!found.value->is_string()) {
    FailAt(found, name, "a string");
    return std::string(absent);
  }
  return std::string(found.value->get_string().c_str(), found.value->get_string().size());
}

const boost::json::array* JsonFields::Array(std::string_view name,
                                            size_t size,
                                            const Found& found) {
  const boost::json::array* array = found.value == nullptr ? nullptr : found.value->if_array();
  if (array != nullptr && (size == 0 || array->size() == size)) return array;
  FailAt(found, name, size == 0 ? "a list" : "a list of " + std::to_string(size));
  return nullptr;
}

std::vector<int64_t> JsonFields::IntList(std::string_view name,
                                         int64_t min,
                                         int64_t max,
                                         size_t size,
                                         std::optional<std::vector<int64_t>> absent) {
  const Found found = Find(name);
  if (found.value == nullptr && absent) return *std::move(absent);
  std::vector<int64_t> out;
  const boost::json::array* array = Array(name, size, found);
  if (array == nullptr) return out;
  for (const boost::json::value& element : *array) {
    const std::optional<int64_t> value = AsInt(element);
    if (!value || *value < min || *value > max) {
      FailAt(found, name, Between("a list of integers", min, max));
      return {};
    }
    out.push_back(*value);
  }
  return out;
}

std::vector<double> JsonFields::NumberList(
    std::string_view name, double min, double max, size_t size, std::vector<double> absent) {
  const Found found = Find(name);
  if (found.value == nullptr) return absent;
  const boost::json::array* array = Array(name, size, found);
  if (array == nullptr) return absent;
  std::vector<double> out;
  for (const boost::json::value& element : *array) {
    const std::optional<double> value = AsNumber(element);
    if (!value || !std::isfinite(*value) || *value < min || *value > max) {
      FailAt(found, name, Between("a list of numbers", min, max));
      return absent;
    }
    out.push_back(*value);
  }
  return out;
}

JsonFields JsonFields::Object(std::string_view name) {
  const Found found = Find(name);
  const boost::json::object* object = &kEmptyObject;
  if (found.value != nullptr) {
    if (found.value->is_object()) {
      object = &found.value->get_object();
    } else {
      FailAt(found, name, "an object");
    }
  }
  return JsonFields(file_, found.owner->prefix_ + std::string(name) + ".", *object, status_);
}

void JsonFields::FailUnlessOneOf(const Found& found,
                                 std::string_view name,
                                 const boost::json::value& value,
                                 std::initializer_list<std::string_view> allowed) {
  std::string expected;
  for (const std::string_view name_allowed : allowed) {
    if (value.is_string() && value.get_string() == boost::json::string_view(name_allowed)) return;
    expected += (expected.empty() ? "\"" : " or \"") + std::string(name_allowed) + "\"";
  }
  FailAt(found, name, expected);
}

void JsonFields::OneOf(std::string_view name, std::initializer_list<std::string_view> allowed) {
  const Found found = Find(name);
  if (found.value != nullptr) FailUnlessOneOf(found, name, *found.value, allowed);
}

void JsonFields::EachOneOf(std::string_view name, std::initializer_list<std::string_view> allowed) {
  const Found found = Find(name);
  const boost::json::array* array = found.value == nullptr ? nullptr : Array(name, 0, found);
  if (array == nullptr) return;
  for (const boost::json::value& value : *array) FailUnlessOneOf(found, name, value, allowed);
}

}  // namespace longhand::internal
