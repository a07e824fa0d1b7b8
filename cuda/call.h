// One call of an op: what the caller gave, checked against the op's signature, with its letters solved. The errors are those
// of src/op.ts.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "quamba.h"

namespace quamba {

/** Thrown inside the library, and turned into a status at its edge. */
struct Failure : std::runtime_error {
  Failure(quamba_status status, const std::string& text, int64_t index = -1)
      : std::runtime_error(text), status(status), index(index) {}
  quamba_status status;
  int64_t index;
};

/** The letters of a signature, as far as they are known. */
using Dims = std::map<std::string, int64_t>;

/** `n`, `k-1`, `h*p`: letters that are multiplied, and what is subtracted from that. `1` has no letter. */
struct Axis {
  std::vector<std::string> letters;
  int minus;

  /** Nothing where a letter is not known. */
  std::optional<int64_t> size(const Dims& dims) const;
  /** Whether it may have this size. Its first letter that is not known becomes what makes it so. */
  bool fits(int64_t size, Dims& dims) const;
};
/** `w f32[o, i]?` of a signature. */
struct Parameter {
  std::string name, text;
  int32_t dtype;
  std::vector<Axis> axes;
  bool optional;
};
/**
 * `name(inputs; states; attributes) -> outputs`, taken apart. Each part is a list, and one that is empty is left out: states have
 * types, attributes have none.
 */
struct Signature {
  explicit Signature(const std::string& text);
  std::string name;
  std::vector<Parameter> inputs, states, outputs;
  std::vector<std::string> attributes;

  /** The letters that are attributes: 1 where one is left out, as in the reference. */
  Dims dims(const quamba_attribute* attributes, int32_t count) const;
};

/**
 * States stand among the inputs (as they are before) and among the outputs (as they are after), under the same name. The letter t
 * of one that grows is the tokens fed so far: before the call for the inputs, after it from then on.
 */
class Call {
 public:
  Call(const Signature& signature, const quamba_tensor* inputs, int32_t inputCount, const quamba_attribute* attributes,
       int32_t attributeCount, const quamba_tensor* outputs, int32_t outputCount);

  /** The value of a letter. */
  int dim(const std::string& letter) const { return static_cast<int>(dims.at(letter)); }
  double number(const std::string& name, double otherwise) const;
  std::string text(const std::string& name, const std::string& otherwise) const;
  /** An input in host memory; null where it is left out. */
  const quamba_tensor* host(const std::string& name) const;

  /** Fails with `label: text; got …` where a constraint does not hold. `letters`: what the text is about. */
  void require(bool holds, const std::string& label, const std::string& text, const std::vector<std::string>& letters) const;

  std::string name;
  std::map<std::string, const quamba_tensor*> inputs, outputs;

 private:
  Dims dims;
  std::map<std::string, const quamba_attribute*> attributes;
};

/** The parts between separators. */
std::vector<std::string> split(const std::string& text, const std::string& separator);

/** `f32[1536, 16]` */
std::string describe(int32_t dtype, const std::vector<int64_t>& shape);
std::string describe(const quamba_tensor& tensor);

int64_t sizeOf(const quamba_tensor& tensor);
size_t bytesOf(const quamba_tensor& tensor);

}  // namespace quamba
