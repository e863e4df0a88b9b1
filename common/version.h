// The version of all programs. Ranks of a group must have the same.
#pragma once

namespace longhand {

inline constexpr char kVersion[] = "0.1.0";

}  // namespace longhand
