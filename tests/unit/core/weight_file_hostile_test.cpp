// Files that are damaged or made to do harm: each is refused with a message that names the file and the reason, and nothing runs.
#include <fcntl.h>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "base/files.hpp"
#include "dinoxx/base/error.hpp"
#include "formats/pickle.hpp"
#include "formats/torch_archive.hpp"
#include "formats/weight_file.hpp"
#include "source_dir.hpp"
#include "support/temporary_folder.hpp"
#include "zip_builder.hpp"

namespace dinoxx {
namespace {

using namespace std::string_literals;
using testing::AllOf;
using testing::HasSubstr;
using testing_support::ZipBuilder;

const std::filesystem::path golden = golden_dir() / "weight_files";

// What PyTorch's own defaults would run when the script's hostile files are loaded by pickle.
const std::filesystem::path executed = "/tmp/dinoxx_pickle_was_executed";

std::string refusal(const std::filesystem::path& path) {
  try {
    WeightFile::open(path);
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), AllOf(HasSubstr(path.string()), HasSubstr("expected"), HasSubstr("found")));
    return error.what();
  }
  return "accepted";
}

std::string little(uint64_t value, size_t bytes) {
  return std::string(reinterpret_cast<const char*>(&value), bytes);
}

// --- pieces of pickles
std::string text(const std::string& content) {
  return "X" + little(content.size(), 4) + content;
}
std::string global(const std::string& module, const std::string& name) {
  return "c" + module + "\n" + name + "\n";
}
std::string integer(int64_t value) {
  return "\x8a\x08"s + little(static_cast<uint64_t>(value), 8);
}
std::string tuple(const std::string& items) {
  return "(" + items + "t";
}
std::string storage(int64_t count, const std::string& key = "0", const std::string& type = global("torch", "FloatStorage")) {
  return tuple(text("storage") + type + text(key) + text("cpu") + integer(count)) + "Q";
}
std::string tensor_of(const std::string& storage, const std::string& offset, const std::string& shape, const std::string& strides,
                      const std::string& hooks = "}") {
  return global("torch._utils", "_rebuild_tensor_v2") + tuple(storage + offset + shape + strides + "\x89" + hooks) + "R";
}
std::string tensor(int64_t offset, const std::string& shape, const std::string& strides) {
  return tensor_of(storage(4), integer(offset), shape, strides);
}
std::string good_tensor() {
  return tensor(0, tuple(integer(4)), tuple(integer(1)));
}
// {"a": value}
std::string dict(const std::string& value) {
  return "}" + text("a") + value + "s";
}
std::string pickle_of(const std::string& body) {
  return "\x80\x02" + body + ".";
}
std::string repeated(const std::string& part, size_t count) {
  std::string result;
  result.reserve(part.size() * count);
  for (size_t i = 0; i < count; ++i) result += part;
  return result;
}

ZipBuilder archive_of(const std::string& pickle) {
  ZipBuilder zip;
  zip.add("archive/data.pkl", pickle);
  zip.add("archive/byteorder", "little");
  zip.add("archive/data/0", "0123456789abcdef");
  zip.add("archive/version", "3\n");
  return zip;
}

class HostileTest : public testing::Test {
 protected:
  std::string open(const ZipBuilder& zip) {
    zip.write(folder_ / "hostile.pth");
    return refusal(folder_ / "hostile.pth");
  }
  std::string open(const std::string& pickle) { return open(archive_of(pickle)); }
  std::string open_index(const std::string& text) {
    std::ofstream(folder_ / "model.safetensors.index.json", std::ios::binary) << text;
    return refusal(folder_ / "model.safetensors.index.json");
  }
  void expect(const std::string& body, const std::string& message) {
    EXPECT_THAT(open(pickle_of(body)), HasSubstr(message)) << testing::PrintToString(body.substr(0, 300));
  }
  testing_support::TemporaryFolder folder_;
  std::vector<int> writers_;
};

TEST_F(HostileTest, WhatTheTestsChangeIsAcceptedUnchanged) {
  EXPECT_EQ(open(pickle_of(dict(good_tensor()))), "accepted");
  EXPECT_EQ(open(pickle_of(dict("K\x05"))), "accepted");
}

