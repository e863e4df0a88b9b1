// Libraries that are loaded at run time: from where the loader looks, or out of Python's packages,
// in which NVIDIA's come where no toolkit is installed. Any thread.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "common/status.h"

namespace longhand {

// Where interpreters keep packages.
struct PythonPlaces {
  std::string virtual_env;  // a folder, or empty
  std::string python_path;  // folders with ':' between
  std::vector<std::filesystem::path> prefixes = {"/usr/lib", "/usr/local/lib"};

  // $VIRTUAL_ENV and $PYTHONPATH.
  static PythonPlaces FromEnvironment();
};

// nvidia/<part>/lib of the packages that are there: the virtual environment's before those of
// PYTHONPATH and of the system. Relative folders are left out.
std::vector<std::filesystem::path> NvidiaPackageFolders(const PythonPlaces& places,
                                                        const std::vector<std::string>& parts);

// The first of `names` that the loader finds, else the first in `folders`; it stays loaded.
// kNotFound says what was tried.
Result<void*> LoadSharedLibrary(const std::vector<std::string>& names,
                                const std::vector<std::filesystem::path>& folders);

// The same, in the folders of these parts and this environment.
Result<void*> LoadNvidiaLibrary(const std::vector<std::string>& names,
                                const std::vector<std::string>& parts);

}  // namespace longhand
