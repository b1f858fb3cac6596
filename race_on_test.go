//go:build race

package seerdb_test

const raceEnabled = true
