#include <cmath>
#include <cstdio>
#include <sstream>

#include "tests/conformance/runner.h"

namespace longhand::conformance {
namespace {

std::string Quoted(const std::string& text) {
  std::string out = "\"";
  for (char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    if (static_cast<unsigned char>(c) < 0x20) c = ' ';
    out += c;
  }
  return out + "\"";
}

// JSON has no infinity: null.
std::string Number(double value) {
  if (!std::isfinite(value)) return "null";
  char text[32];
  std::snprintf(text, sizeof(text), "%.9g", value);
  return text;
}

}  // namespace

std::string ToJson(const std::vector<Record>& records) {
  std::ostringstream out;
  out << "[";
  const char* separator = "\n";
  for (const Record& record : records) {
    out << separator << R"({"op": )" << Quoted(record.op) << R"(, "case": )" << Quoted(record.name)
        << R"(, "status": )" << Quoted(record.status) << R"(, "error": )" << Number(record.error)
        << R"(, "tolerance": )" << Number(record.tolerance);
    if (!record.message.empty()) out << R"(, "message": )" << Quoted(record.message);
    if (record.timed) {
      out << R"(, "ns": )" << Number(record.ns) << R"(, "best_ns": )" << Number(record.best_ns)
          << R"(, "bytes": )" << Number(record.bytes) << R"(, "flops": )" << Number(record.flops);
    }
    out << "}";
    separator = ",\n";
  }
  out << "\n]\n";
  return out.str();
}

}  // namespace longhand::conformance
