#include "coordinator/http/request_fields.h"

#include <cmath>
#include <limits>

#include "common/shorten.h"

namespace longhand::http {
namespace {

constexpr size_t kMaxShownBytes = 60;

// 5 and 5.0 are one number in JSON.
std::optional<int64_t> WholeNumber(const boost::json::value& value) {
  if (value.is_int64()) return value.get_int64();
  if (!value.is_double()) return std::nullopt;
  const double number = value.get_double();
  if (std::floor(number) != number || std::abs(number) >= 0x1p63) return std::nullopt;
  return static_cast<int64_t>(number);
}

std::string Range(int64_t min, int64_t max) {
  if (min == max) return "it must be " + std::to_string(min);
  if (max == std::numeric_limits<int64_t>::max())
    return "it must be a whole number of at least " + std::to_string(min);
  return "it must be a whole number from " + std::to_string(min) + " to " + std::to_string(max);
}

}  // namespace

std::optional<int32_t> TokenId(const boost::json::value& value) {
  const std::optional<int64_t> number = WholeNumber(value);
  if (!number || *number < 0 || *number > std::numeric_limits<int32_t>::max()) return std::nullopt;
  return static_cast<int32_t>(*number);
}

std::string Shown(const boost::json::value& value) {
  if (value.is_array()) return "a list";
  if (value.is_object()) return "an object";
  std::string text;
  if (const auto* string = value.if_string()) {
    text = "'" + std::string(string->subview(0, kMaxShownBytes + 1)) + "'";
  } else if (value.is_double()) {
    char digits[32];
    std::snprintf(digits, sizeof(digits), "%g", value.get_double());
    text = digits;
  } else {
    text = boost::json::serialize(value);
  }
  return Shortened(text, kMaxShownBytes);
}

const boost::json::value* RequestFields::Find(std::string_view name) const {
  const boost::json::value* value = object_.if_contains(name);
  return value == nullptr || value->is_null() ? nullptr : value;
}

void RequestFields::Fail(std::string_view name, const Status& status) {
  if (status_.ok()) status_ = status.About(std::string(name));
}

void RequestFields::Fail(std::string_view name, std::string_view expected) {
  const boost::json::value* value = Find(name);
  const std::string seen = value == nullptr ? "missing" : Shown(*value);
  Fail(name, InvalidArgument(name, " is ", seen, "; ", expected));
}

void RequestFields::Refuse(std::string_view name, std::string_view why) {
  const boost::json::value* value = Find(name);
  if (value == nullptr) return;
  const bool says_nothing = (value->is_bool() && !value->get_bool()) ||
                            (value->is_array() && value->get_array().empty()) ||
                            (value->is_object() && value->get_object().empty()) ||
                            (value->is_string() && value->get_string().empty());
  if (!says_nothing) Fail(name, InvalidArgument(name, " is not supported: ", why));
}

void RequestFields::RefuseFalse(std::string_view name, std::string_view why) {
  if (!Bool(name, true))
    Fail(name, InvalidArgument(name, " is false, which is not supported: ", why));
}

std::optional<double> RequestFields::Number(std::string_view name) {
  const boost::json::value* value = Find(name);
  if (value == nullptr) return std::nullopt;
  boost::system::error_code error;
  const double number = value->is_number() ? value->to_number<double>(error) : 0;
  if (value->is_number() && !error) return number;
  Fail(name, "it must be a number");
  return std::nullopt;
}

std::optional<int64_t> RequestFields::Int(std::string_view name, int64_t min, int64_t max) {
  const boost::json::value* value = Find(name);
  if (value == nullptr) return std::nullopt;
  const std::optional<int64_t> number = WholeNumber(*value);
  if (number && *number >= min && *number <= max) return number;
  Fail(name, Range(min, max));
  return std::nullopt;
}

std::optional<uint64_t> RequestFields::Seed(std::string_view name) {
  const boost::json::value* value = Find(name);
  if (value == nullptr) return std::nullopt;
  if (value->is_uint64()) return value->get_uint64();
  const std::optional<int64_t> number = WholeNumber(*value);
  if (!number)
    Fail(name, "it must be a whole number from -9223372036854775808 to 18446744073709551615");
  if (!number || *number == -1) return std::nullopt;
  return static_cast<uint64_t>(*number);
}

bool RequestFields::Bool(std::string_view name, bool absent) {
  const boost::json::value* value = Find(name);
  if (value == nullptr) return absent;
  if (value->is_bool()) return value->get_bool();
  Fail(name, "it must be true or false");
  return absent;
}

std::optional<std::string> RequestFields::String(std::string_view name) {
  const boost::json::value* value = Find(name);
  if (value == nullptr) return std::nullopt;
  if (const auto* string = value->if_string()) return std::string(*string);
  Fail(name, "it must be a string");
  return std::nullopt;
}

const boost::json::object* RequestFields::Object(std::string_view name) {
  const boost::json::value* value = Find(name);
  if (value == nullptr) return nullptr;
  if (value->is_object()) return &value->get_object();
  Fail(name, "it must be an object");
  return nullptr;
}

}  // namespace longhand::http
