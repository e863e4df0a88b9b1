#include "client/status/message_json.h"

#include <string>

#include "common/check.h"

namespace longhand::client {
namespace {

namespace json = boost::json;
using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;

json::value ValueOf(const Message& message, const FieldDescriptor& field) {
  const Reflection& get = *message.GetReflection();
  switch (field.cpp_type()) {
    case FieldDescriptor::CPPTYPE_BOOL:
      return get.GetBool(message, &field);
    case FieldDescriptor::CPPTYPE_INT32:
      return get.GetInt32(message, &field);
    case FieldDescriptor::CPPTYPE_INT64:
      return get.GetInt64(message, &field);
    case FieldDescriptor::CPPTYPE_UINT32:
      return get.GetUInt32(message, &field);
    case FieldDescriptor::CPPTYPE_UINT64:
      return get.GetUInt64(message, &field);
    case FieldDescriptor::CPPTYPE_FLOAT:
      return get.GetFloat(message, &field);
    case FieldDescriptor::CPPTYPE_DOUBLE:
      return get.GetDouble(message, &field);
    case FieldDescriptor::CPPTYPE_STRING:
      return json::value(get.GetString(message, &field));
    case FieldDescriptor::CPPTYPE_ENUM:
      return json::value(get.GetEnum(message, &field)->name());
    case FieldDescriptor::CPPTYPE_MESSAGE:
      return ToJson(get.GetMessage(message, &field));
  }
  return nullptr;
}

json::array ListOf(const Message& message, const FieldDescriptor& field) {
  const Reflection& get = *message.GetReflection();
  json::array list;
  for (int i = 0; i < get.FieldSize(message, &field); ++i) {
    LONGHAND_CHECK(field.cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE) << field.full_name();
    list.push_back(ToJson(get.GetRepeatedMessage(message, &field, i)));
  }
  return list;
}

}  // namespace

json::object ToJson(const Message& message) {
  json::object out;
  const auto& type = *message.GetDescriptor();
  for (int i = 0; i < type.field_count(); ++i) {
    const FieldDescriptor& field = *type.field(i);
    out[field.name()] =
        field.is_repeated() ? json::value(ListOf(message, field)) : ValueOf(message, field);
  }
  return out;
}

}  // namespace longhand::client
