#pragma once
#include <set>
#include <string>
#include <vector>

#include "train/train.hpp"

namespace dinoxx {

/// One student of a job that distils several at once from one frozen teacher: a run of its own, in a folder of its own, on consecutive
/// ranks of the job.
struct Student {
  std::string name;  ///< its file's, without the ending; also its folder's in --out
  int ranks = 0;
  Config config;                         ///< not resolved yet
  std::set<std::string> own{}, typed{};  ///< keys that its file sets, and the command line
};

/// FILE:RANKS[,FILE:RANKS ...]. Each student's configuration is `common`, then its file, then `last` (the command line). UsageError for bad
/// syntax, or two students of one name.
std::vector<Student> read_students(const std::string& text, const Config& common, const std::vector<Setting>& last);

/// The students' resolved configurations. UsageError, naming the student, for one that could not start by itself on its ranks; when they
/// are not students of one teacher that see the same crops and masks; when the job has other than the sum of their ranks, or they do not
/// divide the batch; for a key that no student reads, or that a student's file sets and the student does not read. Sets mask.group_size
/// where it is open, to what divides every rank's batch, and takes common keys from students that do not read them.
std::vector<Config> resolve_students(std::vector<Student>& students, int job_ranks, uint64_t images, int cores);

/// Makes this rank's part of the job: `options` become its student's (configuration, folder OUT/NAME, the newest checkpoint that all
/// students have), `comms` its group's. Collective over comms.control, where all ranks agree on every refusal.
void join_job(std::vector<Student> students, TrainOptions& options, TrainComms& comms);

}  // namespace dinoxx
