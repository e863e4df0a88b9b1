// RowKeys: what a row is known by when work on a data set goes on.
#pragma once

#include <boost/json.hpp>
#include <map>
#include <string>
#include <string_view>

#include "client/dataset/dataset.h"

namespace longhand::client {

// The row's `id` where it has one, else a hash of its text and pictures; "#2" follows where a row
// of the same name came before. Rows must come in the file's order.
class RowKeys {
 public:
  std::string KeyOf(const DatasetRow& row, std::string_view text);

 private:
  std::map<std::string, int64_t> seen_;
};

// SHA-256, the first 16 bytes in hexadecimal digits.
std::string ShortHash(std::string_view bytes);

}  // namespace longhand::client
