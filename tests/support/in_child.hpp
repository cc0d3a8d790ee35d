#pragma once
#include <sched.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <stdexcept>
#include <string>

namespace dinoxx::testing_support {

/// Runs `work` in a child process; its Error text comes back ("" = none). Limits and mounts of the child do not touch the test.
template <class Work>
std::string in_child(const Work& work) {
  int ends[2];
  if (::pipe(ends) != 0) return "pipe failed";
  const pid_t child = ::fork();
  if (child == 0) {
    std::string text;
    try {
      work();
    } catch (const std::exception& error) {
      text = error.what();
    }
    const ssize_t written = ::write(ends[1], text.data(), text.size());
    ::_exit(written == static_cast<ssize_t>(text.size()) ? 0 : 1);
  }
  ::close(ends[1]);
  std::string text;
  char buffer[4096];
  for (ssize_t n; (n = ::read(ends[0], buffer, sizeof buffer)) > 0;) text.append(buffer, static_cast<size_t>(n));
  ::close(ends[0]);
  int status = 0;
  ::waitpid(child, &status, 0);
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) text += " [child did not end well]";
  return text;
}

/// In a child only: an empty file system at `folder`, which no other process sees. Throws "no mount: ..." without the right to.
inline void mount_tmpfs(const std::filesystem::path& folder, const char* options) {
  const bool root = ::geteuid() == 0;
  if (::unshare(root ? CLONE_NEWNS : CLONE_NEWUSER | CLONE_NEWNS) != 0 ||
      ::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 || ::mount("tmpfs", folder.c_str(), "tmpfs", 0, options) != 0) {
    throw std::runtime_error("no mount: " + std::string(std::strerror(errno)));
  }
}

}  // namespace dinoxx::testing_support
