// Package dbtest has helpers for the tests of the database: a database on a
// disk that can crash and a file system that can fail (Rig), one beside a model
// of its content (ModelDB), small options under which everything happens soon
// (Tiny), a clock, file systems that count, child processes, and checks. Only
// tests import it. It uses the public interface, and options of the engine
// through private.SetTestOptions.
package dbtest
