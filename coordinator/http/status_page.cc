#include "coordinator/http/status_page.h"

namespace longhand::http {
namespace {

std::string Escape(const std::string& text) {
  std::string out;
  for (const char c : text) {
    switch (c) {
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '&':
        out += "&amp;";
        break;
      default:
        out += c;
    }
  }
  return out;
}

class Table {
 public:
  Table& Row(const std::string& name, const std::string& value) {
    html_ += "<tr><th>" + name + "</th><td>" + Escape(value) + "</td></tr>\n";
    return *this;
  }
  std::string html() const { return "<table>\n" + html_ + "</table>\n"; }

 private:
  std::string html_;
};

}  // namespace

std::string StatusPage(const v1::GetStatusResponse& status, const std::string& phase) {
  Table table;
  table.Row("model", status.model())
      .Row("version", status.version())
      .Row("state", phase + (status.detail().empty() ? "" : ": " + status.detail()))
      .Row("context", std::to_string(status.max_model_len()) + " tokens")
      .Row("ranks", std::to_string(status.ranks_size()) + " in " +
                        std::to_string(status.groups_size()) +
                        (status.groups_size() == 1 ? " group" : " groups"))
      .Row("running", std::to_string(status.running_requests()))
      .Row("waiting", std::to_string(status.waiting_requests()))
      .Row("KV blocks free", std::to_string(status.kv_blocks_free()) + " of " +
                                 std::to_string(status.kv_blocks_total()))
      .Row("tokens written", std::to_string(status.generated_tokens()));
  return "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
         "<meta http-equiv=\"refresh\" content=\"5\">\n<title>Longhand</title>\n"
         "<style>body{font:16px/1.5 sans-serif;margin:2rem}"
         "th{text-align:left;font-weight:normal;padding-right:2rem;color:#555}</style>\n"
         "</head>\n<body>\n<h1>Longhand</h1>\n" +
         table.html() +
         "<p><a href=\"/openapi.json\">openapi.json</a> <a href=\"/v1/models\">/v1/models</a> "
         "<a href=\"/readyz\">/readyz</a></p>\n</body>\n</html>\n";
}

}  // namespace longhand::http
