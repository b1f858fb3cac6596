// Package dbtest holds what the tests of the database share, wherever they are: a
// database on a disk that can crash behind a layer that can fail (Rig), one beside a
// model of what is in it (ModelDB), small options under which everything happens soon
// (Tiny), a clock, file systems that count, other processes, and checks. Only tests
// import it. It uses the public interface, and options of the engine by way of
// private.SetTestOptions.
package dbtest
