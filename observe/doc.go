// Package observe holds what a seerdb database shows of itself: metrics,
// health, events, the report of a verification and estimates. It contains data only:
// the methods of seerdb.DB return it, and Options.Listener takes an EventListener.
package observe
