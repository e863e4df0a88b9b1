// SseParser: the events of a text/event-stream, as its bytes come.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "common/status.h"

namespace longhand::client {

class SseParser {
 public:
  // Calls `on_data` with the data of each event that these bytes complete; comments and other
  // fields are passed over. kInternal for an event of more than 16 MiB.
  Status Add(std::string_view bytes, const std::function<void(std::string_view data)>& on_data);

 private:
  void TakeLine(std::string_view line, const std::function<void(std::string_view data)>& on_data);

  std::string line_;  // that is not complete
  std::string data_;  // of the event that is not complete
  bool has_data_ = false;
  bool after_cr_ = false;
};

}  // namespace longhand::client
