#include "coordinator/http/status_page.h"

#include <boost/json.hpp>
#include <string>

#include "coordinator/http/page_response.h"

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

Response StatusPage(const v1::GetStatusResponse& status) {
  Table table;
  table.Row("model", status.model())
      .Row("version", status.version())
      .Row("state", status.phase() + (status.detail().empty() ? "" : ": " + status.detail()))
      .Row("context", std::to_string(status.max_model_len()) + " tokens")
      .Row("ranks", std::to_string(status.ranks_size()) + " in " +
                        std::to_string(status.groups_size()) +
                        (status.groups_size() == 1 ? " group" : " groups"))
      .Row("running", std::to_string(status.running_requests()))
      .Row("waiting", std::to_string(status.waiting_requests()))
      .Row("KV blocks free", std::to_string(status.kv_blocks_free()) + " of " +
                                 std::to_string(status.kv_blocks_total()))
      .Row("tokens written", std::to_string(status.generated_tokens()));
  Response page{
      .content_type = "text/html; charset=utf-8",
      .headers = {{"Cache-Control", "no-store"}},
      .body =
          R"(<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="refresh" content="5">
<title>Longhand: status</title>
<link rel="icon" href="page/icon.svg">
<link rel="stylesheet" href="page/theme.css">
<link rel="stylesheet" href="page/status.css">
</head>
<body>
<h1><a href="./">Longhand</a></h1>
)" + table.html() +
          R"(<p><a href="./">write</a> <a href="openapi.json">openapi.json</a> <a href="v1/models">/v1/models</a>
<a href="readyz">/readyz</a></p>
</body>
</html>
)"};
  AddPageHeaders(&page);
  return page;
}

Response StatusJson(const v1::GetStatusResponse& status) {
  return {.headers = {{"Cache-Control", "no-store"}},
          .body = boost::json::serialize(
              boost::json::object{{"model", status.model()},
                                  {"version", status.version()},
                                  {"ready", status.ready()},
                                  {"phase", status.phase()},
                                  {"percent", static_cast<int64_t>(status.percent())},
                                  {"detail", status.detail()},
                                  {"max_model_len", status.max_model_len()},
                                  {"running", status.running_requests()},
                                  {"waiting", status.waiting_requests()}})};
}

}  // namespace longhand::http