TEST_F(HostileTest, PicklesOfPython) {
  std::filesystem::remove(executed);
  // "": read without these objects, which are named
  const std::map<std::string, std::string> expected{{"os_system", "posix.system"},
                                                    {"eval", ".eval\""},
                                                    {"getattr", ""},
                                                    {"torch_load", "torch.serialization.load"},
                                                    {"load_from_bytes", ""},
                                                    {"partial", ""},
                                                    {"open", "io.open"},
                                                    {"own_class", ""},
                                                    {"whole_module", "torch.nn.modules.linear.Linear"},
                                                    {"sparse", "_rebuild_sparse_tensor"},
                                                    {"plain_pickle", "a pickle without archive that something else wrote"},
                                                    {"torchscript", "TorchScript program"},
                                                    {"conjugate", "conjugate or negative view"},
                                                    {"same_path", "two tensors of the path \"a.b\""},
                                                    {"expanded", "expanded tensors"},
                                                    {"contains_itself", "contains itself"},
                                                    {"shared_lists", "shared at most 16 times"},
                                                    {"numpy", "another zip archive"}};
  size_t files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(golden / "hostile")) {
    std::string name = entry.path().stem().string();
    if (name.ends_with("_p2") || name.ends_with("_p5")) name.resize(name.size() - 3);
    SCOPED_TRACE(name);
    ASSERT_TRUE(expected.contains(name));
    ++files;
    if (!expected.at(name).empty()) {
      EXPECT_THAT(refusal(entry.path()), HasSubstr(expected.at(name)));
      continue;
    }
    const WeightFile file = WeightFile::open(entry.path());
    EXPECT_EQ(file.entries().size(), 1u);
    EXPECT_NE(file.find("a"), nullptr);
    EXPECT_THAT(file.unread(), testing::ElementsAre(testing::StartsWith("b (")));
  }
  EXPECT_EQ(files, 25u);
  EXPECT_FALSE(std::filesystem::exists(executed));
}

TEST_F(HostileTest, NamesThatAreNoData) {
  expect(dict(global("os", "system") + tuple(text("true")) + "R"), "\"os.system\", which a pickle could call");
  expect(dict(global("os", "system")), "os.system");  // not even without the call
  expect(global("os", "system") + "0" + dict("N"), "os.system");
  expect(dict(text("os") + text("system") + "\x93"), "os.system");
  expect(dict(global("builtins", "eval") + tuple(text("1")) + "\x81"), "builtins.eval");
  expect(dict(global("torch", "load")), "torch.load");
  expect(dict(global("torch.hub", "load")), "torch.hub.load");
  expect(dict(global("collections", "OrderedDict.__init__")), "OrderedDict.__init__");
  expect(dict(global("collections OrderedDict", "x")), "collections OrderedDict.x");
  expect(dict(global("\xff\xfe", "x")), "UTF-8");
  for (const char* name :
       {"posix.system", "nt.system", "subprocess.Popen", "sys.exit", "os.path.expanduser", "builtins.exec", "builtins.__import__",
        "builtins.eval.__call__", "__builtin__.execfile", "importlib.import_module", "torch.hub.load", "pickle.loads"}) {
    const std::string whole = name;
    const size_t dot = whole.starts_with("builtins.eval") ? 8 : whole.rfind('.');
    expect("}" + text("t") + good_tensor() + "s" + text("a") + global(whole.substr(0, dot), whole.substr(dot + 1)) + "s", whole);
  }
  expect(dict("K\x01K\x02\x93"), "as texts");
  expect(dict("(ios\nsystem\n"), "instruction 0x69");  // INST
  expect(dict("(" + global("builtins", "set") + "o"), "instruction 0x6f");
  expect(dict("\x82\x01"), "instruction 0x82");  // EXT1
  expect(dict("P0\n"), "instruction 0x50");      // PERSID of protocol 0
  expect(dict("I01\n"), "instruction 0x49");
  expect(dict(global("builtins", "set") + ")}\x92"), "instruction 0x92");  // NEWOBJ_EX
  expect(dict("\x97"), "instruction 0x97");                                // NEXT_BUFFER
}

