#include <map>
#include <memory>
#include <utility>

#include "tests/conformance/cases.h"

namespace longhand::conformance {

Body Once(Body body) {
  const auto written = std::make_shared<std::map<const kernels::Ops*, Outputs>>();
  return [body = std::move(body), written](Device& device) -> Result<Outputs> {
    const auto found = written->find(&device.ops());
    if (found != written->end()) return found->second;
    LONGHAND_ASSIGN_OR_RETURN(Outputs outputs, body(device));
    return written->emplace(&device.ops(), std::move(outputs)).first->second;
  };
}

}  // namespace longhand::conformance
