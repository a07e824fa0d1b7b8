#include "checkpoint.h"

#include <cuda_fp16.h>

#include <cstring>

#include "json.h"

namespace quamba {

namespace {

Failure wrong(const std::string& text) { return Failure(QUAMBA_WRONG_CALL, "checkpoint: " + text); }

constexpr const char* PLAN_VERSION = "2";
/** Longer than the header of any checkpoint. */
constexpr uint64_t MOST_HEADER = 100'000'000;

float widenF16(const uint8_t* at) {
  __half_raw raw;
  std::memcpy(&raw.x, at, 2);
  return __half2float(__half(raw));
}

}  // namespace

Checkpoint readCheckpoint(const void* file, uint64_t size) {
  const uint8_t* bytes = static_cast<const uint8_t*>(file);
  uint64_t length = 0;
  if (size >= 8) std::memcpy(&length, bytes, 8);
  if (size < 8 || length > MOST_HEADER || length > size - 8) throw wrong("is not a safetensors file");
  const Json header = Json::parse(std::string(reinterpret_cast<const char*>(bytes) + 8, length), "checkpoint: header");
  const uint8_t* data = bytes + 8 + length;
  const uint64_t dataSize = size - 8 - length;

  const Json* metadata = header.find("__metadata__");
  const Json* format = metadata ? metadata->find("format") : nullptr;
  if (!format || format->text != "quamba-plan") throw wrong("has no metadata format 'quamba-plan'");
  if (const Json* version = metadata->find("version"); !version || version->text != PLAN_VERSION)
    throw wrong("plan format version " + (version ? version->text : "''") + " is not known; this library reads version " + PLAN_VERSION);
  Checkpoint checkpoint;
  checkpoint.graph = metadata->at("graph", "checkpoint: __metadata__").string("checkpoint: __metadata__.graph");

  for (const auto& [name, entry] : header.object("checkpoint: header")) {
    if (name == "__metadata__") continue;
    const std::string where = "checkpoint: " + name;
    const std::string& dtype = entry.at("dtype", where).string(where + ".dtype");
    const auto& shape = entry.at("shape", where).list(where + ".shape");
    const auto& offsets = entry.at("data_offsets", where).list(where + ".data_offsets");
    const size_t each = dtype == "F32" ? 4 : dtype == "F16" ? 2 : dtype == "I8" ? 1 : 0;
    if (each == 0) throw wrong(name + ".dtype expected F32, F16 or I8; got " + dtype);
    if (shape.empty() || shape.size() > QUAMBA_MAX_RANK || offsets.size() != 2)
      throw wrong(name + " expected one to " + std::to_string(QUAMBA_MAX_RANK) + " sizes and two offsets");
    checkpoint.names.push_back(name);
    quamba_tensor t{checkpoint.names.back().c_str(), dtype == "I8" ? QUAMBA_I8 : QUAMBA_F32, 0, {}, nullptr};
    uint64_t values = 1;
    for (const auto& axis : shape) {
      t.shape[t.rank] = axis.count(where + ".shape");
      values = values > dataSize ? values : values * static_cast<uint64_t>(t.shape[t.rank]);
      t.rank++;
    }
    const uint64_t begin = static_cast<uint64_t>(offsets[0].count(where)), end = static_cast<uint64_t>(offsets[1].count(where));
    if (begin > end || end > dataSize || values > dataSize || end - begin != values * each)
      throw wrong(name + ".data_offsets do not hold its shape");
    const uint8_t* at = data + begin;
    if (dtype == "I8" || (dtype == "F32" && reinterpret_cast<uintptr_t>(at) % 4 == 0)) {
      t.data = const_cast<uint8_t*>(at);
    } else {
      auto& copy = checkpoint.widened.emplace_back(values);
      if (dtype == "F32") std::memcpy(copy.data(), at, end - begin);
      else
        for (uint64_t i = 0; i < values; i++) copy[i] = widenF16(at + 2 * i);
      t.data = copy.data();
    }
    checkpoint.tensors.push_back(t);
  }
  return checkpoint;
}

}  // namespace quamba
