package seerdb_test

// The flaws of the original engine, one test each: S1 to S22 are those of its
// flush, H1 to H34 those elsewhere, and the rest the bugs that its authors
// found and wrote down. Each test is the shortest story in which the flaw
// showed, told to this engine; docs/TESTING.md says which change of the code
// makes each one fail. This file holds what the stories are told with.
