// A message as JSON whose numbers are numbers: the JSON form of protocol buffers makes strings of
// 64 bits, which no script expects.
#pragma once

#include <google/protobuf/message.h>

#include <boost/json.hpp>

namespace longhand::client {

// Every field under its own name, set or not; an enum's value by its name. For messages of numbers,
// texts, enums, messages and lists of messages.
boost::json::object ToJson(const google::protobuf::Message& message);

}  // namespace longhand::client
