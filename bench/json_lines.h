// Lines of JSON, to the terminal and to a file.
#pragma once

#include <cstdint>
#include <cstdio>
#include <string>

#include "common/status.h"

namespace longhand::bench {

class Report {
 public:
  ~Report() {
    if (file_ != nullptr) std::fclose(file_);
  }
  Status Open(const std::string& path) {
    if (path.empty()) return OkStatus();
    file_ = std::fopen(path.c_str(), "a");
    return file_ != nullptr ? OkStatus() : InvalidArgument("cannot write to ", path);
  }
  void Write(const std::string& line) {
    for (std::FILE* to : {stdout, file_}) {
      if (to == nullptr) continue;
      std::fprintf(to, "%s\n", line.c_str());
      std::fflush(to);
    }
  }

 private:
  std::FILE* file_ = nullptr;
};

// One object, field after field.
class Object {
 public:
  explicit Object(const std::string& kind) { text_ = "{\"kind\":\"" + kind + "\""; }
  Object& Add(const char* name, const std::string& value) {
    return Raw(name, "\"" + value + "\"");
  }
  Object& Add(const char* name, int64_t value) { return Raw(name, std::to_string(value)); }
  Object& Add(const char* name, double value) {
    char number[40];
    std::snprintf(number, sizeof(number), "%.6g", value);
    return Raw(name, number);
  }
  Object& Raw(const char* name, const std::string& json) {
    text_ += std::string(",\"") + name + "\":" + json;
    return *this;
  }
  std::string Text() const { return text_ + "}"; }

 private:
  std::string text_;
};

}  // namespace longhand::bench
