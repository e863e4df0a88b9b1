#include "coordinator/http/json_body.h"

#include <new>
#include <utility>

#include "coordinator/http/request_fields.h"

namespace longhand::http {
namespace {

namespace json = boost::json;

constexpr size_t kMaxDepth = 32;

struct TooMuch : std::bad_alloc {};

// For one thread.
class BoundedMemory final : public json::memory_resource {
 public:
  explicit BoundedMemory(size_t max_bytes) : num_left_(max_bytes) {}

 private:
  void* do_allocate(size_t num_bytes, size_t) override {
    if (num_bytes > num_left_) throw TooMuch();
    void* const memory = ::operator new(num_bytes);
    num_left_ -= num_bytes;
    return memory;
  }
  void do_deallocate(void* memory, size_t num_bytes, size_t) override {
    ::operator delete(memory);
    num_left_ += num_bytes;
  }
  bool do_is_equal(const json::memory_resource& other) const noexcept override {
    return this == &other;
  }

  size_t num_left_;
};

json::value Parse(std::string_view body,
                  const json::storage_ptr& memory,
                  boost::system::error_code* error) {
  json::parse_options options;
  options.max_depth = kMaxDepth;
  json::parser parser(memory, options);
  parser.reset(memory);
  parser.write(body.data(), body.size(), *error);
  return *error ? json::value() : parser.release();
}

}  // namespace

Result<json::object> ParseJsonBody(std::string_view body) {
  const size_t max_bytes = kParsedBytes + kParsedBytesPerByte * body.size();
  boost::system::error_code error;
  try {
    json::value value = Parse(body, json::make_shared_resource<BoundedMemory>(max_bytes), &error);
    if (error == json::error::too_deep) {
      return InvalidArgument("the body's lists and objects lie deeper in each other than ",
                             kMaxDepth, " levels, which are allowed");
    }
    if (error) return InvalidArgument("the body is not JSON: ", error.message());
    if (!value.is_object())
      return InvalidArgument("the body is ", Shown(value), "; it must be an object");
    return std::move(value.get_object());
  } catch (const TooMuch&) {
    return InvalidArgument("the body has ", body.size(), " bytes in so many parts that they take ",
                           "more than ", max_bytes, " once parsed; that is what it may take");
  }
}

}  // namespace longhand::http
