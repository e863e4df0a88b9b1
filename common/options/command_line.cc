#include "common/options/command_line.h"

#include <unistd.h>
#include <yaml-cpp/yaml.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <set>

#include "common/options/help_text.h"
#include "common/options/nearest_name.h"

namespace longhand {
namespace {

// Options that a file or the environment may set: all with a long name, but --help and what is for
// one call only.
bool IsSetting(const CLI::Option& option) {
  const auto& names = option.get_lnames();
  return !names.empty() && names[0] != "help" && option.get_configurable();
}

std::string EnvironmentName(const std::string& flag) {
  std::string name = "LONGHAND_" + flag;
  for (char& c : name) c = c == '-' ? '_' : static_cast<char>(std::toupper(c));
  return name;
}

const CLI::Option* FindSetting(const CLI::App& app, const std::string& key) {
  for (const CLI::Option* option : app.get_options()) {
    const auto& names = option->get_lnames();
    if (IsSetting(*option) && std::find(names.begin(), names.end(), key) != names.end()) {
      return option;
    }
  }
  return nullptr;
}

std::vector<std::string> ArgumentsFromEnvironment(const CLI::App& app) {
  std::vector<std::string> args;
  for (const CLI::Option* option : app.get_options()) {
    if (!IsSetting(*option)) continue;
    const std::string& flag = option->get_lnames()[0];
    const char* value = std::getenv(EnvironmentName(flag).c_str());
    // Without a value CLI11 would take the next argument for it.
    if (value != nullptr && *value != '\0') args.push_back("--" + flag + "=" + value);
  }
  return args;
}

// Long names of the options that are settings, or of all.
std::vector<std::string> Names(const CLI::App& app, bool only_settings) {
  std::vector<std::string> names;
  for (const CLI::Option* option : app.get_options()) {
    if (only_settings && !IsSetting(*option)) continue;
    names.insert(names.end(), option->get_lnames().begin(), option->get_lnames().end());
  }
  return names;
}

// "; did you mean ...?", or nothing.
std::string Suggestion(std::string_view given,
                       const std::vector<std::string>& known,
                       const std::string& quote_begin,
                       const std::string& quote_end) {
  const std::optional<std::string> nearest = NearestName(given, known);
  return nearest ? "; did you mean " + quote_begin + *nearest + quote_end + "?" : "";
}

// Others' variables may begin so too (Kubernetes names some after services), so only what is nearly
// a setting's is told.
void WarnOfEnvironment(const CLI::App& app) {
  std::vector<std::string> known;
  for (const std::string& name : Names(app, /*only_settings=*/true))
    known.push_back(EnvironmentName(name));
  for (char** variable = environ; *variable != nullptr; ++variable) {
    const std::string_view text = *variable;
    const std::string_view name = text.substr(0, text.find('='));
    if (!name.starts_with("LONGHAND_")) continue;
    const std::string suggestion = Suggestion(name, known, "", "");
    if (suggestion.empty()) continue;
    std::cerr << app.get_name() << ": " << name << " is in the environment and sets nothing"
              << suggestion << "\n";
  }
}

std::optional<std::string> ConfigFile(const CLI::App& app, const std::vector<std::string>& args) {
  if (FindSetting(app, "config") == nullptr) return std::nullopt;
  for (size_t i = args.size(); i-- > 0;) {
    if (args[i] == "--config" && i + 1 < args.size()) return args[i + 1];
    if (args[i].rfind("--config=", 0) == 0) return args[i].substr(9);
  }
  const char* value = std::getenv("LONGHAND_CONFIG");
  return value == nullptr || *value == '\0' ? std::nullopt : std::optional<std::string>(value);
}

// The setting that an argument names; null for values, and for flags that are no settings.
const CLI::Option* SettingOf(const CLI::App& app, const std::string& arg) {
  if (!arg.starts_with("--")) return nullptr;
  return FindSetting(app, arg.substr(2, std::min(arg.find('='), arg.size()) - 2));
}

// `more` have the last word. What `args`, as --key=value, say of the same settings goes: a list
// would have the values of both.
void Override(const CLI::App& app,
              const std::vector<std::string>& more,
              std::vector<std::string>* args) {
  std::set<const CLI::Option*> named;
  for (const std::string& arg : more) named.insert(SettingOf(app, arg));
  std::erase_if(*args,
                [&](const std::string& arg) { return named.count(SettingOf(app, arg)) > 0; });
  args->insert(args->end(), more.begin(), more.end());
}

Result<std::vector<std::string>> GatherArguments(const CLI::App& app,
                                                 const std::vector<std::string>& args) {
  std::vector<std::string> all;
  if (const std::optional<std::string> file = ConfigFile(app, args)) {
    LONGHAND_ASSIGN_OR_RETURN(all, ArgumentsFromYaml(app, *file));
  }
  Override(app, ArgumentsFromEnvironment(app), &all);
  Override(app, args, &all);
  return all;
}

}  // namespace

Result<std::vector<std::string>> ArgumentsFromYaml(const CLI::App& app, const std::string& path) {
  std::error_code ignored;
  std::ifstream file(path);
  if (!file || std::filesystem::is_directory(path, ignored))  // Reading a directory throws.
    return NotFound("the configuration file ", path, " cannot be read");
  std::vector<std::string> args;
  try {
    const YAML::Node root = YAML::Load(file);
    if (root.IsNull()) return args;
    if (!root.IsMap()) return InvalidArgument(path, ": expected `name: value` lines");
    std::set<const CLI::Option*> seen;
    for (const auto& entry : root) {
      const std::string key = entry.first.as<std::string>();
      const int line = entry.first.Mark().line + 1;
      const CLI::Option* setting = FindSetting(app, key);
      if (setting == nullptr) {
        return InvalidArgument(path, ":", line, ": unknown key '", key, "'",
                               Suggestion(key, Names(app, /*only_settings=*/true), "'", "'"));
      }
      if (!seen.insert(setting).second)
        return InvalidArgument(path, ":", line, ": '", key, "' is set a second time");
      if (entry.second.IsScalar() && entry.second.as<std::string>().empty()) {
        return InvalidArgument(path, ":", line, ": '", key, "' has no value");
      } else if (entry.second.IsScalar()) {
        args.push_back("--" + key + "=" + entry.second.as<std::string>());
      } else if (entry.second.IsSequence()) {
        for (const auto& item : entry.second)
          args.push_back("--" + key + "=" + item.as<std::string>());
      } else {
        return InvalidArgument(path, ":", line, ": '", key,
                               "' must be a value or a list of values");
      }
    }
  } catch (const YAML::Exception& e) {
    return InvalidArgument(path, ": ", e.what());
  }
  return args;
}

std::optional<int> ParseCommandLine(CLI::App& app, const std::vector<std::string>& args) {
  WarnOfEnvironment(app);
  Result<std::vector<std::string>> all = GatherArguments(app, args);
  if (!all.ok()) {
    std::cerr << app.get_name() << ": " << all.status().message() << "\n";
    return kExitUsage;
  }
  try {
    std::vector<std::string> reversed(all->rbegin(),
                                      all->rend());  // CLI11 takes them from the back.
    app.parse(std::move(reversed));
  } catch (const CLI::CallForHelp&) {
    const size_t width = TerminalWidth(STDOUT_FILENO);
    std::cout << (width > 0 ? WrapHelp(app.help(), width) : app.help());
    return kExitOk;
  } catch (const CLI::ExtrasError&) {
    std::cerr << app.get_name() << ": not expected:";
    for (const std::string& argument : app.remaining()) std::cerr << ' ' << argument;
    const std::string unknown = app.remaining().front();
    if (unknown.starts_with("--")) {
      const size_t length = std::min(unknown.find('='), unknown.size()) - 2;
      std::cerr << Suggestion(unknown.substr(2, length), Names(app, /*only_settings=*/false), "--",
                              "");
    }
    std::cerr << "\nTry '" << app.get_name() << " --help'.\n";
    return kExitUsage;
  } catch (const CLI::ParseError& e) {
    std::cerr << app.get_name() << ": " << e.what() << "\nTry '" << app.get_name() << " --help'.\n";
    return kExitUsage;
  }
  return std::nullopt;
}

std::vector<std::string> EffectiveArguments(const CLI::App& app) {
  std::vector<std::string> args;
  for (const CLI::Option* option : app.get_options()) {
    if (!IsSetting(*option) || option->get_lnames()[0] == "config") continue;
    const std::vector<std::string> values =
        option->count() > 0 ? option->reduced_results()
                            : std::vector<std::string>{option->get_default_str()};
    for (const std::string& value : values) {
      if (!value.empty()) args.push_back("--" + option->get_lnames()[0] + "=" + value);
    }
  }
  return args;
}

}  // namespace longhand
