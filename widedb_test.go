package seerdb_test

// What the tests that drive the whole data model share: a database whose
// keyspaces, time and merge operators are those of a model.
