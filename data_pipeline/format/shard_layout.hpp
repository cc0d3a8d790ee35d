#pragma once
#include <array>

// Names inside a shard, shared by writer and reader. Meaning: SHARD_FORMAT.md.
namespace dinoxx::detail {

inline constexpr const char* kBlob = "/samples/blob";
inline constexpr const char* kOffset = "/samples/offset";
inline constexpr const char* kCodec = "/samples/codec";
inline constexpr const char* kWidth = "/samples/width";
inline constexpr const char* kHeight = "/samples/height";
inline constexpr const char* kChannels = "/samples/channels";
inline constexpr const char* kDtype = "/samples/dtype";
inline constexpr const char* kCrc = "/samples/crc32c";
inline constexpr const char* kKeyBlob = "/samples/key_blob";
inline constexpr const char* kKeyOffset = "/samples/key_offset";
inline constexpr const char* kLabel = "/samples/label";
inline constexpr const char* kGroup = "/samples/group";
inline constexpr const char* kHasGroup = "/samples/has_group";
inline constexpr const char* kSplit = "/samples/split";
inline constexpr const char* kWeight = "/samples/weight";
inline constexpr const char* kContentId = "/samples/content_id";
inline constexpr const char* kMaskBlob = "/samples/mask_blob";
inline constexpr const char* kMaskOffset = "/samples/mask_offset";
inline constexpr const char* kMaskCrc = "/samples/mask_crc32c";
inline constexpr const char* kLabelColumns = "/label_columns";  // JSON, UTF-8

}  // namespace dinoxx::detail
