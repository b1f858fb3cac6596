// Package observe holds what a seerdb database shows of itself: metrics,
// health, events and the report of a verification. It contains data only; the
// root package names its types, so most programs never import it.
package observe
