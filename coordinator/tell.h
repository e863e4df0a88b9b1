// What `longhand serve` reads of the coordinator: JSON objects on its standard output, one a line.
#pragma once

#include <boost/json.hpp>

namespace longhand {

// Any thread.
void Tell(const boost::json::object& report);

}  // namespace longhand
