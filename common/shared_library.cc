#include "common/shared_library.h"

#include <dlfcn.h>

#include <algorithm>
#include <cstdlib>
#include <sstream>

namespace longhand {
namespace {

namespace fs = std::filesystem;

std::string Variable(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

// Of every python3* below `prefix`, in the order of their names.
void AddInterpreters(const fs::path& prefix, std::vector<fs::path>* out) {
  std::vector<fs::path> found;
  std::error_code error;
  for (fs::directory_iterator at(prefix, error), end; !error && at != end; at.increment(error)) {
    if (at->path().filename().string().starts_with("python3")) found.push_back(at->path());
  }
  std::sort(found.begin(), found.end());
  for (const fs::path& interpreter : found) {
    out->push_back(interpreter / "site-packages");
    out->push_back(interpreter / "dist-packages");
  }
}

void* Open(const std::string& file) {
  return dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
}

}  // namespace

PythonPlaces PythonPlaces::FromEnvironment() {
  return {.virtual_env = Variable("VIRTUAL_ENV"), .python_path = Variable("PYTHONPATH")};
}

std::vector<fs::path> NvidiaPackageFolders(const PythonPlaces& places,
                                           const std::vector<std::string>& parts) {
  std::vector<fs::path> packages;
  if (!places.virtual_env.empty()) AddInterpreters(fs::path(places.virtual_env) / "lib", &packages);
  std::istringstream python_path(places.python_path);
  for (std::string folder; std::getline(python_path, folder, ':');) packages.push_back(folder);
  for (const fs::path& prefix : places.prefixes) AddInterpreters(prefix, &packages);
  std::vector<fs::path> folders;
  for (const fs::path& package : packages) {
    for (const std::string& part : parts) {
      const fs::path folder = package / "nvidia" / part / "lib";
      std::error_code ignored;
      if (folder.is_absolute() && fs::is_directory(folder, ignored)) folders.push_back(folder);
    }
  }
  return folders;
}

Result<void*> LoadSharedLibrary(const std::vector<std::string>& names,
                                const std::vector<fs::path>& folders) {
  std::string tried;
  for (const std::string& name : names) {
    if (void* handle = Open(name)) return handle;
    tried += std::string(tried.empty() ? "" : "; ") + dlerror();
  }
  for (const fs::path& folder : folders) {
    for (const std::string& name : names) {
      const std::string file = (folder / name).string();
      if (void* handle = Open(file)) return handle;
      tried += std::string("; ") + dlerror();
    }
  }
  return NotFound(tried);
}

Result<void*> LoadNvidiaLibrary(const std::vector<std::string>& names,
                                const std::vector<std::string>& parts) {
  const std::vector<fs::path> folders =
      NvidiaPackageFolders(PythonPlaces::FromEnvironment(), parts);
  Result<void*> library = LoadSharedLibrary(names, folders);
  if (library.ok() || !folders.empty()) return library;
  return NotFound(library.status().message(), "; no Python here has packages of it");
}

}  // namespace longhand
