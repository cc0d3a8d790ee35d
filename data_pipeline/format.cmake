# Shard format, decoding, packing, toy images: everything that defines what is in a data folder.
set(DATA_FORMAT_SOURCES
  content_hash.cpp hdf5_util.cpp shard_writer.cpp shard_reader.cpp manifest.cpp dataset.cpp describe.cpp
  decode_exif.cpp decode_image.cpp decode_jpeg.cpp decode_png.cpp encode_png.cpp
  pack.cpp pack_csv.cpp pack_folder.cpp pack_list.cpp pack_output.cpp pack_toy.cpp verify.cpp
  toy_set.cpp toy_textures.cpp toy_video.cpp csv_row.cpp image_files.cpp feature_file.cpp feature_file_hdf5.cpp)