// Objects of unknown classes, made in every way that a pickle knows, beside a tensor: each is named, and the tensor is there.
TEST_F(HostileTest, UnknownObjectsAreLeftUnread) {
  const std::string name = global("a.program", "Thing"), own = "a.program.Thing";
  const auto left = [&](const std::string& value, const std::string& what) {
    archive_of(pickle_of("}(" + text("t") + good_tensor() + text("x") + value + "u")).write(folder_ / "unknown.pth");
    const WeightFile file = WeightFile::open(folder_ / "unknown.pth");
    EXPECT_EQ(file.entries().size(), 1u) << testing::PrintToString(value);
    EXPECT_THAT(file.unread(), testing::ElementsAre(what)) << testing::PrintToString(value);
    return file.settings().value("x", nlohmann::json());
  };
  EXPECT_EQ(left(name, "x (" + own + ")"), own);
  const nlohmann::json object = {{"class", own}};
  EXPECT_EQ(left(name + ")R", "x (" + own + ")"), object);
  EXPECT_EQ(left(name + tuple(text("true")) + "\x81", "x (" + own + ")"), object);
  EXPECT_EQ(left(name + ")}\x92", "x (" + own + ")"), object);
  EXPECT_EQ(left(name + ")R}b", "x (" + own + ")"), object);
  EXPECT_EQ(left(name + ")RK\x01"s + "b}b", "x (" + own + ")"), object) << "any state, and twice";
  EXPECT_EQ(left(name + ")R)R)R", "x (" + own + ")"), object) << "what it gives, called";
  EXPECT_EQ(left(name + ")R(" + text("k") + "K\x05u"s, "x (" + own + ")"), nlohmann::json({{"k", 5}})) << "a class of dict";
  EXPECT_EQ(left(name + ")R(K\x05K\x06"s + "e", "x (" + own + ")"), nlohmann::json::array({5, 6})) << "a class of list";
  EXPECT_EQ(left(name + ")R(K\x05\x90", "x (" + own + ")"), nlohmann::json::array({5})) << "a class of set";
  EXPECT_EQ(left(name + ")R(K\x05K\x06"s + "e(" + text("k") + "K\x05u"s, "x (" + own + ")"), nlohmann::json::array({5, 6}));
  archive_of(pickle_of("}(" + text("t") + good_tensor() + text("x") + "}" + name + ")RK\x01su")).write(folder_ / "unknown.pth");
  EXPECT_EQ(WeightFile::open(folder_ / "unknown.pth").settings()["x"], nlohmann::json({{"a " + own + " #0", 1}})) << "as a key";
}

// What a tensor is made of is not left out in silence: its name is in the list, and an import finds it missing.
TEST_F(HostileTest, TensorsOfUnknownKindsAreNamed) {
  const std::string four = tuple(integer(4)), one = tuple(integer(1)), name = global("a.program", "Thing");
  const auto unread = [&](const std::string& value) {
    archive_of(pickle_of("}(" + text("t") + good_tensor() + text("x") + value + "u")).write(folder_ / "unknown.pth");
    const WeightFile file = WeightFile::open(folder_ / "unknown.pth");
    EXPECT_EQ(file.find("x"), nullptr);
    return file.unread().empty() ? std::string() : file.unread()[0];
  };
  EXPECT_EQ(unread(tensor_of(storage(4, "0", global("torch", "QInt8Storage")), "K\x00"s, four, one)), "x (torch.QInt8Storage)");
  EXPECT_EQ(unread(global("torch._utils", "_rebuild_qtensor") + tuple(storage(4) + "K\x00"s + four + one + "N\x89}") + "R"),
            "x (torch._utils._rebuild_qtensor)");
  EXPECT_EQ(unread(global("torch._utils", "_rebuild_tensor_v3") +
                   tuple(storage(16, "0", global("torch", "UntypedStorage")) + "K\x00"s + four + one + "\x89}" +
                         global("torch", "float4_e2m1fn_x2")) +
                   "R"),
            "x (torch.float4_e2m1fn_x2)");
  EXPECT_EQ(
      unread(global("torch._tensor", "_rebuild_from_type_v2") +
             tuple(global("torch._utils", "_rebuild_tensor_v2") + name + tuple(storage(4) + "K\x00"s + four + one + "\x89}") + "}") + "R"),
      "x (a.program.Thing)");
  EXPECT_EQ(unread(global("torch._utils", "_rebuild_parameter") + tuple(name + ")R\x88}") + "R"), "x (a.program.Thing)");
  // without any other tensor the file is refused by that name
  expect(dict(name + ")R"), "none outside of objects that only their own program can build: a (a.program.Thing)");
  expect(name + ")R", "all of it (a.program.Thing)");
}

