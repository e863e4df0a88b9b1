// JsonFields: typed reads of a JSON file's fields, each with its allowed range.
//
// For what reads a checkpoint's JSON files; not for the model itself. The first error sticks: reads
// after it return their fallback, and the caller looks at status() once at the end. Messages name
// file, field, what was found and what is allowed.
#pragma once

#include <boost/json.hpp>
#include <cstdint>
#include <filesystem>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/status.h"

namespace longhand::internal {

// The object in `path`. kNotFound when there is no such file, kInvalidArgument when it is not a
// JSON object or larger than 16 MiB.
Result<boost::json::object> ReadJsonObject(const std::filesystem::path& path);

class JsonFields {
 public:
  // Fields of `object`, which lives at `prefix` ("" or "vision_config.") of the file called `file`.
  JsonFields(std::string file,
             std::string prefix,
             const boost::json::object& object,
             Status& status);
  // Where a field is not in this object, look in `other`: the flat layout under a nested one.
  void SetFallback(const JsonFields* other) { fallback_ = other; }

  // Present and not null, here or in the fallback.
  bool Has(std::string_view name) const { return Find(name).value != nullptr; }
  bool IsList(std::string_view name) const { return Has(name) && Find(name).value->is_array(); }

  // Without `absent` the field is required.
  int64_t Int(std::string_view name,
              int64_t min,
              int64_t max,
              std::optional<int64_t> absent = std::nullopt);
  double Number(std::string_view name,
                double min,
                double max,
                std::optional<double> absent = std::nullopt);
  bool Bool(std::string_view name, bool absent);
  std::string String(std::string_view name, std::string_view absent);
  // An array of integers; `size` elements when it is not 0.
  std::vector<int64_t> IntList(std::string_view name,
                               int64_t min,
                               int64_t max,
                               size_t size,
                               std::optional<std::vector<int64_t>> absent = std::nullopt);
  std::vector<double> NumberList(
      std::string_view name, double min, double max, size_t size, std::vector<double> absent);
  // The object called `name` of this object or its fallback; an empty one when it is absent.
  JsonFields Object(std::string_view name);

  // Fails unless the field is absent or one of `allowed`.
  void OneOf(std::string_view name, std::initializer_list<std::string_view> allowed);
  // The same for each element of a list.
  void EachOneOf(std::string_view name, std::initializer_list<std::string_view> allowed);
  // Records an error about a field of this object.
  void Fail(std::string_view name, std::string_view found, std::string_view expected);

  Status& status() { return status_; }
  const std::string& file() const { return file_; }

 private:
  struct Found {
    const boost::json::value* value = nullptr;
    const JsonFields* owner = nullptr;
  };
  Found Find(std::string_view name) const;
  void FailAt(const Found& found, std::string_view name, std::string_view expected);
  void FailUnlessOneOf(const Found& found,
                       std::string_view name,
                       const boost::json::value& value,
                       std::initializer_list<std::string_view> allowed);
  const boost::json::array* Array(std::string_view name, size_t size, const Found& found);

  std::string file_;
  std::string prefix_;
  const boost::json::object& object_;
  Status& status_;
  const JsonFields* fallback_ = nullptr;
};

}  // namespace longhand::internal
