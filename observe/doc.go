// Package observe has the types with which a seerdb database describes itself:
// metrics, health, events, reports of verifications and estimates. It contains data
// only: the methods of seerdb.DB return it, and Options.Listener takes an EventListener.
package observe
