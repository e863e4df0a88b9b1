// RequestFields: typed reads of a request's JSON. The first error sticks: reads after it find
// nothing, and the caller looks at status() once at the end. null counts as absent.
#pragma once

#include <boost/json.hpp>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "common/status.h"

namespace longhand::http {

class RequestFields {
 public:
  explicit RequestFields(const boost::json::object& object) : object_(object) {}

  bool Has(std::string_view name) const { return Find(name) != nullptr; }
  std::optional<double> Number(std::string_view name);
  std::optional<int64_t> Int(std::string_view name, int64_t min, int64_t max);
  // A seed: nothing for -1, as in vLLM; another negative number counts from the end of 64 bits.
  std::optional<uint64_t> Seed(std::string_view name);
  bool Bool(std::string_view name, bool absent);
  std::optional<std::string> String(std::string_view name);
  const boost::json::object* Object(std::string_view name);
  // A value of whatever kind; null when it is absent.
  const boost::json::value* Find(std::string_view name) const;

  // All errors are about the field that they name. Fails with "NAME is SEEN; EXPECTED".
  void Fail(std::string_view name, std::string_view expected);
  void Fail(std::string_view name, const Status& status);
  // Fails when the field is there and neither false nor empty: what is not done here must not be
  // passed over in silence.
  void Refuse(std::string_view name, std::string_view why);

  // The same for a field that is true where it is absent.
  void RefuseFalse(std::string_view name, std::string_view why);

  const Status& status() const { return status_; }

 private:
  const boost::json::object& object_;
  Status status_;
};

// The token id that a number is; nothing for another value. 7.0 is 7, as in JSON Schema.
std::optional<int32_t> TokenId(const boost::json::value& value);
// The value, cut short, for messages.
std::string Shown(const boost::json::value& value);

}  // namespace longhand::http
