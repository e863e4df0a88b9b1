#include "coordinator/http/request_parser.h"

#include <algorithm>
#include <boost/beast/http/parser.hpp>
#include <boost/url/parse.hpp>
#include <boost/url/url_view.hpp>
#include <cctype>

#include "common/request_id.h"
#include "coordinator/http/raw_head.h"

namespace longhand::http {
namespace {

namespace beast_http = boost::beast::http;
using boost::system::error_code;

constexpr size_t kMaxRequestIdBytes = 128;

// A body that grows as it comes: what Content-Length promises is not taken beforehand.
struct GrowingBody {
  using value_type = std::string;
  class reader {
   public:
    template <bool is_request, class Fields>
    reader(beast_http::header<is_request, Fields>&, value_type& body) : body_(body) {}
    void init(const boost::optional<uint64_t>&, error_code& error) { error = {}; }
    template <class Buffers>
    size_t put(const Buffers& buffers, error_code& error) {
      error = {};
      size_t taken = 0;
      for (auto it = boost::asio::buffer_sequence_begin(buffers);
           it != boost::asio::buffer_sequence_end(buffers); ++it) {
        const boost::asio::const_buffer piece(*it);
        body_.append(static_cast<const char*>(piece.data()), piece.size());
        taken += piece.size();
      }
      return taken;
    }
    void finish(error_code& error) { error = {}; }

   private:
    value_type& body_;
  };
};

bool IsRequestId(std::string_view id) {
  return !id.empty() && id.size() <= kMaxRequestIdBytes &&
         std::all_of(id.begin(), id.end(), [](char c) { return c > ' ' && c <= '~'; });
}

std::string Lower(std::string_view text) {
  std::string lower(text);
  for (char& c : lower) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return lower;
}

// False when the target is neither a path nor a URL of http.
bool SetTarget(std::string_view target, Request* request) {
  if (target == "*") {
    request->path = target;
    return request->method == "OPTIONS";
  }
  const bool is_path = !target.empty() && target.front() == '/';
  const auto parsed =
      is_path ? boost::urls::parse_origin_form(target) : boost::urls::parse_absolute_uri(target);
  if (!parsed.has_value()) return false;
  const boost::urls::url_view url = *parsed;
  if (!is_path && url.scheme_id() != boost::urls::scheme::http &&
      url.scheme_id() != boost::urls::scheme::https)
    return false;
  request->path = url.path();
  for (const auto& parameter : url.params())
    request->query.emplace_back(parameter.key, parameter.value);
  return true;
}

}  // namespace

struct RequestParser::Impl {
  beast_http::request_parser<GrowingBody> parser;
};

RequestParser::RequestParser(const Limits& limits)
    : limits_(limits), impl_(std::make_unique<Impl>()) {
  impl_->parser.header_limit(static_cast<uint32_t>(limits.max_header_bytes));
  impl_->parser.body_limit(static_cast<uint64_t>(limits.max_body_bytes));
}

RequestParser::~RequestParser() = default;

size_t RequestParser::Feed(std::string_view bytes) {
  size_t taken = 0;
  while (!error_ && !is_done_ && taken < bytes.size()) {
    const std::string_view rest = bytes.substr(taken);
    const bool had_head = has_head_;
    const size_t now = had_head ? FeedBody(rest) : FeedHead(rest);
    taken += now;
    if (now == 0 || had_head != has_head_) break;
  }
  return taken;
}

// Nothing is taken before the head is complete, but for empty lines in front of it.
size_t RequestParser::FeedHead(std::string_view bytes) {
  if (bytes.substr(0, 2) == "\r\n") return 2;
  const size_t end = bytes.find("\r\n\r\n");
  const size_t size = end == std::string_view::npos ? bytes.size() : end + 4;
  if (size > limits_.max_header_bytes) {
    Fail(431, "the head of the request is larger than " + std::to_string(limits_.max_header_bytes) +
                  " bytes");
    return 0;
  }
  if (end == std::string_view::npos) {
    // Waiting would leave a client without an answer that ends its lines in another way.
    const size_t line = bytes.find('\n');
    if (line != std::string_view::npos && (line == 0 || bytes[line - 1] != '\r'))
      Fail(400, "a line of the head does not end with CRLF");
    return 0;
  }
  const std::string_view head = bytes.substr(0, size);
  if (auto fault = FindFaultInLines(head)) {
    Fail(400, std::move(*fault));
    return 0;
  }
  error_code error;
  const size_t taken = impl_->parser.put(boost::asio::buffer(head), error);
  if (error == beast_http::error::bad_version) {
    Fail(505, "HTTP/1.0 and HTTP/1.1 are spoken here");
    return 0;
  }
  if (error) {
    Fail(error == beast_http::error::body_limit ? 413 : 400,
         error == beast_http::error::body_limit
             ? "the body is larger than " + std::to_string(limits_.max_body_bytes) + " bytes"
             : "the head of the request is malformed: " + error.message());
    return 0;
  }
  const auto& message = impl_->parser.get();
  request_.minor_version = static_cast<int>(message.version() % 10);
  if (auto fault = FindFaultInFraming(head.substr(head.find("\r\n") + 2), request_.minor_version)) {
    Fail(400, std::move(*fault));
    return 0;
  }
  TakeHead();
  return error_ ? 0 : taken;
}

void RequestParser::TakeHead() {
  const auto& message = impl_->parser.get();
  const auto method = message.method_string();
  request_.method.assign(method.data(), method.size());
  const auto target = message.target();
  if (!SetTarget({target.data(), target.size()}, &request_))
    return Fail(400, "the target of the request is no path");
  request_.keep_alive = message.keep_alive();
  TakeFields();
  if (error_) return;
  has_head_ = true;
  is_done_ = impl_->parser.is_done();
}

void RequestParser::TakeFields() {
  for (const auto& field : impl_->parser.get()) {
    request_.headers.emplace_back(Lower({field.name_string().data(), field.name_string().size()}),
                                  std::string(field.value().data(), field.value().size()));
  }
  const std::string* id = request_.FindHeader("x-request-id");
  request_.request_id = id != nullptr && IsRequestId(*id) ? *id : DrawRequestId("req");
  if (const std::string* expect = request_.FindHeader("expect")) {
    if (Lower(*expect) != "100-continue")
      return Fail(417, "the expectation '100-continue' is the only one that is met");
    expects_continue_ = !impl_->parser.is_done();
  }
}

size_t RequestParser::FeedBody(std::string_view bytes) {
  // Beast takes for granted that the last chunk, "0\r\n\r\n", is there in one piece.
  if (impl_->parser.chunked() && bytes.size() < 5) return 0;
  // The lines between chunks are the parser's own, but it waits for their ends without a bound.
  error_code error;
  const size_t taken = impl_->parser.put(boost::asio::buffer(bytes), error);
  if (error == beast_http::error::need_more) error = {};
  if (!error && taken == 0 && bytes.size() > limits_.max_header_bytes)
    error = beast_http::error::header_limit;
  if (error == beast_http::error::body_limit) {
    Fail(413, "the body is larger than " + std::to_string(limits_.max_body_bytes) + " bytes");
  } else if (error) {
    Fail(400, "the body of the request is malformed: " + error.message());
  }
  is_done_ = !error_ && impl_->parser.is_done();
  if (is_done_) request_.body = std::move(impl_->parser.get().body());
  return taken;
}

}  // namespace longhand::http