TEST_F(HostileTest, UnknownObjectsAsBombs) {
  const std::string name = global("a.program", "Thing");
  const std::string many = name + "q\x00"s + repeated("0h\x00)R"s, 600'000);
  expect(dict(many), "at most");
  expect(dict(name + ")Rq\x00(h\x00"s + "e"), "contains itself");
  std::string deep = name + ")R";
  for (int i = 0; i < 300; ++i) deep = name + ")R(" + deep + "e";
  expect(dict(deep), "nested at most 100 deep");
  expect(dict(name + ")R" + repeated("}b", 1'100'000)), "at most");
  // one long list put into an object, again and again
  expect("(" + repeated("N", 400'000) + "lq\x00"s + name + ")R" + repeated("(h\x00"s + "e", 1) +
             repeated("(" + repeated("h\x00"s, 100'000) + "e", 20),
         "at most");
}

TEST_F(HostileTest, KnownNamesUsedInAnotherWay) {
  expect(dict("K\x01)R"), "a name to be called, found an integer");
  expect(dict(global("builtins", "set") + "K\x01R"), "a tuple of arguments");
  expect(dict(global("builtins", "int") + tuple(text("1")) + "R"), "int called with 1 arguments");
  expect(dict(global("torch", "FloatStorage") + ")R"), "FloatStorage called");
  expect(dict(global("torch", "Tensor") + ")R"), "Tensor called");
  expect(dict(global("collections", "OrderedDict") + tuple("K\x01") + "R"), "OrderedDict of pairs");
  expect(dict(global("collections", "OrderedDict") +
              tuple("]K\x01"
                    "a") +
              "R"),
         "pairs of key and value");
  expect(dict(global("collections", "defaultdict") + tuple("K\x01") + "R"), "defaultdict with the type");
  expect(dict(global("_codecs", "encode") + tuple(text("a") + text("zlib")) + "R"), "another encoding");
  expect(dict(global("_codecs", "encode") + tuple(text("\xE2\x82\xAC") + text("latin1")) + "R"), "code points 0 to 255");
  expect(dict(global("argparse", "Namespace") + tuple("K\x01") + "R"), "Namespace called with 1");
  expect(dict(global("pathlib", "PosixPath") + tuple("K\x01") + "R"), "PosixPath called with 1");
  expect(dict(global("torch", "device") + tuple("K\x01") + "R"), "torch.device");
  expect(dict(global("torch._tensor", "_rebuild_from_type_v2") + tuple(global("builtins", "set") + global("torch", "Tensor") + ")" + "N") +
              "R"),
         "rebuilds a tensor");
}

TEST_F(HostileTest, StatesThatAreNoData) {
  const std::string space = global("argparse", "Namespace") + ")\x81";
  EXPECT_EQ(open(pickle_of(dict(space + "}b"))), "accepted");
  expect(dict(space + "K\x01"
                      "b"),
         "fields of a namespace as a dict");
  expect(dict(space + tuple("N}") + "b"), "fields of a namespace as a dict");
  expect(dict(space + "}b}b"), "the state of an object that has none yet");
  expect(dict("}}b"), "the state of an object that has none yet, found a dict");
  expect(dict("]}b"), "found a list");
  expect(dict(good_tensor() + "}b"), "found a tensor");
  expect(dict(global("builtins", "set") + "}b"), "found builtins.set");
  expect(dict(global("collections", "OrderedDict") + ")RK\x01"
                                                     "b"),
         "attributes of a dict as a dict");
  expect(dict(global("numpy", "dtype") + ")R}b"), "NumPy object as a tuple");
  expect(dict(global("pathlib", "PosixPath") + ")R}b"), "an object that has a state");
}

TEST_F(HostileTest, TensorsThatDoNotFit) {
  const std::string one = tuple(integer(1)), four = tuple(integer(4));
  expect(dict(tensor(0, tuple(integer(5)), one)), "elements inside the 4 of its storage, found element 4");
  expect(dict(tensor(1, four, one)), "found element 4");
  expect(dict(tensor(INT64_MAX, four, one)), "inside the 4");
  expect(dict(tensor(0, four, tuple(integer(2)))), "found element 6");
  expect(dict(tensor(0, four, tuple(integer(INT64_MAX)))), "a sum beyond 64 bits");
  expect(dict(tensor(0, tuple(integer(2) + integer(2)), tuple(integer(INT64_MAX) + integer(INT64_MAX)))), "inside the 4");
  expect(dict(tensor(0, tuple(integer(int64_t{1} << 40)), tuple(integer(0)))), "at most");
  expect(dict(tensor(0, tuple(repeated(integer(int64_t{1} << 32), 3)), tuple(repeated(integer(0), 3)))), "63 bits");
  expect(dict(tensor(0, tuple(integer(-1)), one)), "integers >= 0");
  expect(dict(tensor(0, four, tuple(integer(-1)))), "integers >= 0");
  expect(dict(tensor(-1, four, one)), "storage offset >= 0");
  expect(dict(tensor(0, four, ")")), "1 strides, found 0");
  expect(dict(tensor(0, tuple(repeated(integer(1), 65)), tuple(repeated(integer(1), 65)))), "at most 64 integers");
  expect(dict(tensor(0, tuple("G" + little(0, 8)), one)), "integers >= 0");
  expect(dict(tensor_of(storage(5), "K\x00"s, four, one)), "a record of 5 elements of 4 bytes, found a record of 16 bytes");
  expect(dict(tensor_of(storage(int64_t{1} << 62), "K\x00"s, four, one)), "found a record of 16 bytes");
  expect(dict(tensor_of(storage(-1), "K\x00"s, four, one)), "number of elements >= 0");
  expect(dict(tensor_of(storage(4, "../../etc/passwd"), "K\x00"s, four, one)), "a record data/../../etc/passwd");
  expect(dict(tensor_of(storage(4, "1"), "K\x00"s, four, one)), "a record data/1");
  expect(dict(tensor_of(storage(4, "0", global("torch", "float32")), "K\x00"s, four, one)), "a type of storage");
  expect(dict(tensor_of("K\x01", "K\x00"s, four, one)), "a tensor of a storage");
  expect(dict(tensor_of(storage(16, "0", global("torch", "UntypedStorage")), "K\x00"s, four, one)), "a typed storage");
  const std::string hook = "}" + text("h") + "K\x01s";
  expect(dict(tensor_of(storage(4), "K\x00"s, four, one, hook)), "without backward hooks");
  expect(dict(global("torch._utils", "_rebuild_parameter") + tuple(good_tensor() + "\x88" + hook) + "R"), "without backward hooks");
  expect(dict(global("torch._utils", "_rebuild_parameter") + tuple("K\x01\x88}") + "R"), "made of a tensor");
  expect(dict(global("torch._utils", "_rebuild_tensor_v2") + tuple(storage(4)) + "R"), "with 6 arguments");
  expect(dict(tuple(text("module") + "NNNN") + "Q"), "persistent id");
  expect(good_tensor(), "a state dict or a checkpoint");
}

TEST_F(HostileTest, MachinesThatBreak) {
  EXPECT_THAT(open(""s), HasSubstr("cut short"));
  EXPECT_THAT(open("\x80"s), HasSubstr("cut short"));
  EXPECT_THAT(open("}."s), HasSubstr("no protocol"));
  EXPECT_THAT(open("\x80\x06}."s), HasSubstr("protocol 6"));
  EXPECT_THAT(open("\x80\x01}."s), HasSubstr("protocol 1"));
  expect("", "one value at the end");
  expect("}}", "one value at the end");
  expect("(}", "one value at the end");
  EXPECT_THAT(open(pickle_of("}") + "x"), HasSubstr("1 more bytes"));
  expect("0", "a value on the stack");
  expect("t", "a mark on the stack");
  expect("u", "a mark on the stack");
  expect("s", "2 values on the stack");
  expect("}(K\x01K\x02s", "a value on the stack");  // the dict lies below the mark
  expect("]K\x01K\x02s", "a dict to put a pair into, found a list");
  expect(
      "}K\x01"
      "a",
      "a list to append to, found a dict");
  expect("}(K\x01u", "an odd number");
  expect("h\x00"s, "remembered under 0");
  expect("j\xff\xff\xff\xff"s, "remembered under 4294967295");
  expect("q\x00"s, "a value on the stack");
  expect("\x85", "1 values on the stack");
  expect("X\xff\xff\xff\xff", "4294967295 more bytes");
  expect("\x8d\xff\xff\xff\xff\xff\xff\xff\xff", "cut short");
  expect("\x8e\xff\xff\xff\xff\xff\xff\xff\x7f", "cut short");
  expect("\x8b\xff\xff\xff\xff", "cut short");
  expect("\x95\xff\xff\xff\xff\xff\xff\xff\xff}", "a frame within");
  expect("\x80\x02}", "instruction 0x80");
  expect("X\x01\0\0\0\xff"s, "text in UTF-8");
  expect("}]K\x01s", "keys that are texts");
  expect("cbuiltins", "the end of a line");
}

TEST_F(HostileTest, BombsOfDepthAndCount) {
  expect(repeated("(", 5000), "nested at most 1000 deep");
  expect("}" + text("a") + ")" + repeated("\x85", 100'000) + "s", "nested at most 100 deep");
  expect(repeated("]", 1'100'000), "at most 1000000");
  expect("N" + repeated("2", 1'100'000), "at most 1000000 open values");
  expect("N" + repeated("\x94", 1'100'000), "at most 1000000 open values");
  // one instruction that copies a long list, again and again
  expect("(" + repeated("N", 400'000) + "lq\x00"s + repeated("0" + global("builtins", "set") + "h\x00\x85R"s, 100),
         "at most 2000000 places");
  // lists of twice the same list, 40 deep; a dict of the same long name in each level
  std::string bomb = "]q\x00"s;
  for (int i = 0; i < 40; ++i)
    bomb += "0]q"s + little(static_cast<uint64_t>(i + 1), 1) + "(h" + little(static_cast<uint64_t>(i), 1) + "h" +
            little(static_cast<uint64_t>(i), 1) + "e";
  expect(dict(bomb), "shared at most 16 times");
  expect("}(" + text(std::string(2000, 'n')) + good_tensor() + "u", "names of at most 1024 bytes");
  // one text of a megabyte, told many times
  expect("](" + text(std::string(1 << 20, 't')) + "q\x00"s + repeated("h\x00"s, 100) + "e", "names and settings of at most");
  // one tensor under many names, and many tensors of the same arguments
  expect("](" + good_tensor() + "q\x00"s + repeated("h\x00"s, 300'000) + "e", "shared at most 16 times");
  const std::string arguments = tuple(storage(4) + "K\x00"s + tuple(integer(4)) + tuple(integer(1)) + "\x89}");
  expect("](" + global("torch._utils", "_rebuild_tensor_v2") + "q\x00"s + arguments + "q\x01" + repeated("h\x00h\x01R"s, 250'000) + "e",
         "at most");
}

TEST_F(HostileTest, ArchivesThatLie) {
  const std::string good = pickle_of(dict(good_tensor()));
  const auto change = [&](auto&& apply) {
    ZipBuilder zip = archive_of(good);
    apply(zip);
    return open(zip);
  };
  const auto entry = [&](size_t index, auto&& apply) { return change([&](ZipBuilder& zip) { apply(zip.entries[index]); }); };
  EXPECT_EQ(change([](ZipBuilder&) {}), "accepted");
  EXPECT_EQ(change([](ZipBuilder& zip) { zip.zip64_end = true; }), "accepted");
  EXPECT_THAT(entry(0, [](auto& e) { e.crc_change = 1; }), HasSubstr("checksum"));
  EXPECT_THAT(entry(2, [](auto& e) { e.method = 8; }), HasSubstr("compression method 8"));
  EXPECT_THAT(entry(2, [](auto& e) { e.flags = 1; }), HasSubstr("encrypted"));
  EXPECT_THAT(entry(2, [](auto& e) { e.local_name = "archive/data/1"; }), HasSubstr("agrees with the central directory"));
  EXPECT_THAT(entry(2, [](auto& e) { e.size_change = 1000; }), HasSubstr("inside the"));
  EXPECT_THAT(entry(3, [](auto& e) { e.size_change = 100; }), HasSubstr("before the central directory"));
  EXPECT_THAT(entry(2, [](auto& e) { e.size_change = 20; }), HasSubstr("an overlap"));
  EXPECT_THAT(entry(2, [](auto& e) { e.size_change = UINT32_MAX; }), testing::Not(HasSubstr("accepted")));
  EXPECT_THAT(entry(2, [](auto& e) { e.local_offset = 1; }), HasSubstr("a local header at byte 1"));
  EXPECT_THAT(entry(2, [](auto& e) { e.local_offset = 1 << 30; }), HasSubstr("a local header inside"));
  EXPECT_THAT(entry(2, [](auto& e) { e.local_offset = INT64_MAX; }), HasSubstr("a local header inside"));
  EXPECT_THAT(entry(2, [](auto& e) { e.name = "archive/data.pkl"; }), HasSubstr("found it twice"));
  EXPECT_THAT(entry(2, [](auto& e) { e.name = "other/data.pkl"; }), HasSubstr("one data.pkl"));
  EXPECT_THAT(entry(0, [](auto& e) { e.name = "archive/data.txt"; }), HasSubstr("another zip archive"));
  EXPECT_THAT(entry(0, [](auto& e) { e.name = "data.pkl"; }), HasSubstr("another zip archive"));
  EXPECT_THAT(entry(2, [](auto& e) { e.name = "archive/../data/0"; }), HasSubstr("a record data/0"));
  EXPECT_THAT(entry(2, [](auto& e) { e.content += "x"; }), HasSubstr("a record of 17 bytes"));
  EXPECT_THAT(entry(1, [](auto& e) { e.content = "big"; }), HasSubstr("byteorder \"big\""));
  EXPECT_THAT(entry(3, [](auto& e) { e.content = "11\n"; }), HasSubstr("a version from 1 to 10"));
  EXPECT_THAT(entry(3, [](auto& e) { e.content = "x"; }), HasSubstr("a version from 1 to 10"));
  EXPECT_THAT(change([](ZipBuilder& zip) { zip.count = 3; }), HasSubstr("more bytes behind them"));
  EXPECT_THAT(change([](ZipBuilder& zip) { zip.count = 5; }), testing::AnyOf(HasSubstr("another record"), HasSubstr("at most 4 entries")));
  EXPECT_THAT(change([](ZipBuilder& zip) { zip.count = 60000; }), HasSubstr("entries in"));
  EXPECT_THAT(change([](ZipBuilder& zip) { zip.zip64_end = true, zip.count = INT64_MAX; }), HasSubstr("entries in"));
  EXPECT_THAT(change([](ZipBuilder& zip) { zip.directory_offset = INT32_MAX; }), HasSubstr("central directory inside"));
  EXPECT_THAT(change([](ZipBuilder& zip) { zip.zip64_end = true, zip.directory_offset = INT64_MAX; }),
              HasSubstr("central directory inside"));
  EXPECT_THAT(change([](ZipBuilder& zip) { zip.directory_size = 10; }), HasSubstr("a central directory that ends"));
  EXPECT_THAT(change([](ZipBuilder& zip) { zip.behind = "x"; }), HasSubstr("the end of a zip archive"));
  EXPECT_THAT(change([](ZipBuilder& zip) { zip.comment = "PK"; }), HasSubstr("the end of a zip archive"));
  EXPECT_EQ(change([](ZipBuilder& zip) { zip.between = std::string(10, 'x'); }), "accepted");  // a gap harms nobody
}

// Every prefix of a real file, and every prefix of its pickle in an archive that is otherwise right.
TEST_F(HostileTest, CutAtEveryByte) {
  const std::string whole = read_text(golden / "state_dict_p5.pth");
  const auto read = [](const std::string& bytes) { return read_torch_archive(std::as_bytes(std::span(bytes)), "cut.pth"); };
  EXPECT_EQ(read(whole).tensors.size(), 11u);
  for (size_t size = 0; size < whole.size(); ++size) EXPECT_THROW(read(whole.substr(0, size)), Error) << size;
  for (const char* name : {"v1_checkpoint_p2.pth", "v1_checkpoint_p5.pth", "parameters.pth"}) {
    const std::string archive = read_text(golden / name);
    std::string pickle;
    for (const ZipEntry& entry : read_zip(std::as_bytes(std::span(archive)), name))
      if (entry.name.ends_with("/data.pkl")) pickle.assign(reinterpret_cast<const char*>(entry.bytes.data()), entry.bytes.size());
    ASSERT_GT(pickle.size(), 500u);
    EXPECT_NO_THROW(pickle::parse(std::as_bytes(std::span(pickle)), name));
    for (size_t size = 0; size < pickle.size(); ++size)
      EXPECT_THROW(pickle::parse(std::as_bytes(std::span(pickle)).first(size), name), Error) << name << " " << size;
  }
}

TEST_F(HostileTest, SafetensorsCutAtEveryByte) {
  const std::string whole = read_text(golden / "dtypes.safetensors");
  const auto bytes = std::as_bytes(std::span(whole));
  EXPECT_EQ(parse_safetensors(bytes, bytes.size(), "s").tensors.size(), 16u);
  for (size_t size = 0; size < whole.size(); ++size) EXPECT_THROW(parse_safetensors(bytes.first(size), size, "s"), Error) << size;
  // the header alone is enough to list, but no byte less
  uint64_t length = 0;
  std::memcpy(&length, whole.data(), 8);
  EXPECT_TRUE(parse_safetensors(bytes.first(8 + length), bytes.size(), "s").tensors.at("F32").bytes.empty());
  EXPECT_THROW(parse_safetensors(bytes.first(7 + length), bytes.size(), "s"), Error);
}

TEST_F(HostileTest, SafetensorsThatAskForMemory) {
  const auto open_header = [&](const std::string& header, uint64_t length) {
    std::ofstream(folder_ / "h.safetensors", std::ios::binary) << little(length, 8) << header;
    return refusal(folder_ / "h.safetensors");
  };
  EXPECT_THAT(open_header("{}", 100'000'001), HasSubstr("header length"));
  EXPECT_THAT(open_header("{}", UINT64_MAX), HasSubstr("header length"));
  const std::string numbers = R"({"a":{"dtype":"F32","shape":[)" + repeated("0,", 100'000) + "0]}}";
  EXPECT_THAT(open_header(numbers, numbers.size()), HasSubstr("more than 64 values"));
  const std::string lists = R"({"a":[[)" + repeated("[],", 100'000) + "[]]]}";
  EXPECT_THAT(open_header(lists, lists.size()), HasSubstr("more than 64 values"));
  const std::string deep = R"({"a":)" + std::string(1'000'000, '[');
  EXPECT_THAT(open_header(deep, deep.size()), HasSubstr("nested"));
}

TEST_F(HostileTest, IndexFiles) {
  const auto map_to = [](const std::string& name) { return R"({"weight_map":{"a.weight":)" + name + "}}"; };
  for (const char* name : {R"("../model.safetensors")", R"("/etc/passwd")", R"("sub/model.safetensors")", R"("..\\model.safetensors")",
                           R"("..")", R"(".")", R"("model.safetensors\u0000.safetensors")", R"("a..safetensors")", R"("passwd")",
                           R"("C:model.safetensors")", R"(".hidden.safetensors")"})
    EXPECT_THAT(open_index(map_to(name)), HasSubstr("names of files beside the index")) << name;
  EXPECT_THAT(open_index(map_to("\"" + std::string(300, 'a') + ".safetensors\"")), HasSubstr("names of files beside"));
  EXPECT_THAT(open_index(map_to("\"\"")), HasSubstr("a file name for"));
  EXPECT_THAT(open_index(map_to("5")), HasSubstr("a file name for"));
  EXPECT_THAT(open_index("{}"), HasSubstr("weight_map"));
  EXPECT_THAT(open_index(R"({"weight_map":{}})"), HasSubstr("weight_map"));
  EXPECT_THAT(open_index(R"({"weight_map":[1]})"), HasSubstr("weight_map"));
  EXPECT_THAT(open_index(R"({"weight_map":{"a":"x.bin","a":"y.bin"}})"), HasSubstr("\"a\" twice"));
  EXPECT_THAT(open_index("x"), HasSubstr("no JSON"));
  std::string shards = R"({"weight_map":{)";
  for (int i = 0; i < 5000; ++i) shards += fmt::format("{}\"t{}\":\"{}.bin\"", i ? "," : "", i, i);
  EXPECT_THAT(open_index(shards + "}}"), HasSubstr("at most 4096 shards"));

  for (const char* name : {"model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"})
    std::filesystem::copy_file(golden / "sharded" / name, folder_ / name);
  const std::string first = "\"model-00001-of-00002.safetensors\"", second = "\"model-00002-of-00002.safetensors\"";
  const auto index = [&](const std::string& a, const std::string& b, const std::string& more) {
    return R"({"weight_map":{"a.weight":)" + a + R"(,"b.weight":)" + b + R"(,"c.weight":)" + first + more + "}}";
  };
  EXPECT_EQ(open_index(index(first, second, "")), "accepted");
  EXPECT_THAT(open_index(index(second, second, "")), HasSubstr("a weight_map that says model-00001-of-00002.safetensors for \"a.weight\""));
  EXPECT_THAT(open_index(index(first, second, R"(,"d.weight":)" + first)), HasSubstr("the tensor \"d.weight\" in model-00001"));
  EXPECT_THAT(open_index(R"({"weight_map":{"a.weight":)" + first + "}}"), HasSubstr("found no such tensor"));
  std::filesystem::remove(folder_ / "model-00002-of-00002.safetensors");
  EXPECT_THROW(WeightFile::open(folder_ / "model.safetensors.index.json"), Error);
}

// Opening one for reading waits for a writer that may never come; here there is one, so that a reader that waits fails instead.
TEST_F(HostileTest, NamedPipes) {
  const auto pipe = [&](const char* name) {
    const std::filesystem::path path = folder_ / name;
    EXPECT_EQ(::mkfifo(path.c_str(), 0600), 0);
    writers_.push_back(::open(path.c_str(), O_RDWR | O_NONBLOCK));
    return path;
  };
  EXPECT_THAT(refusal(pipe("pipe.safetensors")), HasSubstr("a named pipe"));
  EXPECT_THAT(refusal(pipe("pipe.index.json")), HasSubstr("a named pipe"));
  EXPECT_THAT(refusal(pipe(".metadata")), HasSubstr("a named pipe"));
  EXPECT_THROW(SafetensorsFile(folder_ / "pipe.safetensors"), Error);
  std::ofstream(folder_ / "model.safetensors.index.json") << R"({"weight_map":{"a.weight":"pipe.safetensors"}})";
  EXPECT_THROW(WeightFile::open(folder_ / "model.safetensors.index.json"), Error);
  EXPECT_THAT(refusal("/dev/zero"), HasSubstr("a device"));
  for (const int writer : writers_) ::close(writer);
}

TEST_F(HostileTest, FilesOfAnotherKind) {
  const auto content = [&](const std::string& bytes) {
    std::ofstream(folder_ / "other.bin", std::ios::binary) << bytes;
    return refusal(folder_ / "other.bin");
  };
  EXPECT_THAT(content(""), HasSubstr("an empty file"));
  EXPECT_THAT(content("version https://git-lfs.github.com/spec/v1\noid sha256:0\n"), HasSubstr("git lfs pull"));
  EXPECT_THAT(content("<!DOCTYPE html><html>"), HasSubstr("web page"));
  EXPECT_THAT(content("\x1f\x8b\x08"), HasSubstr("gzip"));
  EXPECT_THAT(content("\x89HDF\r\n"), HasSubstr("HDF5"));
  EXPECT_THAT(content(std::string(257, 'a') + "ustar" + std::string(300, 0)), HasSubstr("of another size"));
  EXPECT_THAT(content("PK\x03\x04"), HasSubstr("at least 22 bytes"));
  EXPECT_THAT(content("hello"), HasSubstr("at least 8 bytes"));
  EXPECT_THAT(refusal(folder_.path()), HasSubstr("a folder with model.safetensors"));
  EXPECT_THROW(WeightFile::open(folder_ / "missing.pth"), Error);
  EXPECT_THROW(WeightFile::open("/dev/null"), Error);
}

}  // namespace
}  // namespace dinoxx
