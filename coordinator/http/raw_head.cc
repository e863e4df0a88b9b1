#include "coordinator/http/raw_head.h"

#include <algorithm>
#include <boost/beast/core/string.hpp>
#include <ostream>
#include <vector>

#include "common/trim.h"

namespace longhand::http {
namespace {

constexpr size_t kMaxLengthDigits = 18;

// The lines of the head without their ends.
std::vector<std::string_view> Lines(std::string_view head) {
  std::vector<std::string_view> lines;
  for (size_t end; (end = head.find("\r\n")) != std::string_view::npos;) {
    lines.push_back(head.substr(0, end));
    head.remove_prefix(end + 2);
  }
  return lines;
}

bool IsControl(char c) {
  const auto byte = static_cast<unsigned char>(c);
  return (byte < 0x20 && c != '\t') || byte == 0x7f;
}

struct Framing {
  std::vector<std::string_view> hosts;
  std::vector<std::string_view> lengths;
  std::vector<std::string_view> codings;
};

Framing FieldsOf(std::string_view lines) {
  Framing fields;
  for (const std::string_view line : Lines(lines)) {
    const size_t colon = line.find(':');
    if (colon == std::string_view::npos) continue;
    const std::string_view name = line.substr(0, colon);
    const std::string_view value = Trim(line.substr(colon + 1), " \t");
    if (boost::beast::iequals(name, "host")) fields.hosts.push_back(value);
    if (boost::beast::iequals(name, "content-length")) fields.lengths.push_back(value);
    if (boost::beast::iequals(name, "transfer-encoding")) fields.codings.push_back(value);
  }
  return fields;
}

bool IsHost(std::string_view host) {
  return !host.empty() && std::all_of(host.begin(), host.end(), [](char c) {
    return std::isalnum(static_cast<unsigned char>(c)) != 0 ||
           std::string_view("-._~%!$&'()*+;=:[]").find(c) != std::string_view::npos;
  });
}

bool IsLength(std::string_view value) {
  return !value.empty() && value.size() <= kMaxLengthDigits &&
         value.find_first_not_of("0123456789") == std::string_view::npos;
}

}  // namespace

std::optional<std::string> FindFaultInLines(std::string_view head) {
  bool is_first = true;
  for (const std::string_view line : Lines(head)) {
    const bool is_control = std::any_of(line.begin(), line.end(), IsControl);
    if (is_control)
      return "the head has a control character, or a line that does not end with CRLF";
    if (is_first && line.find('\t') != std::string_view::npos)
      return "the request line has a tab; its parts are separated by one space";
    if (!is_first && !line.empty() && (line.front() == ' ' || line.front() == '\t'))
      return "a header line is folded; each must be one line";
    is_first = false;
  }
  return std::nullopt;
}

std::optional<std::string> FindFaultInFraming(std::string_view lines, int minor_version) {
  const Framing fields = FieldsOf(lines);
  if (fields.hosts.size() > 1) return "there are several Host headers; one is allowed";
  if (fields.hosts.empty() && minor_version > 0) return "the Host header is missing";
  if (!fields.hosts.empty() && !IsHost(fields.hosts[0])) return "the Host header is no host";
  if (fields.lengths.size() > 1) return "there are several Content-Length headers; one is allowed";
  if (!fields.lengths.empty() && !IsLength(fields.lengths[0]))
    return "the Content-Length is not a number of bytes";
  if (fields.codings.empty()) return std::nullopt;
  if (!fields.lengths.empty()) return "Content-Length and Transfer-Encoding exclude each other";
  if (minor_version == 0) return "HTTP/1.0 has no Transfer-Encoding";
  if (fields.codings.size() > 1 || !boost::beast::iequals(fields.codings[0], "chunked"))
    return "the Transfer-Encoding is not 'chunked', the only one that is read";
  return std::nullopt;
}

}  // namespace longhand::http
